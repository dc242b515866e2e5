"""One run for a store: locked, worked on, kept or failed, told as it goes on, and logged."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from grace.training.parallel import ALONE, RankLost, Ranks
from grace.training.shared import Busy
from grace.training.trainer import Progress, Stopped
from suite import logs
from suite.diagnosis import failure_of
from suite.errors import Exit, SuiteError
from suite.events import MEASURED, Event, Kind
from suite.execute import device_for, execute
from suite.launch import LaunchOptions, Observe, origin
from suite.patience import Patience, trouble
from suite.plugins import adopt
from suite.sharing import free
from suite.spec import RunSpec
from suite.store import Store

EVERY = 1.0  # seconds between progress events of a run
PATIENT, SOON, LATE = 10, 2.0, 30.0  # a run that waits for its first task asks after a tenth of its wait, in seconds
LOGGED = 30.0  # seconds between lines of a run's log, those of tasks aside


def attempt(
    spec: RunSpec,
    store: Store,
    options: LaunchOptions,
    observe: Observe,
    should_stop: Callable[[], bool],
    code: Mapping[str, Any],
    ranks: Ranks = ALONE,
) -> Event:
    """Work on one run for a store, unless it is done or another process is at it; return how it ended.

    What goes wrong in the run becomes a failure in the store. A disk that is full or out of reach is waited for.
    Raises SuiteError only for what every other run would meet too: such a disk in the end, no GPU.
    """
    patience = Patience(store, options, observe, should_stop)
    while True:
        try:
            return _locked(spec, store, options, patience.observe, should_stop, code, ranks)
        except Exception as error:
            patience.outwait(error)
        if should_stop():
            return Event("stopped", spec.key)


def _locked(
    spec: RunSpec,
    store: Store,
    options: LaunchOptions,
    observe: Observe,
    should_stop: Callable[[], bool],
    code: Mapping[str, Any],
    ranks: Ranks = ALONE,
) -> Event:
    """Work on one run while holding its lock."""
    if gone := store.away():
        raise SuiteError(gone, Exit.ENVIRONMENT)
    if first := _waits.get(spec.key):
        if not free(store.root, first.key):
            return first.event(spec.key)
        del _waits[spec.key]
    lock = store.lock(spec.key)
    try:
        lock.acquire(timeout=0)
    except TimeoutError:
        return Event("elsewhere", spec.key)
    try:
        if store.done(spec.key):
            return Event("finished", spec.key, {"already": True})
        return _worked(spec, store, options, observe, should_stop, code, ranks)
    finally:
        lock.release()


def _worked(
    spec: RunSpec,
    store: Store,
    options: LaunchOptions,
    observe: Observe,
    should_stop: Callable[[], bool],
    code: Mapping[str, Any],
    ranks: Ranks = ALONE,
) -> Event:
    device, clock = device_for(options.gpus_per_run), time.monotonic()
    log = logs.path(store.root, spec.key)
    logs.write(log, f"run {spec.label} ({spec.key}) on {socket.gethostname()}, {device}, process {os.getpid()}")
    try:
        for plugin in options.plugins:
            adopt(plugin)
        with ranks.meeting(spec.key):
            record = execute(
                spec,
                store.work(spec.key),
                data=options.data,
                download=options.download,
                threads=options.cpus_per_run,
                device=device,
                engine=options.engine,
                checkpoint_seconds=options.checkpoint_seconds,
                observe=_Teller(spec.key, observe, should_stop, log),
                origin=origin(options, spec.key, code),
                ranks=ranks,
                shared=store.root if options.share and ranks is ALONE else None,
            )
        store.write(record)
    except Busy as busy:
        _waits[spec.key] = _Wait(busy.key)
        event = _waits[spec.key].event(spec.key)
    except Stopped:
        event = Event("stopped", spec.key)
    except Exception as error:
        everywhere = isinstance(error, SuiteError) and error.code is Exit.ENVIRONMENT
        if everywhere or isinstance(error, RankLost) or trouble(store, error):
            raise
        failure = replace(failure_of(spec, error), size=options.sizes.get(spec.key, 1))
        store.fail(failure)
        event = Event("failed", spec.key, asdict(failure))
    else:
        store.clean(spec.key)
        event = Event("finished", spec.key, {"seconds": time.monotonic() - clock})
    logs.write(log, " ".join(filter(None, [event.kind, event.fields.get("reason")])))
    logs.keep(store.root, spec.key)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # runs that share the device may need what this one held
    return event


class _Teller:
    """Turns the progress of a run into events, few enough to send."""

    def __init__(self, key: str, observe: Observe, should_stop: Callable[[], bool], log: Path) -> None:
        self._key, self._observe, self._should_stop, self._log = key, observe, should_stop, log
        self._work, self._told, self._logged = 0, -EVERY, -LOGGED
        self._losses: list[tuple[int, str, dict[str, float]]] = []  # per epoch since the last event

    def __call__(self, progress: Progress) -> bool:
        """Tell of a task, and of an epoch unless one was told of just before; return whether to stop."""
        if progress.phase == "evaluate":
            self._tell("task", progress, MEASURED)
            logs.write(self._log, _line(progress))
        else:
            self._work += 1
            self._losses.append((progress.trained, progress.phase, progress.losses))
            if time.monotonic() - self._logged >= LOGGED:
                self._logged = time.monotonic()
                logs.write(self._log, _line(progress))
            if time.monotonic() - self._told >= EVERY:
                self._told = time.monotonic()
                self._tell("progress", progress, ("phase", "epoch", "epochs", "images_per_second"))
        return self._should_stop()

    def _tell(self, kind: Kind, progress: Progress, fields: Sequence[str]) -> None:
        plain = {name: getattr(progress, name) for name in ("task", "tasks", "trained", *fields)}
        self._observe(Event(kind, self._key, {**plain, "work": self._work, "losses": self._losses}))
        self._losses = []


@dataclass(frozen=True)
class _Wait:
    """A run's wait for another that trains its first task: the shared task's key, and since when."""

    key: str
    since: float = field(default_factory=time.monotonic)

    def event(self, run: str) -> Event:
        """Return the event that gives the run back until it is worth trying again: the longer the wait, the later."""
        pause = min(max((time.monotonic() - self.since) / PATIENT, SOON), LATE)
        return Event(
            "elsewhere", run, {"shared": self.key, "pause": pause, "reason": "another run trains its first task"}
        )


_waits: dict[str, _Wait] = {}  # by run, in this process


def _line(progress: Progress) -> str:
    """Return what a log says of where a run is."""
    where = f"task {progress.task + 1} of {progress.tasks}"
    if progress.accuracy is not None:
        return f"{where}: accuracy {progress.accuracy:.4f}, {progress.trained} epochs so far"
    losses = ", ".join(f"{name} {value:.4g}" for name, value in progress.losses.items())
    return f"{where}, {progress.phase}, epoch {progress.epoch + 1} of {progress.epochs}: {losses}"
