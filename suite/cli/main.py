"""The command: its verbs, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import click

from grace.checks import DataError
from suite.cli.settings import Settings
from suite.cli.verbs import Verbs
from suite.cli.words import program
from suite.errors import Exit, SuiteError, unknown

VERBS = {
    "list": ("suite.cli.listing", "Protocols, methods, datasets and backbones by name."),
    "show": ("suite.cli.show", "One of them in full."),
    "plan": ("suite.cli.planning", "What a sweep would run, and what it would cost."),
    "run": ("suite.cli.run", "Run what is missing; the same command again goes on."),
    "tune": ("suite.cli.tuning", "Search a method's settings on held-out training images."),
    "resume": ("suite.cli.resume", "Go on with a sweep by its name."),
    "watch": ("suite.cli.watch", "A sweep at work, from any machine that sees the results."),
    "stop": ("suite.cli.stopping", "Ask whoever works on a sweep to save and leave."),
    "results": ("suite.cli.results", "A row per finished run."),
    "table": ("suite.cli.tables", "Methods down, protocols across, mean and deviation."),
    "compare": ("suite.cli.compare", "Two methods, pair by pair over the runs that they share."),
    "plot": ("suite.cli.plotting", "Figures as papers have them, each with its data."),
    "report": ("suite.cli.reporting", "One page of everything: tables, figures, every run."),
    "verify": ("suite.cli.verify", "Finished runs beside published numbers."),
    "merge": ("suite.cli.merging", "Results folders joined into one."),
    "gc": ("suite.cli.cleaning", "Remove what a results folder need not keep."),
    "import": ("suite.cli.importing", "A configuration of GRACE or PyCIL as a sweep file."),
    "new": ("suite.cli.new", "A file for a method, protocol or dataset of your own."),
    "check-method": ("suite.cli.checking", "Whether a method keeps what the engine promises."),
    "doctor": ("suite.cli.doctor", "Check versions, devices, Ray, results folder and data."),
}
EXAMPLES = """\b
Examples:
  run_suite.py list protocols
  run_suite.py plan -m grace der -p cifar100-b0i10 --seeds 0-2
  run_suite.py run  -m grace der -p cifar100-b0i10 --seeds 0-2
  run_suite.py table

\b
Exit codes: 0 done, 1 fault of the suite, 2 command line, 3 sweep or setting, 4 data,
5 some runs failed, 6 environment, 7 a published number differs, 8 nothing matches,
75 stopped early, 130 interrupted.
"""


def suite_version() -> str:
    """Return the installed version."""
    try:
        return version("grace-suite")
    except PackageNotFoundError:
        return "(not installed)"


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"grace-suite {suite_version()}")
        ctx.exit()


@click.group(cls=Verbs, verbs=VERBS, epilog=EXAMPLES, invoke_without_command=True, subcommand_metavar="VERB ...")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="The version."
)
@click.pass_context
def suite(ctx: click.Context) -> None:
    """Compare class-incremental learners over protocols, class orders and seeds.

    A run is done once: its record lies under the results folder, and every table is computed from records.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code. Errors are one line on stderr, with --json also on stdout."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        settings = Settings(argv=args)
        code = int(suite.main(args, prog_name=program(), obj=settings, standalone_mode=False) or Exit.DONE)
        sys.stdout.flush()
        return code
    except (BrokenPipeError, SystemExit):  # the reader, `head` say, has had enough; click and rich make an exit of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.DONE
    except (KeyboardInterrupt, click.Abort):
        return _report("interrupted", Exit.INTERRUPTED, args)
    except click.ClickException as error:
        return _report(_usage(error), Exit.USAGE, args)
    except SuiteError as error:
        return _report(str(error), error.code, args)
    except DataError as error:
        return _report(str(error), Exit.DATA, args)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _report(f"{where}{error.strerror or error}", Exit.ENVIRONMENT, args)
    except Exception as error:  # the boundary: whatever gets here is ours
        message = f"{type(error).__name__}: {error}; this is a fault of the suite, run again with -v to see where"
        return _report(message, Exit.BUG, args)


def _report(message: str, code: Exit, args: list[str]) -> int:
    """Print one error."""
    if {"-v", "--verbose"} & set(args) and code is not Exit.INTERRUPTED:
        traceback.print_exc()
    line = " ".join(message.split())
    print(f"error: {line}", file=sys.stderr)
    if "--json" in args:
        print(json.dumps({"error": {"code": int(code), "message": line}}))
    return code


def _usage(error: click.ClickException) -> str:
    """Return click's complaint in our words."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    see = f"{context.command_path} --help" if context else ""
    if isinstance(error, click.NoSuchOption) and context:
        names = [name for param in context.command.params for name in param.opts if name.startswith("--")]
        return str(unknown("option", error.option_name, names, see=see))
    message = error.format_message().rstrip(".")
    return f"{message[0].lower()}{message[1:]}{f' ({see})' if see else ''}"
