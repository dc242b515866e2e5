"""The best method of each stream against every other one, pair by pair: what can be read without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suite.report.lines import Beside, Line, Place, beside
from suite.stats import Summary

METRIC = "avg"
MANY, NEAREST = 2_000, 5  # runs from which on only the nearest rivals are compared: each takes a bootstrap


@dataclass(frozen=True)
class Rival:
    """One of the others: its figure, and the best line's runs minus its own where they are paired."""

    line: Line
    score: Summary
    beside: Beside | None


@dataclass(frozen=True)
class Duel:
    """The best line on a stream, and the others from the nearest to the farthest."""

    place: Place
    best: Line
    score: Summary
    rivals: tuple[Rival, ...]
    left: int  # rivals farther away that are not compared


def duels(lines: Sequence[Line], places: Sequence[Place]) -> list[Duel]:
    """Return a duel per stream on which two methods have runs; upper bounds are no rivals."""
    few = sum(len(runs) for line in lines for runs in line.runs.values()) < MANY
    found = []
    for place in places:
        scored = [(line, line.mean(place.stream, METRIC)) for line in lines if line.ranked]
        ordered = sorted(((line, s) for line, s in scored if s), key=lambda pair: -pair[1].mean)
        if len(ordered) > 1:
            (best, score), *rest = ordered
            near, runs = rest if few else rest[:NEAREST], best.runs[place.stream]
            rivals = (Rival(line, s, beside(runs, line.runs[place.stream], METRIC)) for line, s in near)
            found.append(Duel(place, best, score, tuple(rivals), len(rest) - len(near)))
    return found
