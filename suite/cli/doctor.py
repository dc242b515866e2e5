"""`doctor`: look at everything that a sweep needs, on this machine or on the nodes of a cluster."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich.text import Text

from suite.cli.settings import Settings
from suite.cli.verbs import Verb
from suite.doctor import Finding, examine
from suite.errors import Exit, SuiteError
from suite.launch import HERE, LaunchOptions
from suite.sweep import load_protocols

MARKS = {"good": ("ok  ", "green"), "note": ("note", "yellow"), "bad": ("bad ", "bold red")}


@click.command(cls=Verb, name="doctor")
@click.option(
    "--data", type=click.Path(path_type=Path), default="data", metavar="DIR", help="Data folder (default ./data)."
)
@click.option("--cluster", is_flag=True, help="Look at every node of a Ray cluster, and whether they fit together.")
@click.option("--address", metavar="ADDRESS", help="Of the cluster: auto, HOST:PORT or ray://... (default auto).")
@click.pass_obj
def command(settings: Settings, data: Path, cluster: bool, address: str | None) -> Exit:
    """Check versions, the torch and torchvision pair, devices, Ray, the results folder and the data.

    With --cluster: all that on each node, and whether versions are alike, the results folder is one that all nodes
    write and read, locks and clocks hold, and disks have room. A dataset that is not there is a note; what keeps
    runs from starting is bad, and the exit code 6.
    """
    if address == HERE or (address and not cluster):
        raise SuiteError("--address is that of a Ray cluster, for --cluster (doctor --help)", Exit.USAGE)
    load_protocols(settings.protocols)
    findings = list[Finding]()

    def show(finding: Finding) -> None:
        findings.append(finding)
        if not settings.json:
            mark, style = MARKS[finding.state]
            what = f"{finding.what} on {finding.node}" if finding.node else finding.what
            settings.out.print(Text.assemble((mark, style), f"  {what}: {finding.text}"), soft_wrap=True)

    if cluster:
        from suite import cluster as nodes

        nodes.examine(LaunchOptions(root=settings.root, data=data, address=address or "auto"), show)
    else:
        for finding in examine(settings.root, data):
            show(finding)
    if settings.json:
        settings.emit({"findings": [asdict(finding) for finding in findings]})
    bad = list(dict.fromkeys(finding.what for finding in findings if finding.state == "bad"))
    if bad and not settings.json:
        raise SuiteError(f"not fit to run: {', '.join(bad)}", Exit.ENVIRONMENT)
    return Exit.ENVIRONMENT if bad else Exit.DONE
