"""Carrying out a sweep, for `run` and `resume`: everything is checked before a run starts, and said after the last."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from grace.training.engine import WAYS
from suite.again import Again
from suite.cli.concluding import Ended, concluded
from suite.cli.readying import fetched, ready
from suite.cli.scheduling import OPTIONS as SCHEDULING
from suite.cli.scheduling import about_failed
from suite.cli.settings import Settings
from suite.cli.signals import Stop
from suite.cli.verbs import OneOf, Several
from suite.cli.wanted import split
from suite.cli.words import count
from suite.errors import Exit, SuiteError
from suite.events import Event
from suite.launch import HERE, LaunchOptions, Outcome, launcher
from suite.ordering import in_order, meant
from suite.plan import Plan, Planned, plan
from suite.spending import Spending, budget
from suite.stopping import Asked
from suite.store import Store
from suite.sweep import Sweep, sweep_name, write_sweep
from suite.trackers import PACKAGES
from suite.twins import copied

if TYPE_CHECKING:
    from suite.cli.following import Following

F = TypeVar("F", bound=Callable[..., Any])
DIR = click.Path(path_type=Path)
SPAN = click.FloatRange(min=0)


def trackers(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> list[str] | None:
    """Return the trackers named, `none` for an empty list, and None where nothing was said; raises SuiteError."""
    one = OneOf("tracker", [*PACKAGES, "none"])
    names = [one.convert(name, parameter, context) for name in split(value)]
    return list(dict.fromkeys(name for name in names if name != "none")) if names else None


OPTIONS = (
    click.option(
        "--address", metavar="ADDRESS", help="Ray: auto, HOST:PORT; none for no Ray (default: one of our own)."
    ),
    *SCHEDULING,
    click.option("--mixed", is_flag=True, default=None, help="On nodes without GPUs, runs use their CPUs."),
    click.option(
        "--checkpoint-seconds", type=SPAN, metavar="S", help="Between checkpoints (default 60; 0: each epoch)."
    ),
    click.option("--stall-minutes", type=SPAN, metavar="M", help="Without progress a run is hung (default 60)."),
    click.option(
        "--patience-minutes", type=SPAN, metavar="M", help="Wait for a disk or node that is gone (default 10)."
    ),
    click.option("--detach", is_flag=True, help="Leave the sweep to a process in the background, and return."),
    click.option(
        "--grace-seconds", type=SPAN, metavar="S", help="From SIGTERM to a stop at once (default 25; Ctrl-C: none)."
    ),
    click.option(
        "--share/--no-share", default=None, help="Train a first task that runs have in common once (default: yes)."
    ),
    click.option("--data", type=DIR, metavar="DIR", help="Data folder (default ./data)."),
    click.option("--download/--no-download", default=None, help="Whether to fetch missing data (default: yes)."),
    click.option(
        "--track",
        cls=Several,
        metavar="NAME...",
        callback=trackers,
        help="Tell trackers too: tensorboard, mlflow, wandb (none: no longer).",
    ),
    click.option(
        "--engine", type=OneOf("engine", WAYS), help="How training is carried out, whatever it computes (default auto)."
    ),
)


def launch_options(function: F) -> F:
    """Give a verb the options that say where and with what runs are worked on."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def placed(sweep: Sweep, given: Mapping[str, Any], kept: bool = False) -> Sweep:
    """Return the sweep with the launch options that were given, so that `resume` need not be told again.

    Several GPUs for a run are a worker for each, which one that is `kept` has or has not: SuiteError.
    """
    changes = {name: value for name, value in given.items() if value is not None}
    gpus = changes.get("gpus_per_run")
    if gpus is not None and gpus > 1:
        sweep, changes["gpus_per_run"] = _several(sweep, gpus, kept), 1.0
    if "data" in changes:
        changes["data"] = str(changes["data"].absolute())
    return sweep.model_copy(update={"launch": sweep.launch.model_copy(update=changes)})


