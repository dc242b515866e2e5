"""The saturation of one run, task by task, as a small drawing: where its points lie, and what it says in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

LEFT, STEP, TOP, BOTTOM = 50, 44, 10, 100  # pixels: first task, from task to task, saturation 1 and 0


class Mark(NamedTuple):
    """One task: its place, and whether the next one compresses, None where nothing says so."""

    task: int
    x: int
    y: int
    compress: bool | None


@dataclass(frozen=True)
class Trace:
    """The drawing: two lines as points of a polyline, a mark per task."""

    width: int
    saturation: str
    threshold: str
    marks: tuple[Mark, ...]
    alt: str


def trace(notes: Sequence[Mapping[str, Any]]) -> Trace | None:
    """Return the trace of a run whose method notes its saturation, None for others."""
    measured = [(t, value) for t, each in enumerate(notes) if (value := _number(each.get("saturation"))) is not None]
    if not measured:
        return None
    limits = [(t, value) for t, each in enumerate(notes) if (value := _number(each.get("threshold"))) is not None]
    marks = tuple(Mark(t + 1, *_at(t, value), notes[t].get("compress_next")) for t, value in measured)
    held, told = dict(limits), []
    for t, value in measured:
        against = f" against {held[t]:.2f}" if t in held else ""
        follows = notes[t].get("compress_next")
        decided = "" if follows is None else ", then compresses" if follows else ", then expands"
        told.append(f"task {t + 1}: {value:.2f}{against}{decided}")
    return Trace(
        LEFT + STEP * (len(notes) - 1) + 30,
        " ".join("{},{}".format(*_at(*point)) for point in measured),
        " ".join("{},{}".format(*_at(*point)) for point in limits),
        marks,
        f"Saturation after each task. {'; '.join(told)}.",
    )


def _at(task: int, value: float) -> tuple[int, int]:
    return LEFT + STEP * task, round(BOTTOM - (BOTTOM - TOP) * min(1.0, max(0.0, value)))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and isfinite(value) else None
