"""Which method is best within a memory budget, and how sure that is: the question that the page is opened with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from suite.report.lines import Beside, Line, Place, beside
from suite.report.text import largest
from suite.stats import FEW, TIE, Summary

METRIC = "avg"
SAME = 1e-6  # MiB: an eighth of a number


@dataclass(frozen=True)
class Answer:
    """The best line on a stream within a budget in MiB, the next best, and the paired difference of the two."""

    place: Place
    budget: float
    aligned: bool  # every method was given this budget; otherwise it is what the best one happens to need
    best: Line
    score: Summary
    second: Line | None
    beside: Beside | None

    @property
    def sure(self) -> str:
        """What the pairs say about it, in words."""
        if self.second is None:
            return "nothing to compare it with within this memory"
        if self.beside is None:
            return f"no run of {self.second.name} shares its order and seed"
        found, low = self.beside, self.beside.interval[0] if self.beside.interval else None
        record = f"ahead in {found.wins} of {found.pairs} pairs"
        if found.pairs < FEW:
            return f"{record}; fewer than {FEW} pairs: not sure"
        if low is not None and low > 0:
            return f"{record}; the interval is above zero"
        return f"{record}; the interval includes zero: a tie, as far as these runs tell"


class Scored(NamedTuple):
    """A rival on a stream."""

    line: Line
    score: Summary
    size: float  # MiB of the largest of its runs: a budget that one run exceeds is not met


def answers(lines: Sequence[Line], places: Sequence[Place]) -> list[Answer]:
    """Return an answer per aligned stream, and on others one per memory from which on another method is best."""
    found: list[Answer] = []
    for place in places:
        scored = sorted(_scored(lines, place), key=lambda each: -each.score.mean)
        if place.budget is not None and scored:
            found.append(_answer(place, place.budget, True, scored))
        elif scored:
            found += _steps(place, scored)
    return found


def _scored(lines: Sequence[Line], place: Place) -> Iterator[Scored]:
    for line in lines:
        score = line.mean(place.stream, METRIC) if line.ranked else None
        if score:
            yield Scored(line, score, max(map(largest, line.runs[place.stream])))


def _steps(place: Place, scored: Sequence[Scored]) -> Iterator[Answer]:
    """Yield an answer per size, the smallest first, from which on another line is the best."""
    starts: list[Scored] = []
    for each in sorted(scored, key=lambda each: each.size):
        if not starts or each.score.mean > starts[-1].score.mean + TIE:
            if starts and each.size - starts[-1].size < SAME:
                starts.pop()
            starts.append(each)
    ends = [*(each.size - SAME for each in starts[1:]), float("inf")]
    for start, end in zip(starts, ends, strict=True):
        # the rival is the best of what fits before the next step, also if it needs a little more than this one
        rivals = [each for each in scored if each.size <= end and each is not start]
        yield _answer(place, start.size, False, [start, *rivals])


def _answer(place: Place, budget: float, aligned: bool, fitting: Sequence[Scored]) -> Answer:
    """Return the answer where the best come first."""
    best, second = fitting[0], fitting[1].line if len(fitting) > 1 else None
    apart = beside(best.line.runs[place.stream], second.runs[place.stream], METRIC) if second else None
    return Answer(place, budget, aligned, best.line, best.score, second, apart)
