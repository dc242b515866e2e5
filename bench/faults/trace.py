"""What the processes of a world told of their moments, and how much of their work was done twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Moment:
    """One thing that a process was about to do (`trained`: that it had done)."""

    time: float  # seconds, CLOCK_MONOTONIC
    pid: int
    kind: str  # start, run, epoch, trained, evaluation, save, record, predictions, failure
    key: str
    what: str  # task, phase and epoch; of an evaluation the task


def moments(folder: Path) -> list[Moment]:
    """Return all that was told so far; a last line that is being written is left out."""
    path = folder / "trace"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    found = []
    for line in lines:
        if line.endswith("\n"):
            time, pid, kind, key, *what = line.split(maxsplit=4)
            found.append(Moment(float(time), int(pid), kind, key, "".join(what).strip()))
    return found


@dataclass(frozen=True)
class Redone:
    """Epochs of training that were done more than once."""

    begun: int  # so often was an epoch begun again: it may have been cut short just after it began
    whole: int  # of them, how many had been trained to their end before


def again(told: Iterable[Moment]) -> list[Moment]:
    """Return all that was told of the epochs that were begun more than once."""
    told = list(told)
    often = Counter((moment.key, moment.what) for moment in told if moment.kind == "epoch")
    return [moment for moment in told if often[moment.key, moment.what] > 1]


def redone(told: Iterable[Moment], key: str = "") -> Redone:
    """Count the epochs begun again, of all runs or of one; a whole one had come to its end, and was lost."""
    begun, ended = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    whole = 0
    for moment in told:
        at = moment.key, moment.what
        if key and moment.key != key:
            continue
        if moment.kind == "epoch":
            whole += begun[at] > 0 and ended[at] > 0
            begun[at] += 1
        ended[at] += moment.kind == "trained"
    return Redone(sum(begun.values()) - len(begun), whole)
