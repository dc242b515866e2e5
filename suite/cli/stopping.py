"""`stop`: ask those who work on a sweep to save and leave."""

from __future__ import annotations

import click

from suite.cli.resume import kept_file
from suite.cli.settings import Settings
from suite.cli.verbs import Verb
from suite.cli.words import command as typed
from suite.cli.words import program
from suite.stopping import ask
from suite.watching import Watcher


@click.command(cls=Verb, name="stop")
@click.argument("name", metavar="SWEEP")
@click.pass_obj
def command(settings: Settings, /, name: str) -> None:
    """Ask whoever works on SWEEP, on any machine, to save at the next safe point and leave; `resume` goes on."""
    kept_file(settings, name)
    ask(settings.root, name)
    if Watcher(settings.root, name).look().over:
        settings.note(f"sweep {name}: nobody seems to be at work on it")
    else:
        settings.note(f"sweep {name}: asked to stop; its runs save at their next safe point")
    places = [] if settings.root == Settings.root else ["--root", str(settings.root)]
    settings.note(f"next: {typed(program(), 'watch', name, *places)}")
