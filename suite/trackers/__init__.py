"""Trackers: what runs measure, told to TensorBoard, MLflow or Weights & Biases while they are worked on.

A thread of the launching process tells them, from the events that it gets anyway: runs know of no tracker and wait for
none, and one that fails is named, and told nothing more. Figures have two axes: the task (from 1) and the classes seen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from queue import SimpleQueue
from typing import Literal, Protocol

from grace.storage.folders import Folder
from suite.errors import Exit, SuiteError
from suite.events import ENDINGS, Event
from suite.spec import RunSpec

Axis = Literal["task", "classes", "epoch"]
Figure = tuple[Axis, int, dict[str, float]]
PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
FIGURES = {"accuracy": "accuracy", "old": "accuracy_old", "new": "accuracy_new", "backbones": "backbones",
           "parameters": "parameters", "memory_bytes": "memory_mib"}  # fmt: skip
UNITS = {"memory_bytes": 2**20}
PARTING = 30.0  # seconds that the end waits for trackers to take the rest


class Tracker(Protocol):
    """One of them. Its methods are called by one thread; whatever they raise ends the tracking, not the sweep."""

    def begin(self, spec: RunSpec) -> None:
        """Open a run, or go on with it."""

    def log(self, key: str, axis: Axis, step: int, values: Mapping[str, float], time: float) -> None:
        """Take in finite figures of an open run; `time` is in seconds since the epoch."""

    def end(self, key: str, state: str) -> None:
        """Close a run that is finished, failed, stopped or worked on elsewhere."""


@dataclass(frozen=True)
class Place:
    """Where a sweep is tracked."""

    root: Folder  # of the results
    sweep: str

    @property
    def folder(self) -> Path:
        """The folder for what a tracker keeps in files: here, where the results lie in an object store."""
        root = self.root if isinstance(self.root, Path) else Path()
        return root.absolute() / "tracking" / self.sweep


def check(names: Iterable[str]) -> None:
    """Raise SuiteError for a tracker whose package is not installed."""
    for name in names:
        if find_spec(PACKAGES[name]) is None:
            what = f"'grace-suite[{name}]'" if name != "tensorboard" else PACKAGES[name]
            raise SuiteError(
                f"--track {name} needs the package {PACKAGES[name]}, which is not installed: pip install {what}",
                Exit.ENVIRONMENT,
            )


def opened(name: str, place: Place) -> Tracker:
    """Return a tracker; its package is imported now. Raises what the package raises."""
    tracker: Tracker = import_module(f"suite.trackers.{name}").open_tracker(place)
    return tracker


class Tracking:
    """Passes the events of a sweep on to its trackers, in a thread of its own."""

    def __init__(self, names: Sequence[str], place: Place, warn: Callable[[str], object]) -> None:
        self._names, self._place, self._warn = names, place, warn
        self._specs: dict[str, RunSpec] = {}
        self._trackers: dict[str, Tracker] = {}
        self._begun: set[str] = set()
        self._inbox: SimpleQueue[Event | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="trackers", daemon=True)

    def __enter__(self) -> Tracking:
        """Start to tell."""
        if self._names:
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Tell the rest."""
        if self._names:
            self._inbox.put(None)
            self._thread.join(PARTING)
            if self._thread.is_alive():
                self._warn(f"{', '.join(self._names)} did not take all figures within {PARTING:g} seconds")

    def expect(self, specs: Iterable[RunSpec]) -> None:
        """Take in what runs there are."""
        self._specs |= {spec.key: spec for spec in specs}

    def observe(self, event: Event) -> None:
        """Have an event told soon."""
        if self._names and event.key in self._specs:
            self._inbox.put(event)

    def _run(self) -> None:
        for name in self._names:
            self._guarded(name, self._open)
        while (event := self._inbox.get()) is not None:
            self._tell(event)
        for key in list(self._begun):
            self._tell(Event("stopped", key))

    def _open(self, name: str) -> None:
        self._trackers[name] = opened(name, self._place)

    def _tell(self, event: Event) -> None:
        key, told = event.key, [figure for figure in figures(event) if figure[2]]
        if told and key not in self._begun:
            self._begun.add(key)
            self._each(lambda tracker: tracker.begin(self._specs[key]))
        for figure in told:
            self._each(partial(_log, key, figure, event.time))
        if event.kind in ENDINGS and key in self._begun:
            self._begun.discard(key)
            self._each(lambda tracker: tracker.end(key, event.kind))

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for name in list(self._trackers):
            self._guarded(name, lambda name: act(self._trackers[name]))

    def _guarded(self, name: str, act: Callable[[str], None]) -> None:
        try:
            act(name)
        except Exception as error:  # other people's code and servers: no reason to lose a run
            self._trackers.pop(name, None)
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            self._warn(f"{name} is told nothing more: {reason}; the runs go on")


def _log(key: str, figure: Figure, time: float, tracker: Tracker) -> None:
    tracker.log(key, *figure, time)


def figures(event: Event) -> Iterator[Figure]:
    """Yield axis, step and figures of what an event tells: losses per epoch, and after a task what was measured."""
    fields = event.fields
    for trained, phase, losses in fields.get("losses", ()):
        yield "epoch", trained, _finite({f"{phase}/{term}": value for term, value in losses.items()})
    if event.kind == "task":
        found = {name: fields.get(field) for field, name in FIGURES.items()}
        sizes = {FIGURES[field]: unit for field, unit in UNITS.items()}
        values = _finite({name: value / sizes.get(name, 1) for name, value in found.items() if value is not None})
        yield "task", fields["task"] + 1, values
        if fields.get("seen"):
            yield "classes", fields["seen"], values


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if isfinite(value)}


def settings(spec: RunSpec) -> dict[str, str]:
    """Return what a run is, flat: `config.initial.epochs` and the like, as texts."""
    found = {"method": spec.method, "protocol": spec.protocol.name, "order_seed": str(spec.order_seed),
             "train_seed": str(spec.train_seed), "precision": spec.precision, "workers": str(spec.workers),
             "key": spec.key}  # fmt: skip

    def walk(path: str, value: object) -> None:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                walk(f"{path}.{name}", inner)
        else:
            found[path] = str(value)

    walk("config", spec.config)
    return found
