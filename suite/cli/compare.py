"""`compare`: two methods over the runs that they have in common, pair by pair."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from textwrap import wrap
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from grace.methods import METHODS
from suite.alignment import measured
from suite.cli.listing import grid
from suite.cli.results import found as finished
from suite.cli.resume import kept_sweep
from suite.cli.settings import PIPED_WIDTH, Settings
from suite.cli.verbs import OneOf, Several, Verb
from suite.cli.wanted import split
from suite.cli.words import count
from suite.errors import Exit, SuiteError, unknown
from suite.metric import metric_of
from suite.paired import Comparison, compare
from suite.pairing import Side
from suite.render import paired
from suite.render.terminal import ASCII
from suite.store import Store
from suite.sweep import find_protocol, load_protocols, read_sweep, resolution

NAMES = ("rich", "md", "csv", "json")


@click.command(cls=Verb, name="compare")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.argument("sweep", required=False, metavar="[SWEEP]")
@click.option("-p", "--protocol", "streams", cls=Several, metavar="NAME...", help="Only these protocols.")
@click.option(
    "--metric", default="avg", metavar="NAME", help="avg (default), last, forgetting, ..., also of a readout: nme_avg."
)
@click.option("--where", cls=Several, metavar="FIELD=VALUE", help="Only such runs; * stands for anything. Repeatable.")
@click.option("--to", "form", type=OneOf("format", NAMES), help="Default: by FILE's ending, or rich.")
@click.option("--smoke", is_flag=True, help="Take smoke runs too (of --limit-epochs).")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it instead of printing it."
)
@click.pass_obj
def command(
    settings: Settings,
    a: str,
    b: str,
    sweep: str | None,
    streams: tuple[str, ...],
    metric: str,
    where: tuple[str, ...],
    form: str | None,
    smoke: bool,
    output: Path | None,
) -> None:
    """How A and B differ, protocol by protocol, over pairs of runs that are alike in all else.

    A and B are methods, or METHOD@FIELD=VALUE for its runs with a setting (METHOD@lr=0.1). Runs are paired by
    protocol, class order, training seed, images, precision and workers. The interval is a bootstrap's over pairs; there
    are no significance marks. With SWEEP, a file or a name of the results folder, exactly its runs.
    """
    load_protocols(settings.protocols)
    metric_of(metric)  # refused before anything is read
    filters = [f"protocol={name if '*' in name else find_protocol(name).name}" for name in split(streams)]
    rows = _rows(settings, [Side.of(text).method for text in (a, b)], (*where, *filters))
    if sweep is not None:
        keys = _keys(settings, sweep)
        rows = [row for row in rows if row["key"] in keys]
        if not rows:
            held = count(len(keys), "run")
            raise SuiteError(f"{sweep}: none of its {held} has a record that passes", Exit.NOTHING)
    result = compare(rows, a, b, metric, allow_smoke=smoke)
    ending = output.suffix.removeprefix(".") if output else ""
    form = "json" if settings.json else form or (ending if ending in FORMATS else "rich")
    if output is not None:
        output.write_text(FORMATS[form](result), encoding="utf-8")
        settings.note(f"wrote {output}")
    elif form == "rich":
        show(result, settings.out, quiet=settings.quiet)
    else:
        click.echo(FORMATS[form](result), nl=False)


def show(result: Comparison, console: Console, *, quiet: bool = False) -> None:
    """Print a comparison, as wide as the console; quiet: without what its columns are."""
    plain = ASCII if not console.encoding.lower().startswith("utf") else {}
    lines = [{name: text.translate(plain) for name, text in row.items()} for row in paired.cells(result)]
    table = grid(paired.COLUMNS, lines, wrapped=paired.COLUMNS[:1])
    for column in table.columns[1:]:
        column.justify = "right"
    console.print(Text(paired.title(result), style="bold"), end="\n\n")
    console.print(table)
    console.print()
    below = [(paired.overall(result), ""), *((f"warning: {remark}", "yellow") for remark in paired.remarks(result))]
    below += [] if quiet else [(note, "dim") for note in paired.notes(result)]
    for text, style in below:
        for piece in wrap(text, console.width, subsequent_indent="  "):
            console.print(Text(piece, style=style), soft_wrap=True)


def _plain(result: Comparison) -> str:
    """Return the comparison as a terminal without colours shows it."""
    console = Console(file=io.StringIO(), width=PIPED_WIDTH, color_system=None, markup=False, emoji=False)
    with console.capture() as capture:
        show(result, console)
    return capture.get()


def _json(result: Comparison) -> str:
    return json.dumps(result.plain(), indent=2, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "rich": _plain,
    "md": paired.markdown,
    "csv": paired.table,
    "json": _json,
}


def _rows(settings: Settings, methods: list[str], filters: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the rows of two methods; of a name that is not known, those of all, for it may be a plugin's."""
    strangers = [name for name in methods if name not in METHODS]
    try:
        return finished(settings, filters if strangers else (*filters, *(f"method={name}" for name in methods)))
    except SuiteError as error:
        if strangers and error.code is Exit.NOTHING:
            raise unknown("method", strangers[0], METHODS, see="list methods") from None
        raise


def _keys(settings: Settings, sweep: str) -> set[str]:
    """Return the runs of a sweep file, or of a sweep of the results folder."""
    file = Path(sweep)
    source = read_sweep(file) if file.suffix == ".toml" else kept_sweep(settings, sweep)
    return {spec.key for spec, _ in resolution(source, measured(Store.open(settings.root))).runs}
