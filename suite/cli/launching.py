"""Carrying out a sweep, for `run` and `resume`: everything is checked before a run starts, and said after the last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from grace.training.engine import WAYS
from suite.cli.fetching import fetched
from suite.cli.settings import Settings
from suite.cli.signals import Stop
from suite.cli.verbs import OneOf, Several
from suite.cli.wanted import alone, split
from suite.cli.words import command, count, program
from suite.errors import Exit, SuiteError
from suite.launch import HERE, LaunchOptions, Outcome, carries, launcher
from suite.plan import Plan, Planned, longest_first, plan
from suite.plugins import read_plugin
from suite.resolver import Wish
from suite.stopping import Asked
from suite.store import Store
from suite.sweep import Sweep, sweep_name, with_texts, write_sweep
from suite.trackers import PACKAGES, check
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
    click.option(
        "--gpus-per-run", type=float, metavar="G", help="A fraction: runs share one; 2, ...: data-parallel (default 1)."
    ),
    click.option("--cpus-per-run", type=click.IntRange(min=1), metavar="C", help="Cores of a run (default 1)."),
    click.option(
        "--max-concurrent", type=click.IntRange(min=1), metavar="N", help="Runs at a time (default: what fits)."
    ),
    click.option("--mixed", is_flag=True, default=None, help="On nodes without GPUs, runs use their CPUs."),
    click.option(
        "--checkpoint-seconds", type=SPAN, metavar="S", help="Between checkpoints (default 60; 0: each epoch)."
    ),
    click.option("--stall-minutes", type=SPAN, metavar="M", help="Without progress a run is hung (default 60)."),
    click.option(
        "--patience-minutes", type=SPAN, metavar="M", help="Wait for a disk or node that is gone (default 10)."
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


def carry_out(settings: Settings, sweep: Sweep) -> Exit:
    """Run what a sweep lacks and return the exit code; raises SuiteError before the first run for what cannot work."""
    from suite.cli.following import Following

    check(sweep.launch.track)
    seen, sweep = Store.open(settings.root), with_texts(sweep)
    found = plan(sweep, seen)
    for warning in [*seen.damaged, *found.broken]:
        settings.warn(warning)
    launch = sweep.launch.model_dump(exclude={"track"})
    sources = {run.spec.key: run.choice.source for run in found.runs}
    tuned = {run.spec.key: run.choice.tuned_on for run in found.runs if run.choice.tuned_on}
    plugins = [read_plugin(Path(file), sweep.plugin_texts) for file in sweep.plugins]
    options = LaunchOptions(
        root=settings.root,
        verbose=settings.verbose,
        **{**launch, "data": Path(launch["data"])},
        sources=sources,
        tuned=tuned,
        plugins=plugins,
    )
    carries(options, sweep.workers)
    store = Store.open(settings.root, write=True)
    outcome, stop, first = Outcome(), Stop(settings, Asked(settings.root, sweep_name(sweep))), found
    said: list[str] = []
    if not found.left:
        store.save_sweep(sweep_name(sweep), write_sweep(sweep))
    with Following(settings, sweep).whole() as following:
        while todo := [run for run in found.left if run.spec.key not in outcome.failed]:
            same = copied((run.spec for run in todo), store)
            outcome.finished += same
            following.see(found, same)
            todo = [run for run in todo if run.spec.key not in same]
            if todo:
                for note in [*(n for n in found.notes if n not in said), *_later(found)]:
                    settings.note(note)
                said += found.notes
                fetched(settings, (run.spec.protocol.dataset for run in todo), options)
                store.save_sweep(sweep_name(sweep), write_sweep(sweep))
                outcome.join(_worked(following, todo, options, stop))
            if outcome.stopped:
                break
            found = plan(sweep, store)  # what has finished may tell what others are to hold
    return _concluded(settings, sweep, first, found, outcome, stop)


def _later(found: Plan) -> list[str]:
    """Say how many runs wait for others."""
    waiting = [wish.waits_for for wish in found.waiting]
    of = waiting[0] if len(set(waiting)) == 1 else f"{count(len(set(waiting)), 'run')} of these (plan says which)"
    return [f"{count(len(waiting), 'run')} later: what they are follows from {of}"] if waiting else []


def _worked(following: Following, left: list[Planned], options: LaunchOptions, stop: Stop) -> Outcome:
    """Work on the runs with a live view of them."""
    with stop.listening(), following as view:
        stop.say = view.say  # the view holds the screen
        order = left if options.address == HERE else longest_first(left)
        return launcher(options)([run.spec for run in order], options, following.observe, stop)


def _concluded(settings: Settings, sweep: Sweep, first: Plan, found: Plan, outcome: Outcome, stop: Stop) -> Exit:
    """Say what is there, what failed and what to type next; return the exit code. `first` was the plan before."""
    places = [] if settings.root == Settings.root else ["--root", str(settings.root)]
    smoke = [] if sweep.limit_epochs is None else ["--smoke"]
    failed = [
        {
            "key": failure.key,
            "label": failure.label,
            "kind": failure.kind,
            "reason": failure.reason,
            "where": failure.where,
            "traceback": str(settings.root / "failed" / f"{failure.key}.json"),
            "alone": alone(sweep, run.spec, settings),
        }
        for run in {run.spec.key: run for run in [*first.left, *found.left]}.values()
        if (failure := outcome.failed.get(run.spec.key))
    ]
    done = len(first.runs) - len(first.left)
    planned = {run.spec.key for run in [*first.runs, *found.runs]}
    left = len(planned) - done - len(outcome.finished) - len(failed) + len(found.waiting)
    code = stop.code if outcome.stopped and left else Exit.FAILED if failed else Exit.DONE
    if settings.json:
        settings.emit(
            {
                "sweep": sweep_name(sweep),
                "total": len(planned) + len(found.waiting),
                "done_before": done,
                "finished": outcome.finished,
                "failed": failed,
                "left": left,
                "stopped": outcome.stopped,
                "unmet": [{"run": wish.label, "reason": wish.reason} for wish in found.unmet],
            }
        )
        return code
    for each in failed:
        settings.err.print(
            f"failed: {each['label']}: {each['reason']} (in full: {each['traceback']}); alone: {each['alone']}",
            style="red",
            soft_wrap=True,
        )
    parts = [
        f"{count(len(outcome.finished), 'run')} finished"
        if first.left
        else f"nothing to do: all {len(first.runs)} runs are done",
        f"{done} done before" if done and first.left else "",
        f"{len(failed)} failed" if failed else "",
        f"{left} left" if left else "",
    ]
    settings.note(", ".join(part for part in parts if part))
    for reason, wishes in _reasons(found.unmet).items():
        settings.note(f"not run: {wishes}: {reason}")
    if left or failed:
        settings.note(f"next: {command(program(), 'resume', sweep_name(sweep), *places)}")
    if done or outcome.finished:
        settings.note(f"{'      ' if left or failed else 'next: '}{command(program(), 'table', *smoke, *places)}")
    return code


def _reasons(unmet: list[Wish]) -> dict[str, str]:
    """Return the runs that cannot be, by why."""
    found: dict[str, list[str]] = {}
    for wish in unmet:
        found.setdefault(wish.reason, []).append(f"{wish.method} {wish.protocol}")
    return {reason: ", ".join(dict.fromkeys(names)) for reason, names in found.items()}
