"""`table`: methods down, protocols across."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import click
from rich.console import Console

from suite.cli.choosing import shown
from suite.cli.settings import PIPED_WIDTH, Settings
from suite.cli.verbs import OneOf, Several, Verb
from suite.cli.wanted import split
from suite.errors import Exit, SuiteError, unknown
from suite.render import terminal
from suite.store import Store
from suite.table import Table
from suite.tables import PRESETS, table
from suite.tables.catalogue import CATALOGUE

FORMATS = {"md": "markdown", "csv": "csv", "tex": "latex", "html": "html", "json": "json"}  # and what renders each
EPILOG = f"""Tables: {"; ".join(f"{name}, {about}" for name, about in PRESETS.items())}. Without a name, the first.

Columns: {", ".join(CATALOGUE)}; and of each readout, as nme_avg, nme_last. `--columns avg,last` shows these two."""


@click.command(cls=Verb, name="table", epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="[TABLE] [SWEEP]")
@click.option("-m", "--method", "methods", cls=Several, metavar="NAME...", help="Only these methods.")
@click.option("-p", "--protocol", "streams", cls=Several, metavar="NAME...", help="Only these protocols.")
@click.option("--where", cls=Several, metavar="FIELD=VALUE", help="Only such runs; * stands for anything. Repeatable.")
@click.option("--columns", cls=Several, metavar="NAME...", help="These columns (listed below) in place of the usual.")
@click.option("--against", metavar="METHOD", help="What memory saved is measured against (default: as in +align).")
@click.option("--to", "form", type=OneOf("format", ["rich", *FORMATS]), help="Default: by FILE's ending, or rich.")
@click.option("--digits", type=click.IntRange(0, 6), default=1, metavar="N", help="Of percentages (default 1).")
@click.option("--smoke", is_flag=True, help="Take smoke runs too (of --limit-epochs).")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it instead of printing it."
)
@click.pass_obj
def command(
    settings: Settings,
    words: tuple[str, ...],
    methods: tuple[str, ...],
    streams: tuple[str, ...],
    where: tuple[str, ...],
    columns: tuple[str, ...],
    against: str | None,
    form: str | None,
    digits: int,
    smoke: bool,
    output: Path | None,
) -> None:
    """Mean and sample standard deviation over runs; best bold, second underlined, a dash for what is missing.

    With SWEEP, a file or a name of the results folder, exactly its runs, and how many of them are missing.
    """
    preset, sweep = _told_apart(settings, words)
    runs = shown(settings, sweep, methods, streams, where, preset)
    made = table(
        preset,
        runs.rows,
        runs.wanted,
        failures=runs.failures,
        digits=digits,
        allow_smoke=smoke,
        columns=split(columns),
        against=against or "",
    )
    ending = output.suffix.removeprefix(".") if output else ""
    form = form or ("json" if settings.json else ending if ending in FORMATS else "rich")
    if output is None and form == "json":
        settings.emit(asdict(made))
    elif output is None and form == "rich":
        terminal.show(made, settings.out)
    elif output is None:
        click.echo(_text(made, form), nl=False)
    else:
        output.write_text(_text(made, form), encoding="utf-8")
        settings.note(f"wrote {output}")


def _told_apart(settings: Settings, words: Iterable[str]) -> tuple[str, str | None]:
    """Return the table and the sweep that the words name; a first word that is no table is a sweep."""
    rest = list(words)
    preset = rest.pop(0) if rest and rest[0] in PRESETS else ""
    if len(rest) > 1:
        told = f'table takes one sweep, not "{" ".join(rest)}"'
        raise SuiteError(told, Exit.USAGE) if preset else unknown_table(rest[0])
    sweep = rest[0] if rest else None
    near = sweep and not preset and not sweep.endswith(".toml") and get_close_matches(sweep, PRESETS, cutoff=0.7)
    if sweep and near and sweep not in Store.open(settings.root).sweeps():
        raise unknown_table(sweep)
    return preset or next(iter(PRESETS)), sweep


def unknown_table(name: str) -> SuiteError:
    """Return the error for a word that names no table."""
    error = unknown("table", name, PRESETS, few=True)
    error.code = Exit.USAGE
    return error


def _text(made: Table, form: str) -> str:
    """Return the table as a file holds it."""
    if form == "json":
        return json.dumps(asdict(made), indent=2, allow_nan=False) + "\n"
    if form != "rich":
        text: str = import_module(f"suite.render.{FORMATS[form]}").render(made)
        return text
    console = Console(file=io.StringIO(), width=PIPED_WIDTH, color_system=None)
    with console.capture() as capture:
        terminal.show(made, console)
    return capture.get()
