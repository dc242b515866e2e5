"""What the events of a sweep come to: the state of each run, where it is worked on, and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from suite.events import Event
from suite.plan import cost
from suite.resolver import Choice
from suite.spec import RunSpec

FEW = 3  # epochs from which a pace is worth something: the first takes its time
WARM = 60.0  # seconds after which fewer do
SETTLING = 2.0  # seconds of work before a time left is worth telling
LASTING = ("images_per_second", "accuracy", "backbones", "memory_bytes")  # said of a run until there is a newer figure


@dataclass
class Run:
    """One run as it is known from its events."""

    label: str
    total: float  # epochs expected
    state: str = "waiting"
    lane: str = ""  # that has it, or had it last
    behind: float = 0.0  # epochs of it that were trained before this process, or by a process that died
    work: float = 0.0  # epochs trained by the process at it now
    since: float = 0.0
    last: dict[str, Any] = field(default_factory=dict)  # fields of its latest progress and task
    kind: str = ""  # of its failure, and the reason
    reason: str = ""

    @property
    def left(self) -> float:
        """Epochs expected still."""
        return max(0.0, self.total - self.behind - self.work) if self.state in ("waiting", "running") else 0.0


class Tally:
    """What the events say so far, and how long the rest takes at the pace so far."""

    def __init__(self, runs: Mapping[str, Run], clock: Callable[[], float] = time.monotonic) -> None:
        self.runs, self.clock = dict(runs), clock
        self.before = 0  # runs of the sweep that were done already, and are none of `runs`
        self.later = 0  # runs of which no more is known yet
        self.lanes: dict[str, dict[str, Any]] = {}  # name -> what it last told of itself
        self.started = clock()
        self.first: float | None = None  # when a lane took up the first run
        self.gained = 0.0  # epochs trained since the start, by every process

    def plan(self, runs: Iterable[tuple[RunSpec, bool]], later: int) -> None:
        """Take in the runs of a sweep, those counted already among them, and which of them are done."""
        self.before, self.later = 0, later
        for spec, done in runs:
            run = self.runs.get(spec.key)
            if run is not None:
                run.state = "finished" if done else run.state
            elif done:
                self.before += 1
            else:
                self.runs[spec.key] = Run(spec.label, epochs(spec))

    def add(self, event: Event) -> Run | None:
        """Take in an event; return the run that it is about."""
        if event.kind == "lane" and "lane" in event.fields:
            self.lanes[event.fields["lane"]] = {**self.lanes.get(event.fields["lane"], {}), **event.fields}
        run = self.runs.get(event.key)
        if run is None:
            return None
        if event.kind == "claimed":
            self.first = self.clock() if self.first is None else self.first
            run.behind, run.work = run.behind + run.work, 0.0
            run.state, run.since, run.lane = "running", self.clock(), event.fields.get("lane", "")
        elif event.kind in ("progress", "task"):
            self._advance(run, event)
        elif event.kind in ("finished", "failed", "stopped", "elsewhere"):
            # a run whose first task another one trains waits for it
            run.state = "waiting" if event.kind == "stopped" or "shared" in event.fields else event.kind
            run.kind, run.reason = str(event.fields.get("kind", "")), str(event.fields.get("reason", ""))
        return run

    def _advance(self, run: Run, event: Event) -> None:
        fields = event.fields
        if (
            run.work == 0
        ):  # the first news: what is trained without this process's work was trained before, or by others
            before = max(run.total * fields["task"] / fields["tasks"], fields.get("trained", 0))
            run.behind = max(run.behind, before - fields["work"])
        self.gained += fields["work"] - run.work
        run.work = fields["work"]
        # a phase's epochs mean nothing once its task is over
        run.last = {name: run.last[name] for name in LASTING if name in run.last} | fields

    def count(self, *states: str) -> int:
        """Return how many runs are in one of the states."""
        return sum(run.state in states for run in self.runs.values())

    def share(self) -> float:
        """Return how much of the expected work is done, a fraction."""
        total = sum(run.total for run in self.runs.values())
        return 1 - sum(run.left for run in self.runs.values()) / total if total else 1.0

    def left(self) -> float | None:
        """Return the seconds left: all epochs left at the pace of all, and no less than the slowest run takes."""
        spent = 0.0 if self.first is None else self.clock() - self.first
        if spent < SETTLING or self.gained == 0 or (self.gained < FEW and spent < WARM):
            return None
        running = [(run, self.clock() - run.since) for run in self.runs.values() if run.state == "running" and run.work]
        alone = [run.left * taken / run.work for run, taken in running if run.work >= FEW or taken >= WARM]
        return max([spent * sum(run.left for run in self.runs.values()) / self.gained, *alone])


def epochs(spec: RunSpec) -> float:
    """Return the epochs that a run is expected to take, midway where its method decides as it goes."""
    least, most = cost(Choice(spec.method, spec.protocol, spec.config, "", True)).epochs
    return (least + most) / 2
