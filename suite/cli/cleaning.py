"""`gc`: what a results folder need not keep."""

from __future__ import annotations

import click

from grace.storage.folders import below
from suite.cleaning import remove, waste
from suite.cli.settings import Settings
from suite.cli.verbs import Verb
from suite.cli.words import count, size
from suite.errors import Exit, SuiteError
from suite.store import Store


@click.command(cls=Verb, name="gc")
@click.option("--dry-run", is_flag=True, help="Say what would go, and leave it.")
@click.option("--unfinished", is_flag=True, help="Checkpoints of unfinished runs too: they start anew.")
@click.pass_obj
def command(settings: Settings, /, dry_run: bool, unfinished: bool) -> None:
    """Remove checkpoints of finished runs and what killed writers left. Records, sweeps and damaged files stay."""
    store = Store.open(settings.root)
    if not store.exists:
        raise SuiteError(f"{settings.root} is no results folder: it has no records", Exit.NOTHING)
    found = []
    for each in waste(store, unfinished=unfinished):
        found.append(each)
        if not dry_run:
            remove(each)
        settings.note(f"{below(each.path, settings.root)}: {each.why}, {size(each.size)}")
    if settings.json:
        settings.emit([{"path": str(each.path), "why": each.why, "bytes": each.size} for each in found])
    total = f"{count(len(found), 'thing')}, {size(sum(each.size for each in found))}"
    settings.note(f"would remove {total}" if dry_run else f"removed {total}" if found else "nothing to remove")
