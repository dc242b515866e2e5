"""`doctor`: look at everything that a sweep needs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich.text import Text

from suite.cli.settings import Settings
from suite.cli.verbs import Verb
from suite.doctor import examine
from suite.errors import Exit, SuiteError
from suite.sweep import load_protocols

MARKS = {"good": ("ok  ", "green"), "note": ("note", "yellow"), "bad": ("bad ", "bold red")}


@click.command(cls=Verb, name="doctor")
@click.option(
    "--data", type=click.Path(path_type=Path), default="data", metavar="DIR", help="Data folder (default ./data)."
)
@click.pass_obj
def command(settings: Settings, data: Path) -> Exit:
    """Check versions, the torch and torchvision pair, devices, Ray, the results folder and the data.

    A dataset that is not there is a note; what keeps every run from starting is bad, and the exit code 6.
    """
    load_protocols(settings.protocols)
    findings = []
    for finding in examine(settings.root, data):
        findings.append(finding)
        if not settings.json:
            mark, style = MARKS[finding.state]
            settings.out.print(Text.assemble((mark, style), f"  {finding.what}: {finding.text}"), soft_wrap=True)
    if settings.json:
        settings.emit({"findings": [asdict(finding) for finding in findings]})
    bad = [finding.what for finding in findings if finding.state == "bad"]
    if bad and not settings.json:
        raise SuiteError(f"not fit to run: {', '.join(bad)}", Exit.ENVIRONMENT)
    return Exit.ENVIRONMENT if bad else Exit.DONE
