"""Whether a run that was killed, stopped or damaged goes on to the very result of an undisturbed one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grace.conformance.subject import Subject, difference, lasting, run
from grace.learner import Learner
from grace.run import TaskRecord
from grace.storage.folders import Folder
from grace.streams.samples import Task
from grace.training import checkpoint
from grace.training.trainer import Progress, Stopped, Trainer

MOMENTS = ("killed in an epoch", "asked to stop", "killed after a save", "killed before a save", "killed in evaluation")
PATIENCE = 200  # attempts
HINT = "learn is called again on resume: what it does between phases must be a function of what it holds"


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def resumes(subject: Subject, moment: str) -> None:
    """Goes on, cut short again and again at `moment`, to the same bits."""
    with tempfile.TemporaryDirectory() as place:
        whole, folder = subject.build(), Path(place) / "cut"
        told: list[str] = []
        expected = run(whole, folder=Path(place) / "whole", observe=lambda p: told.append(p.phase) or False)  # type: ignore[func-returns-value]
        killer = _Killer(moment)

        def start() -> tuple[Learner, list[TaskRecord]]:
            learner = subject.build()
            with killer.at_work(subject.learner):
                return learner, run(learner, folder=folder, observe=killer.observe, checkpoint_seconds=0.0)

        found = _until_done(start)
        if found is None:
            subject.fail(f"{moment}: no progress from one kill to the next")
        learner, records, kills = found
        trained = sum(phase != "evaluate" for phase in told)
        least = 3 if moment == "killed in evaluation" else trained - 1
        subject.demand(kills >= least, f"{moment}: {kills} kills, {least} were to come")
        same = difference([lasting(r) for r in expected], [lasting(r) for r in records], "records")
        same = same or difference(whole.state_dict(), learner.state_dict())
        subject.demand(not same, f"{moment}, it goes on to another result: {same} differs; {HINT}")
        left = sorted(path.name for path in folder.iterdir())
        subject.demand(left == ["stream.pt"], f"{moment}: {', '.join(left)} are left behind")


def survives_damage(subject: Subject) -> None:
    """Loses only time to checkpoints that are damaged."""
    expected = [lasting(record) for record in run(subject.build())]
    with tempfile.TemporaryDirectory() as place:
        folder, told = Path(place), list[Progress]()

        def observe(progress: Progress) -> bool:
            told.extend([progress] * (progress.task == 1))
            return len(told) == 2 or (progress.task == 1 and progress.phase == "evaluate")

        try:
            run(subject.build(), folder=folder, observe=observe, checkpoint_seconds=0.0)
        except Stopped:
            pass
        else:
            subject.fail("asked to stop in the second task, it went on")
        files = sorted(folder.iterdir())
        subject.demand(bool(files), "stopped in the second task, it has saved nothing")
        for path in files:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        same = difference(expected, [lasting(record) for record in run(subject.build(), folder=folder)], "records")
        subject.demand(not same, f"with damaged checkpoints it comes to another result: {same} differs; {HINT}")


def _until_done(start: Callable[[], tuple[Learner, list[TaskRecord]]]) -> tuple[Learner, list[TaskRecord], int] | None:
    """Call `start` again after every kill; return what the last attempt gave and the number of kills."""
    for kills in range(PATIENCE):
        try:
            return (*start(), kills)
        except (Killed, Stopped):
            continue
    return None


class _Killer:
    """Kills at a moment: every attempt once, but in evaluation once per task."""

    def __init__(self, moment: str) -> None:
        self._moment = moment
        self._seen, self._saves, self._remembered = 0, 0, set[int]()

    def observe(self, progress: Progress) -> bool:
        self._seen += 1
        if self._moment == "killed in an epoch" and self._seen == 2:
            raise Killed  # the first epoch of this attempt is saved, the second is lost
        return self._moment == "asked to stop"

    @contextmanager
    def at_work(self, learner: type[Learner]) -> Iterator[None]:
        """Stand between a learner, its checkpoints and its memory for one attempt."""
        save, remember, own = checkpoint.save, learner.remember, "remember" in vars(learner)
        self._seen = self._saves = 0

        def killing_save(path: Folder, state: dict[str, Any]) -> None:
            self._saves += 1
            if self._moment == "killed before a save" and self._saves == 2:
                raise Killed
            save(path, state)
            if self._moment == "killed after a save":
                raise Killed

        def killing_remember(killed: Learner, task: Task, trainer: Trainer) -> None:
            remember(killed, task, trainer)
            if self._moment == "killed in evaluation" and task.index not in self._remembered:
                self._remembered.add(task.index)
                raise Killed

        checkpoint.save = killing_save
        type.__setattr__(learner, "remember", killing_remember)
        try:
            yield
        finally:
            checkpoint.save = save
            if own:
                type.__setattr__(learner, "remember", remember)
            else:
                type.__delattr__(learner, "remember")
