"""`merge`: results folders joined into one."""

from __future__ import annotations

import click

from grace.storage.folders import Folder
from suite.cli.settings import Root, Settings
from suite.cli.verbs import Verb
from suite.cli.words import count
from suite.errors import Exit, SuiteError
from suite.merging import merge
from suite.store import Store


@click.command(cls=Verb, name="merge")
@click.argument("sources", nargs=-1, required=True, type=Root(), metavar="DIR...")
@click.pass_obj
def command(settings: Settings, /, sources: tuple[Folder, ...]) -> Exit:
    """Copy the records of results folders into --root. What is there stays; where results differ, both are named."""
    stores = [Store.open(source) for source in sources]
    for source, store in zip(sources, stores, strict=True):
        if not store.exists:
            raise SuiteError(f"{source} is no results folder: it has no records", Exit.NOTHING)
        if source.resolve() == settings.root.resolve():
            raise SuiteError(f"{source} is the results folder that all are merged into; name another with --root")
    into, answers, unlike = Store.open(settings.root, write=True), [], False
    for source, store in zip(sources, stores, strict=True):
        found = merge(store, into)
        for line in [*store.damaged, *into.damaged]:
            settings.warn(line)
        for key in found.unlike:
            settings.warn(f"run {key}: {source} holds another result than {settings.root}, which stays")
        unlike = unlike or bool(found.unlike)
        answers.append({"source": str(source), **vars(found)})
        told = [f"{count(len(found.taken), 'record')} taken", f"{len(found.there)} there already"]
        told += [f"{len(found.unlike)} unlike"] if found.unlike else []
        settings.note(f"{source}: {', '.join(told)}")
    if settings.json:
        settings.emit(answers)
    return Exit.DIFFERS if unlike else Exit.DONE
