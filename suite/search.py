"""A search of a method's settings: its trials in order, what is kept of each, and what they come to.

Trials train on the first tasks of a protocol and are scored on images held out of its training split; no test image is
ever read. Imports neither torch nor ray.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from grace.storage.writing import place
from grace.streams.protocol import Protocol
from grace.training.engine import Precision
from suite.events import Event
from suite.spec import RunSpec

METRIC = "average incremental accuracy"
FINALISTS = 3  # of the search, trained again with other seeds
State = Literal["running", "finished", "stopped", "failed"]  # stopped: behind the others after some task


@dataclass(frozen=True)
class Trial:
    """Settings to be tried with a seed: of weights, batches and views, and of which images are held out."""

    number: int  # 0 has the settings in use
    seed: int
    values: dict[str, Any]  # what was drawn, recipes as tables
    config: dict[str, Any]  # all settings

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"trial-{self.number:03d}-s{self.seed}"


@dataclass(frozen=True)
class Kept:
    """What is known of a trial: its accuracy after each task so far, fractions, by the headline readout."""

    trial: Trial
    state: State = "running"
    scores: tuple[float, ...] = ()
    seconds: float = 0.0
    kind: str = ""  # of its failure, and the reason
    reason: str = ""
    traceback: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing is left to train; what failed is tried again, unless it would diverge again."""
        return self.state in ("finished", "stopped") or (self.state == "failed" and self.kind == "non-finite")

    @property
    def score(self) -> float:
        """Mean over the tasks of the accuracy on all classes seen; minus infinity for a failure."""
        return fmean(self.scores) if self.scores and self.state != "failed" else -inf


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched and how. Equal searches have equal trials, however many of them are wanted."""

    method: str
    protocol: Protocol
    config: dict[str, Any]  # the settings in use
    space: dict[str, str]  # as it is typed
    order: int  # seed of the class order
    tasks: int  # the first ones of the protocol
    holdout: float  # fraction of each class's training images
    seed: int
    confirm: int  # further seeds with which the best are compared
    limit_epochs: int | None = None
    precision: Precision = "fp32"
    plugin: str = ""
    trials: tuple[Trial, ...] = field(default=(), repr=False)

    def identity(self) -> dict[str, Any]:
        """Return what determines each trial, as JSON has it."""
        outside = {"protocol": self.protocol.identity(), "trials": None, "confirm": None}
        values = {name: value for name, value in vars(self).items() if name not in outside}
        found: dict[str, Any] = json.loads(json.dumps({**values, "protocol": self.protocol.identity()}))
        return found

    @property
    def classes(self) -> int:
        """How many classes its tasks have."""
        return sum(self.protocol.increments[: self.tasks])

    @property
    def stream(self) -> Protocol:
        """The protocol as far as it is learned; shots are taken care of when images are held out."""
        dataset = replace(self.protocol.dataset, classes=self.classes, shots=0)
        return replace(self.protocol, dataset=dataset)

    def spec(self, trial: Trial) -> RunSpec:
        """Return a trial as the run that it is like, for what is said of runs."""
        return RunSpec(
            method=self.method, config=trial.config, protocol=self.stream, order_seed=self.order,
            train_seed=trial.seed, precision=self.precision, plugin=self.plugin, smoke=self.limit_epochs is not None,
        )  # fmt: skip

    @property
    def seeds(self) -> list[int]:
        """The seeds with which the best are compared."""
        return [self.seed + 1 + i for i in range(self.confirm)]

    @property
    def grace(self) -> int:
        """Tasks that no trial is stopped before: a method shows in the first increment, not in the first task."""
        return min(2, max(1, self.tasks - 1))


class Notebook:
    """What is kept of a search's trials: a JSON file each, beside checkpoints of those that are not over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, trial: Trial) -> Kept | None:
        """Return what is known of a trial, None for nothing: a file cut short, or of other settings, is nothing."""
        try:
            plain = json.loads(self._path(trial).read_text(encoding="utf-8"))
            if plain.pop("trial") != json.loads(json.dumps(asdict(trial))):
                return None
            return Kept(trial, **{**plain, "scores": tuple(plain["scores"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def over(self, trial: Trial) -> bool:
        """Whether nothing is left to train of a trial."""
        kept = self.read(trial)
        return kept is not None and kept.over

    def write(self, kept: Kept) -> None:
        """Keep what is known of a trial; raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        place(self._path(kept.trial), json.dumps(asdict(kept), indent=1).encode())

    def work(self, trial: Trial) -> Path:
        """Return the folder for a trial's checkpoints; it need not exist."""
        return self.folder / "work" / trial.name

    def clean(self, trial: Trial) -> None:
        """Remove a trial's checkpoints."""
        shutil.rmtree(self.work(trial), ignore_errors=True)

    def _path(self, trial: Trial) -> Path:
        return self.folder / f"{trial.name}.json"


def ended(kept: Kept) -> Event:
    """Return the event that tells how a trial ended."""
    fields = {"score": None if kept.score == -inf else kept.score, "seconds": kept.seconds, "state": kept.state,
              "tasks": len(kept.scores)}  # fmt: skip
    if kept.state == "failed":
        return Event("failed", kept.trial.name, {**fields, "kind": kept.kind, "reason": kept.reason})
    return Event("finished", kept.trial.name, fields)


Work = Callable[[Sequence[Trial], bool], bool]  # trials, whether to stop those behind; returns whether it was stopped


def carry_out(search: Search, notebook: Notebook, work: Work) -> bool:
    """Try all settings, then the best ones and those in use with other seeds; return whether it was stopped early.

    Trials that are over are handed on too: who stops trials that are behind must know of them.
    """
    if work(search.trials, True):
        return True
    again = finalists(search, notebook)
    return bool(again) and work(again, False)


def finalists(search: Search, notebook: Notebook) -> list[Trial]:
    """Return the trials that are to tell the best from the lucky: other seeds, the settings in use among them."""
    done = [kept for trial in search.trials[1:] if (kept := notebook.read(trial)) and kept.state == "finished"]
    best = sorted(done, key=lambda kept: (-kept.score, kept.trial.number))[:FINALISTS]
    again = [search.trials[0], *(kept.trial for kept in best)] if best else []
    return [replace(trial, seed=seed) for seed in search.seeds for trial in again]


def left(search: Search, notebook: Notebook) -> list[Trial]:
    """Return the trials that are not over, as far as they are known."""
    return [each for each in (*search.trials, *finalists(search, notebook)) if not notebook.over(each)]


def named(search: Search) -> str:
    """Return a name that says what is searched, and that the same search always gets."""
    text = json.dumps(search.identity(), sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=3).hexdigest()
    return f"{search.method}-{re.sub('[^A-Za-z0-9.+-]', '-', search.protocol.name)}-{digest}"
