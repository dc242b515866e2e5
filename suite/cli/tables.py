"""`table`: methods down, protocols across."""

from __future__ import annotations

import io
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import click
from rich.console import Console

from suite.cli.results import found
from suite.cli.resume import kept_sweep
from suite.cli.settings import PIPED_WIDTH, Settings
from suite.cli.verbs import OneOf, Several, Verb
from suite.cli.wanted import split
from suite.declared import declared
from suite.grouping import Wanted
from suite.render import terminal
from suite.sweep import find_protocol, load_protocols, read_sweep, resolve
from suite.table import Table

FORMATS = {"md": "markdown", "csv": "csv", "tex": "latex"}  # and the module that renders each


@click.command(cls=Verb, name="table")
@click.argument("sweep", required=False, metavar="[SWEEP]")
@click.option("-m", "--method", "methods", cls=Several, metavar="NAME...", help="Only these methods.")
@click.option("-p", "--protocol", "streams", cls=Several, metavar="NAME...", help="Only these protocols.")
@click.option("--where", cls=Several, metavar="FIELD=VALUE", help="Only such runs; * stands for anything. Repeatable.")
@click.option("--to", "form", type=OneOf("format", ["rich", *FORMATS]), help="Default: by FILE's ending, or rich.")
@click.option("--digits", type=click.IntRange(0, 6), default=1, metavar="N", help="Of percentages (default 1).")
@click.option("--smoke", is_flag=True, help="Take smoke runs too (of --limit-epochs).")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it instead of printing it."
)
@click.pass_obj
def command(
    settings: Settings,
    sweep: str | None,
    methods: tuple[str, ...],
    streams: tuple[str, ...],
    where: tuple[str, ...],
    form: str | None,
    digits: int,
    smoke: bool,
    output: Path | None,
) -> None:
    """Mean and sample standard deviation over runs; best bold, second underlined, a dash for what is missing.

    With SWEEP, a file or a name of the results folder, exactly its runs, and how many of them are missing.
    """
    load_protocols(settings.protocols)
    names = [name if "*" in name else declared(name).name for name in split(methods)]
    filters = [f"method={name}" for name in names]
    filters += [f"protocol={name if '*' in name else find_protocol(name).name}" for name in split(streams)]
    wanted = None if sweep is None else _wanted(settings, sweep)
    table = Table.of(found(settings, (*where, *filters)), wanted, digits=digits, allow_smoke=smoke)
    if settings.json:
        settings.emit(asdict(table))
        return
    ending = output.suffix.removeprefix(".") if output else ""
    form = form or (ending if ending in FORMATS else "rich")
    if output is None and form == "rich":
        terminal.show(table, settings.out)
        return
    text = _plain(table) if form == "rich" else import_module(f"suite.render.{FORMATS[form]}").render(table)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        settings.note(f"wrote {output}")


def _wanted(settings: Settings, sweep: str) -> list[Wanted]:
    """Return the runs of a sweep file, or of a sweep of the results folder."""
    file = Path(sweep)
    source = read_sweep(file) if file.suffix == ".toml" else kept_sweep(settings, sweep)
    wanted = []
    for spec in resolve(source):
        about = declared(spec.method)
        wanted.append(Wanted(spec.key, spec.method, spec.protocol.name, about.title, about.family, about.reference))
    return wanted


def _plain(table: Table) -> str:
    """Return the table as a terminal without colours shows it."""
    console = Console(file=io.StringIO(), width=PIPED_WIDTH, color_system=None)
    with console.capture() as capture:
        terminal.show(table, console)
    return capture.get()
