"""`import`: a configuration of GRACE or PyCIL as a sweep file, with what each key became."""

from __future__ import annotations

from pathlib import Path

import click

from suite.cli.settings import Settings
from suite.cli.verbs import Verb
from suite.cli.words import command as typed
from suite.cli.words import program
from suite.importing import read, to_toml
from suite.sweep import resolve, sweep_of


@click.command(cls=Verb, name="import")
@click.argument("file", metavar="FILE.json", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE.toml", help="Default: print it.")
@click.option("--lenient", is_flag=True, help="Leave unknown keys out instead of refusing them.")
@click.pass_obj
def command(settings: Settings, file: Path, output: Path | None, lenient: bool) -> None:
    """A configuration file of the GRACE reference or of PyCIL as a sweep file; says what each key became."""
    found = read(file, lenient=lenient)
    runs = resolve(sweep_of(found.sweep, str(file)))
    text = to_toml(found.sweep, found.report)
    if output:
        output.write_text(text, encoding="utf-8")
    if settings.json:
        settings.emit({"sweep": found.sweep, "report": found.report, "runs": len(runs)})
    elif output:
        for line in found.report:
            settings.note(line)
        settings.note(f"\nnext: {typed(program(), 'plan', str(output))}")
    else:
        settings.out.print(text, end="", soft_wrap=True)