def _several(sweep: Sweep, gpus: float, kept: bool) -> Sweep:
    """Return the sweep with a worker for each GPU of a run; raises SuiteError for what is no number of them."""
    if gpus != int(gpus):
        raise SuiteError(
            f"--gpus-per-run {gpus:g}: a fraction up to 1, for runs that share a GPU, or a whole number, for a run on "
            f"several; {int(gpus)} is near",
            Exit.USAGE,
        )
    if (kept or "workers" in sweep.model_fields_set) and sweep.workers != gpus:
        raise SuiteError(
            f"--gpus-per-run {gpus:g} is a worker for each GPU, and these runs have {count(sweep.workers, 'worker')}; "
            "--gpus-per-run 1 gives each worker one",
            Exit.USAGE,
        )
    return sweep.model_copy(update={"workers": int(gpus)})


def carry_out(settings: Settings, sweep: Sweep, retry: Collection[str] | None = None) -> Exit:
    """Run what a sweep lacks and return the exit code; raises SuiteError before the first run for what cannot work.

    `retry` are the kinds of failures to try again, None for all.
    """
    from suite.cli.following import Following

    sweep, found, options = ready(settings, sweep)
    launch = sweep.launch
    limit, priority = budget(launch.budget) if launch.budget else None, meant(launch.priority, found)
    spending = Spending(limit, launch.gpus_per_run, launch.cpus_per_run, workers=sweep.workers, mixed=launch.mixed)
    again = Again(retry, launch.gpus_per_run, launch.address)
    store = Store.open(settings.root, write=True)
    asked = Asked(settings.root, sweep_name(sweep))
    wishes = [lambda: "asked to stop" if asked() else "", spending.used_up]
    outcome, stop, first = Outcome(), Stop(settings, wishes, launch.grace_seconds), found
    said: list[str] = []
    if not found.left:
        store.save_sweep(sweep_name(sweep), write_sweep(sweep))
    with Following(settings, sweep).whole() as following:
        while todo := [run for run in found.left if run.spec.key not in outcome.failed]:
            same = copied((run.spec for run in todo), store)
            outcome.finished += same
            following.see(replace(found, runs=[run for run in found.runs if again.takes(run)]), same)
            todo = [run for run in todo if run.spec.key not in same]
            notes = [*found.notes, *about_failed(again, todo)]
            todo = [run for run in todo if again.takes(run)]
            if not todo and not same:
                _say(settings, notes, said)
                break
            if todo:
                _say(settings, notes, said)
                for note in _later(found):
                    settings.note(note)
                fetched(settings, (run.spec.protocol.dataset for run in todo), options)
                store.save_sweep(sweep_name(sweep), write_sweep(sweep))
                order = in_order(todo, priority, longest=launch.address != HERE)
                options = replace(options, sizes=again.sizes(todo))
                outcome.join(_worked(following, order, options, stop, spending))
            if outcome.stopped:
                break
            found = plan(sweep, store)  # what has finished may tell what others are to hold
    return concluded(settings, sweep, Ended(first, found, outcome, stop, spending, again))


def _say(settings: Settings, notes: Iterable[str], said: list[str]) -> None:
    """Say what was not said before."""
    for note in notes:
        if note not in said:
            settings.note(note)
            said.append(note)


def _later(found: Plan) -> list[str]:
    """Say how many runs wait for others."""
    waiting = [wish.waits_for for wish in found.waiting]
    of = waiting[0] if len(set(waiting)) == 1 else f"{count(len(set(waiting)), 'run')} of these (plan says which)"
    return [f"{count(len(waiting), 'run')} later: what they are follows from {of}"] if waiting else []


def _worked(
    following: Following, runs: list[Planned], options: LaunchOptions, stop: Stop, spending: Spending
) -> Outcome:
    """Work on the runs in this order, with a live view of them."""
    heard = Outcome()

    def observe(event: Event) -> None:
        heard.add(event)
        following.observe(event)
        spending.observe(event)

    try:
        with stop.listening(), following as view:
            stop.say = view.say  # the view holds the screen
            return launcher(options)([run.spec for run in runs], options, observe, stop)
    except (KeyboardInterrupt, SuiteError) as error:
        if not stop.preempted:
            raise
        if isinstance(error, SuiteError):  # SIGTERM is for every process at once, now and then: also for Ray's
            stop.say(str(error))
        return replace(heard, stopped=True)
    finally:
        spending.close()
