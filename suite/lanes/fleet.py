"""The lanes of a launch: as many as there are runs for and the nodes hold, more when nodes come.

A lane is a trainer of Ray Train, launched by `fit` in a thread. Ray Train restarts a worker that dies; the queue gives
it back the run that it had.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from grace.storage.folders import remove_tree
from suite.errors import Exit, SuiteError
from suite.events import Event
from suite.lanes.lane import Job, Obituary, cause, lane
from suite.lanes.nodes import Nodes, on
from suite.lanes.ranks import group
from suite.launch import Observe
from suite.ledger import born
from suite.queue import State
from suite.slots import Slot, lacking, room

LOOK = 2.0  # seconds between looks at the nodes
STARTS = 2  # of a lane that had no run yet, after which it is taken for broken
AHEAD = 4  # lanes that may wait for a place that nobody has yet, so that a cluster grows


class Lane(threading.Thread):
    """One lane, from the driver's side: launched again when its controller dies with a run."""

    def __init__(self, name: str, place: Slot, selector: dict[str, str] | None, fleet: Fleet) -> None:
        super().__init__(name=name, daemon=True)
        self.place, self._fleet = place, fleet
        self._where: dict[str, Any] = {"label_selector": selector} if selector else {}
        self.broken = False
        self.process: dict[str, Any] = {}  # where it works, once it does

    def run(self) -> None:
        """Work until there are no runs for it."""
        failures = 0
        while failures < STARTS:
            try:
                self._trainer().fit()
                return
            except Exception as error:
                if self._fleet.over.is_set():
                    return
                reason = cause(error)
                failures = 0 if self._fleet.died(self.name, reason) else failures + 1
                lost: dict[str, Any] = {"lane": self.name, "state": "lost", "reason": reason}
                if failures == STARTS:  # it cannot even start
                    lost |= {"state": "broken", "code": int(Exit.ENVIRONMENT)}
                self._fleet.tell(Event("lane", "", lost))

    def _trainer(self) -> DataParallelTrainer:
        job, place = self._fleet.job, self.place
        callbacks: list[Any] = [Obituary(job.queue, self.name)]
        resources = {"CPU": float(place.cpus)} | ({"GPU": place.gpus} if place.gpus else {})
        # not TorchTrainer: for lanes of one worker it adds a process group, and imports of torch here and there
        return DataParallelTrainer(
            lane,
            train_loop_config={"job": job, "lane": self.name, "slot": place},
            scaling_config=ScalingConfig(
                num_workers=place.workers, use_gpu=bool(place.gpus), resources_per_worker=resources, **self._where
            ),
            run_config=RunConfig(
                name=f"{job.queue}-{self.name}",  # one that was used before would be gone on with
                storage_path=self._fleet.storage,
                failure_config=FailureConfig(max_failures=-1),  # the queue counts, per run
                callbacks=callbacks,
            ),
            **group(place.workers, bool(place.gpus)),
        )


@ray.remote(num_cpus=0, max_retries=0)
def _end(pid: int, when: str) -> None:
    if born(pid) == when:
        os.kill(pid, signal.SIGKILL)


