"""Carrying out a sweep, for `run` and `resume`: everything is checked before a run starts, and said after the last."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click

from grace.training.engine import WAYS
from suite.cli.settings import Settings
from suite.cli.verbs import OneOf
from suite.cli.wanted import alone
from suite.cli.words import command, count, program
from suite.errors import Exit
from suite.launch import LaunchOptions, Outcome, launcher
from suite.plan import Plan, Planned, plan
from suite.plugins import read_plugin
from suite.store import Store
from suite.sweep import Sweep, sweep_name, with_texts, write_sweep

F = TypeVar("F", bound=Callable[..., Any])
DIR = click.Path(path_type=Path)
OPTIONS = (
    click.option(
        "--address", metavar="ADDRESS", help="Ray: auto, HOST:PORT; none for no Ray (default: one of our own)."
    ),
    click.option("--gpus-per-run", type=float, metavar="G", help="A fraction lets runs share one (default 1 if any)."),
    click.option("--cpus-per-run", type=click.IntRange(min=1), metavar="C", help="Cores of a run (default 1)."),
    click.option(
        "--max-concurrent", type=click.IntRange(min=1), metavar="N", help="Runs at a time (default: what fits)."
    ),
    click.option("--data", type=DIR, metavar="DIR", help="Data folder (default ./data)."),
    click.option("--download/--no-download", default=None, help="Whether to fetch missing data (default: yes)."),
    click.option(
        "--engine", type=OneOf("engine", WAYS), help="How training is carried out, whatever it computes (default auto)."
    ),
)


def launch_options(function: F) -> F:
    """Give a verb the options that say where and with what runs are worked on."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def placed(sweep: Sweep, given: Mapping[str, Any]) -> Sweep:
    """Return the sweep with the launch options that were given, so that `resume` need not be told again."""
    changes = {name: value for name, value in given.items() if value is not None}
    if "data" in changes:
        changes["data"] = str(changes["data"].absolute())
    return sweep.model_copy(update={"launch": sweep.launch.model_copy(update=changes)})


def carry_out(settings: Settings, sweep: Sweep) -> Exit:
    """Run what a sweep lacks and return the exit code; raises SuiteError before the first run for what cannot work."""
    seen, sweep = Store.open(settings.root), with_texts(sweep)
    found = plan(sweep, seen)
    for warning in [*seen.damaged, *found.broken]:
        settings.warn(warning)
    launch = sweep.launch.model_dump()
    sources = {run.spec.key: run.choice.source for run in found.runs}
    plugins = [read_plugin(Path(file), sweep.plugin_texts) for file in sweep.plugins]
    options = LaunchOptions(
        root=settings.root, **{**launch, "data": Path(launch["data"])}, sources=sources, plugins=plugins
    )
    store = Store.open(settings.root, write=True)
    outcome, stop = Outcome(), Stop(settings)
    if found.left:
        for note in found.notes:
            settings.note(note)
        _fetch(settings, found.left, options)
    store.save_sweep(sweep_name(sweep), write_sweep(sweep))
    if found.left:
        outcome = _worked(settings, found.left, options, stop)
    return _concluded(settings, sweep, found, outcome, stop)


def _fetch(settings: Settings, left: list[Planned], options: LaunchOptions) -> None:
    """Check the images of every run that is left, and download what is missing and may be."""
    from grace.streams.datasets import check, fetch

    specs = list(dict.fromkeys(run.spec.protocol.dataset for run in left))
    for spec in specs:
        settings.note(f"data {spec.name}: {check(spec, options.data, options.download)}")
    if options.download:
        for spec in specs:
            fetch(spec, options.data)


class Stop:
    """Whether to stop. The first Ctrl-C asks for it at the next safe point, the second stops at once."""

    def __init__(self, settings: Settings) -> None:
        self.say: Callable[[str], None] = settings.note
        self.received: int | None = None  # the signal

    def __call__(self) -> bool:
        """Return whether a signal asked to stop."""
        return self.received is not None

    @property
    def code(self) -> Exit:
        """The exit code of what was stopped: Ctrl-C is the user's wish, SIGTERM that of a scheduler that may return."""
        return Exit.INTERRUPTED if self.received in (None, signal.SIGINT) else Exit.RESUMABLE

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM while this lasts."""
        before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
        self.say("stopping: runs save at their next safe point (Ctrl-C again: at once)")


def _worked(settings: Settings, left: list[Planned], options: LaunchOptions, stop: Stop) -> Outcome:
    """Work on the runs with a live view of them."""
    from suite.live import Live

    specs = [run.spec for run in left]
    with stop.listening(), Live(specs, settings.err, quiet=settings.quiet or settings.json) as view:
        stop.say = view.say  # the view holds the screen
        return launcher(options)(specs, options, view.observe, stop)


def _concluded(settings: Settings, sweep: Sweep, found: Plan, outcome: Outcome, stop: Stop) -> Exit:
    """Say what is there, what failed and what to type next; return the exit code."""
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
        for run in found.left
        if (failure := outcome.failed.get(run.spec.key))
    ]
    done = len(found.runs) - len(found.left)
    left = len(found.left) - len(outcome.finished) - len(failed)
    code = stop.code if outcome.stopped and left else Exit.FAILED if failed else Exit.DONE
    if settings.json:
        settings.emit(
            {
                "sweep": sweep_name(sweep),
                "total": len(found.runs),
                "done_before": done,
                "finished": outcome.finished,
                "failed": failed,
                "left": left,
                "stopped": outcome.stopped,
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
        if found.left
        else f"nothing to do: all {len(found.runs)} runs are done",
        f"{done} done before" if done and found.left else "",
        f"{len(failed)} failed" if failed else "",
        f"{left} left" if left else "",
    ]
    settings.note(", ".join(part for part in parts if part))
    if left or failed:
        settings.note(f"next: {command(program(), 'resume', sweep_name(sweep), *places)}")
    if done or outcome.finished:
        settings.note(f"{'      ' if left or failed else 'next: '}{command(program(), 'table', *smoke, *places)}")
    return code
