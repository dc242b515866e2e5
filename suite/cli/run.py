"""`run`: what a sweep lacks; the same command again goes on."""

from __future__ import annotations

from typing import Any

import click

from suite.cli.detaching import leave
from suite.cli.launching import carry_out, launch_options, placed
from suite.cli.settings import Settings
from suite.cli.verbs import Verb
from suite.cli.wanted import sweep_options, wanted
from suite.errors import Exit
from suite.sweep import Launch


@click.command(cls=Verb, name="run")
@sweep_options
@launch_options
@click.pass_obj
def command(settings: Settings, /, **options: Any) -> Exit:
    """Run what a sweep lacks, on Ray. The same command again goes on: what is done stays, what failed is tried again.

    The first Ctrl-C saves and stops, the second stops at once; `resume` goes on either way. After --detach it is
    `watch` that shows the sweep, and `stop` that stops it.
    """
    launch = {name: options.pop(name) for name in Launch.model_fields}
    work = leave if options.pop("detach") else carry_out
    return work(settings, placed(wanted(settings, **options), launch))