class Fleet:
    """The lanes that there are, and those that are to be started."""

    def __init__(self, job: Job, places: list[Slot], nodes: Nodes, folder: Path, queue: Any, observe: Observe) -> None:
        self.job, self.folder, self.over = job, folder, threading.Event()
        self._places, self._nodes, self._queue, self._observe = places, nodes, queue, observe
        self._lanes: dict[str, Lane] = {}
        self._count = 0
        self._broken: Counter[Slot] = Counter()
        self._reason: dict[str, Any] = {}
        self._looked = time.monotonic()
        self._short: float | None = None  # since when no lane has a place

    @property
    def storage(self) -> str:
        """Where Ray Train leaves its marks: on a cluster all nodes must reach it."""
        root = self.job.options.root
        shared = self.job.options.address is not None and not isinstance(root, Path)
        return str(root / "ray" / self.job.queue) if shared else str(self.folder)

    @property
    def alive(self) -> list[Lane]:
        """Lanes that work or wait for a place."""
        return [each for each in self._lanes.values() if each.is_alive()]

    def planned(self, runs: int) -> int:
        """Return how many lanes may be started for so many runs, by the nodes that there are."""
        fits = sum(room(self._nodes.resources, place) for place in self._places if place.size == 1)
        return min(runs, fits, self.job.options.max_concurrent or fits)

    def died(self, name: str, reason: str) -> bool:
        """Tell the queue of a lane's death; return whether it had a run."""
        had: bool = ray.get(self._queue.died.remote(name, reason))
        return had

    def tell(self, event: Event) -> None:
        """Have the queue pass on an event of a lane."""
        self._queue.report.remote(str(event.fields["lane"]), "", [event])

    def hear(self, event: Event) -> None:
        """Take in what a lane tells of itself."""
        one = self._lanes.get(str(event.fields.get("lane"))) if event.kind == "lane" else None
        if one is not None and event.fields["state"] == "ready":
            one.process = event.fields["process"]
        elif one is not None and event.fields["state"] == "broken" and not one.broken:
            one.broken, self._reason = True, event.fields
            self._broken[one.place] += 1

    def adjust(self, state: State) -> None:
        """Start the lanes that runs are waiting for; raises SuiteError when no lane can work."""
        if time.monotonic() - self._looked >= LOOK:
            self._looked = time.monotonic()
            self._nodes.look()
            gone = [each.name for each in self.alive if each.process and not self._placed(each)]
            gone += [name for name in state.holders if name in self._lanes and not self._lanes[name].is_alive()]
            if gone:
                self._queue.release.remote(gone)
        for place in self._places:
            for _ in range(self._wanted(place, state)):
                self._start(place)
        alive = self.alive
        hope = alive and any(room(self._nodes.resources, place) for place in self._places)
        if state.holders or hope or any(map(self._placed, alive)) or not state.left:
            self._short = None
        else:
            self._stuck()

    def _placed(self, one: Lane) -> bool:
        """Whether the lane has a process on a node that is there; it may be one that has just come."""
        return one.process.get("node") in self._nodes.there

    def _wanted(self, place: Slot, state: State) -> int:
        """Return how many lanes of a kind are to be started."""
        alive = self.alive
        same = [each for each in alive if each.place.size == place.size]
        waiting = state.waiting.get(place.size, 0) - sum(each.name not in state.holders for each in same)
        own = [each for each in alive if each.place == place]
        fits = room(self._nodes.resources, place) - len(own) - self._broken[place]
        options, most = self.job.options, self.job.options.max_concurrent
        if options.address is not None and most and not place.bare:  # the user's word that the cluster grows
            fits = max(fits, AHEAD - sum(not each.process for each in own) - self._broken[place])
        return max(0, min(waiting, fits, waiting if most is None else most - len(alive)))

    def _start(self, place: Slot) -> None:
        name = f"lane{self._count}"
        self._count += 1
        self._lanes[name] = Lane(name, place, self._nodes.selector(place.bare), self)
        self._lanes[name].start()

    def _stuck(self) -> None:
        """Wait for a node that holds a lane, as long as the user's patience lasts; raises SuiteError after it."""
        if self._reason and not self.alive:
            reason = f"{self._reason['reason']} (Ray's messages: {self.folder})"
            raise SuiteError(reason, Exit(self._reason.get("code", Exit.ENVIRONMENT)))
        options, now = self.job.options, time.monotonic()
        reason = lacking(self._nodes.resources, self._places[0])
        if options.address is None or options.patience_minutes == 0:
            raise SuiteError(reason, Exit.ENVIRONMENT)
        if self._short is None:
            self._short = now
            what = f"waiting up to {options.patience_minutes:g} minutes for a node: {reason}"
            self._observe(Event("lane", "", {"state": "waiting", "reason": what}))
        if now - self._short > 60 * options.patience_minutes:
            raise SuiteError(reason, Exit.ENVIRONMENT)

    def end(self, name: str) -> None:
        """End the process of a lane of whose run nothing was heard; Ray Train starts it anew."""
        one = self._lanes.get(name)
        reason = f"nothing was heard of its run for {self.job.options.stall_minutes:g} minutes: it was ended"
        self._queue.died.remote(name, reason, True)
        if one is not None and one.process:
            where = on(one.process["node"])
            _end.options(scheduling_strategy=where).remote(one.process["pid"], one.process["born"])
            self.tell(Event("lane", "", {"lane": name, "state": "lost", "reason": reason}))

    def close(self, seconds: float) -> None:
        """Let lanes without work end by themselves, for a time."""
        self.over.set()
        deadline = time.monotonic() + seconds
        for each in self.alive:
            each.join(max(0.0, deadline - time.monotonic()))
        if not isinstance(self.job.options.root, Path):
            remove_tree(self.job.options.root / "ray" / self.job.queue)
