"""`check-method`: whether a method keeps what the engine promises of every method."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from suite.cli.settings import Settings
from suite.cli.verbs import Verb
from suite.cli.words import command as typed
from suite.cli.words import count, program
from suite.errors import Exit
from suite.plugin import PluginError
from suite.plugins import digest_of, load_plugins, loaded, plugin_of

if TYPE_CHECKING:
    from grace.conformance import Finding


@click.command(cls=Verb, name="check-method")
@click.argument("name", metavar="NAME|FILE")
@click.pass_obj
def command(settings: Settings, name: str) -> Exit:
    """Whether a method, by its NAME or in a FILE of yours, keeps what the engine promises of every method.

    It is run again and again on six classes of tiny images: well under two minutes for one like replay.
    """
    if name.endswith(".py"):
        (plugin,) = load_plugins([*(path for path in settings.plugins if path != Path(name)), name])[-1:]
        name = plugin.name
    failed, found = 0, []
    for finding in _findings(settings, name):
        failed += not finding.passed
        found.append({**vars(finding), "passed": finding.passed})
        if not settings.json:
            settings.out.print(_line(finding), soft_wrap=True)
    if settings.json:
        settings.emit(found)
    elif failed:
        settings.note(f"{name}: {failed} of {count(len(found), 'check')} failed")
    else:
        of = plugin_of(name)
        file = ["--plugin", of.file] if of and not of.package else []
        run = typed(program(), "run", "-m", name, "-p", "digits-b0i2", *file)
        settings.note(f"{name} passes {count(len(found), 'check')}\nnext: {run}")
    return Exit.FAILED if failed else Exit.DONE


def _findings(settings: Settings, name: str) -> Iterator[Finding]:
    """Yield how each check went, saying meanwhile which is being made; what does not import is a finding too."""
    from grace.conformance import CHECKS, Finding, Subject, examine

    first = "can be imported"
    try:
        with settings.err.status(first):
            learner, config = loaded(name, digest_of(name))
    except PluginError as error:
        yield Finding(first, 0.0, str(error).removeprefix(f"{error.file}:{error.line}: "), error.file, error.line)
        return
    yield Finding(first, 0.0)
    for check, call in zip(CHECKS, examine(Subject(learner, config)), strict=True):
        with settings.err.status(check):
            finding = call()
        yield finding


def _line(finding: Finding) -> Text:
    """Return a finding as it is printed: `ok    learns above chance (0.5 s)`, `FAIL  ...: FILE:LINE: reason`."""
    if finding.passed:
        return Text.assemble(("ok    ", "green"), finding.check, (f" ({finding.seconds:.1f} s)", "dim"))
    place = f"{finding.file}:{finding.line}: " if finding.file else ""
    return Text.assemble(("FAIL  ", "bold red"), f"{finding.check}: {place}{finding.reason}")
