"""What bears on when and with how much of the machine runs are worked on, as `plan`, `run` and `resume` are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click

from suite.again import Again
from suite.cli.verbs import Several
from suite.cli.wanted import split
from suite.cli.words import count
from suite.errors import Exit, SuiteError
from suite.packing import no_waste
from suite.plan import Planned
from suite.spending import budget

F = TypeVar("F", bound=Callable[..., Any])
NONE = "none"  # what takes an option back that a sweep was run with


def _checked(check: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return the callback of an option whose value `check` raises ValueError for, in the words of a user's error."""

    def called(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if value is None:
            return None
        try:
            return check(value)
        except ValueError as error:
            raise SuiteError(f"{parameter.opts[0]}: {error}", Exit.USAGE) from None

    return called


def _share(gpus: float) -> float:
    return no_waste(gpus) if gpus <= 1 else gpus  # more are a worker for each, see `placed`


def _budget(text: str) -> str:
    return "" if text == NONE else str(budget(text)).replace(" ", "")


def _priority(texts: tuple[str, ...]) -> list[str] | None:
    names = split(texts)
    return [name for name in dict.fromkeys(names) if name != NONE] if names else None


OPTIONS = (
    click.option(
        "--gpus-per-run",
        type=float,
        metavar="G",
        callback=_checked(_share),
        help="A fraction: runs share one; 2, ...: data-parallel (default 1).",
    ),
    click.option("--cpus-per-run", type=click.IntRange(min=1), metavar="C", help="Cores of a run (default 1)."),
    click.option(
        "--max-concurrent", type=click.IntRange(min=1), metavar="N", help="Runs at a time (default: what fits)."
    ),
    click.option(
        "--budget",
        metavar="HOURS",
        callback=_checked(_budget),
        help="Stop when this is used up: 40gpuh, 8cpuh, 12h (none: no longer).",
    ),
    click.option(
        "--priority",
        cls=Several,
        metavar="NAME...",
        callback=_checked(_priority),
        help="Methods and protocols whose runs go first (none: no longer).",
    ),
)


def planned_options(function: F) -> F:
    """Give a verb these options, without the others that say where runs are worked on."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def typed(given: Mapping[str, Any]) -> list[str]:
    """Return options of these as they are typed; None was not given."""
    parts = []
    for name, value in given.items():
        if value is not None:
            values = value or [NONE] if isinstance(value, list) else [NONE if value == "" else value]
            parts += [f"--{name.replace('_', '-')}", *map(str, values)]
    return parts


def about_failed(again: Again, runs: Iterable[Planned]) -> list[str]:
    """Say what becomes of runs that were out of memory: how much room they get, or that there is no more."""
    runs = [run for run in runs if run.failure and run.failure.kind == "oom"]
    lines = []
    for slots, number in sorted(Counter(again.sizes(filter(again.takes, runs)).values()).items()):
        words = "that was out of memory gets" if number == 1 else "that were out of memory get"
        lines.append(f"{count(number, 'run')} {words} {slots} slots")
    for run in filter(again.whole, runs):
        what = f"{run.spec.label} was out of memory with a whole GPU to itself"
        if again.takes(run):
            lines.append(f"{what}: tried again as it was")
        elif "oom" in (again.kinds or ()):
            lines.append(
                f"{what} and stays failed: {run.failed.rstrip('.')}; it takes a larger GPU (there, resume without "
                "--retry), or another recipe: a smaller batch or backbone, fewer exemplars"
            )
    return lines
