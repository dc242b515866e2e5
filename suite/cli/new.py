"""`new`: a file for a protocol, a dataset or a method of the user's own."""

from __future__ import annotations

import click

from suite.cli.verbs import Verbs
from suite.errors import Exit, SuiteError

KINDS = {
    "protocol": ("suite.cli.new_protocol", "A protocol on a known dataset, or on one of your own."),
    "method": ("suite.cli.new_method", "A method that runs as it is, to be filled in."),
}


@click.group(
    cls=Verbs, name="new", verbs=KINDS, what="kind", invoke_without_command=True, subcommand_metavar="KIND ..."
)
@click.pass_context
def command(ctx: click.Context) -> None:
    """A file for a protocol, a dataset or a method of your own."""
    if ctx.invoked_subcommand is None:
        raise SuiteError("which kind? new protocol or new method (new protocol --help)", Exit.USAGE)
