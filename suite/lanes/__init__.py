"""Runs on Ray: lanes of one Ray Train worker each pull runs from a queue actor.

Ray lives in a driver process of its own (`suite.lanes.driver`): neither its noise nor its crashes nor the terminal's
signals cross over, and killing that process ends everything that it started. The store is the truth: driver, queue or
cluster may die and are started anew, and so may this process: the same command goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from suite import logs
from suite.errors import Exit, SuiteError
from suite.events import NEWS, Event
from suite.lanes.process import Driver, Ended, answers, own_folder
from suite.launch import LaunchOptions, Observe, Outcome
from suite.spec import RunSpec
from suite.store import Store

LOSSES = 3  # of the process that holds Ray, or of its cluster, without a run coming further, after which it is over
LOOK = 2.0  # seconds between tries to reach a cluster that has gone


def launch(
    specs: Sequence[RunSpec], options: LaunchOptions, observe: Observe, should_stop: Callable[[], bool]
) -> Outcome:
    """Work on the runs in as many lanes as fit.

    `should_stop` is asked all the time: lanes then save at their next safe point. KeyboardInterrupt ends them at
    once. Raises SuiteError when the cluster is out of reach or too small, or when no lane can work.
    """
    outcome = Outcome()
    if not specs:
        return outcome
    Store.open(options.root, write=True)

    def take(event: Event) -> None:
        outcome.add(event)
        observe(event)

    outcome.stopped = driven("suite.lanes.driver", list(specs), options, take, should_stop)
    return outcome


def driven(
    program: str, work: Sequence[Any], options: LaunchOptions, observe: Observe, should_stop: Callable[[], bool]
) -> bool:
    """Have the `main` of a module do some work in a process that holds Ray; return whether it was stopped early.

    A process that is lost is started anew. Stopping and errors are as for `launch`.
    """
    observe(Event("lane", "", {"state": "connecting", "address": options.address}))
    answers(options.address)
    with own_folder(options.scratch) as folder:
        losses = 0
        while True:
            launched = _Launched(options, observe, should_stop)
            last = launched.until_the_end(program, work, folder)
            losses = 1 if launched.moved else losses + 1
            if not last.lost or losses >= LOSSES or not _again(last, options, observe, should_stop):
                break
    if last.error and not (last.lost and should_stop()):
        raise SuiteError(last.error, Exit(last.code))
    return last.stopped or last.lost


def _again(last: Ended, options: LaunchOptions, observe: Observe, should_stop: Callable[[], bool]) -> bool:
    """Say what was lost, and wait for the cluster; return whether there is one to go on with."""
    observe(Event("lane", "", {"state": "noted", "reason": f"{last.error.partition(';')[0]}; starting it anew"}))
    deadline = time.monotonic() + 60 * options.patience_minutes
    while not should_stop():
        try:
            answers(options.address)
        except SuiteError:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK)
        else:
            return True
    return False


class _Launched:
    """One process that holds Ray, and what it told."""

    def __init__(self, options: LaunchOptions, observe: Observe, should_stop: Callable[[], bool]) -> None:
        self.moved = False  # whether any run came further
        self._options, self._observe, self._should_stop = options, observe, should_stop
        self._follower = logs.Follower()

    def until_the_end(self, program: str, work: Sequence[Any], folder: Path) -> Ended:
        """Start the process and pass on what it tells; return its last word."""
        with Driver(work, self._options, folder, program) as driver:
            if self._options.verbose:
                self._follower.follow(folder / "driver.log")
            try:
                while True:
                    message = driver.hear()
                    for file, text in self._follower.news():
                        self._observe(Event("output", "", {"source": file.stem, "text": text}))
                    if isinstance(message, Ended):
                        return message
                    if isinstance(message, Event):
                        self._hear(message)
                    if self._should_stop():
                        driver.stop()
            except KeyboardInterrupt:
                driver.kill()
                return Ended(stopped=True)

    def _hear(self, event: Event) -> None:
        self.moved = self.moved or event.kind in NEWS
        if event.kind == "claimed" and self._options.verbose:
            self._follower.follow(logs.path(self._options.root, event.key))
        self._observe(event)
