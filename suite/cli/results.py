"""`results`: a row per finished run."""

from __future__ import annotations

from typing import Any

import click

from suite.cli.listing import fitting, grid
from suite.cli.settings import Settings
from suite.cli.verbs import Several, Verb
from suite.cli.words import count, duration
from suite.errors import Exit, SuiteError
from suite.index import indexed_rows
from suite.results import parse_where
from suite.store import Store
from suite.sweep import load_protocols

COLUMNS = (
    "key",
    "method",
    "protocol",
    "order",
    "seed",
    "avg",
    "last",
    "forgetting",
    "params",
    "backbones",
    "MiB",
    "time",
)
LEGEND = (
    "avg: accuracy on all classes seen, mean over tasks, in %; last: after the last task; forgetting: in points; "
    "MiB: model and exemplars. --json has every field."
)
SPARE = ("backbones", "time", "params", "forgetting", "MiB", "order")  # left out first where the terminal is narrow


@click.command(cls=Verb, name="results")
@click.option("--where", cls=Several, metavar="FIELD=VALUE", help="Only such runs; * stands for anything. Repeatable.")
@click.pass_obj
def command(settings: Settings, where: tuple[str, ...]) -> None:
    """A row per finished run. People see the main figures, in percent; --json has every field, as fractions."""
    load_protocols(settings.protocols)
    rows = found(settings, where)
    if settings.json:
        settings.emit(rows)
        return
    out, lines = settings.out, [_shown(row) for row in rows]
    out.print(grid(fitting(COLUMNS, lines, out.width, SPARE), lines))
    if not settings.quiet:
        settings.err.print(f"\n{count(len(rows), 'run')}. {LEGEND}", style="dim")


def found(settings: Settings, where: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the rows of the runs that pass the filter; raises SuiteError when there are none."""
    passes = parse_where(where)
    store = Store.open(settings.root)

    def told(number: int) -> None:
        settings.note(f"working out {count(number, 'row')} from predictions; {settings.root / 'index'} keeps them")

    rows = [row for row in indexed_rows(store, told) if passes(row)]
    for damage in store.damaged:
        settings.warn(damage)
    if not rows:
        raise SuiteError(_nothing(store, where), Exit.NOTHING)
    return sorted(rows, key=lambda row: (row["protocol"], row["method"], row["order_seed"], row["train_seed"]))


def _nothing(store: Store, where: tuple[str, ...]) -> str:
    """Return why there is no row."""
    failures = sorted(store.failures().values(), key=lambda failure: failure.time)
    failed = (
        f": {count(len(failures), 'run')} failed, last {failures[-1].label}: {failures[-1].reason}" if failures else ""
    )
    if where:
        held = len(store.keys())
        return f"none of {count(held, 'finished run')} under {store.root} has {' '.join(where)}{'' if held else failed}"
    return f"no finished run under {store.root}{failed}"


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as people read it."""
    several = f"{row['workers']} workers"
    unusual = ("smoke", row["smoke"]), (row["precision"], row["precision"] != "fp32"), (several, row["workers"] > 1)
    marks = [mark for mark, shown in unusual if shown]
    percent = {
        name: f"{100 * row[name]:.2f}" if row[name] is not None else "" for name in ("avg", "last", "forgetting")
    }
    return {
        **percent,
        "key": row["key"][:8],
        "method": row["method"] + (f" ({', '.join(marks)})" if marks else ""),
        "protocol": row["protocol"],
        "order": str(row["order_seed"]),
        "seed": str(row["train_seed"]),
        "params": f"{row['params_final']:,}",
        "backbones": str(row["backbones_final"]),
        "MiB": f"{row['memory_mb']:.2f}",
        "time": duration(row["seconds"]),
    }
