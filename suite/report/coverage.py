"""What is there of what was wanted, and what it cost: two grids of lines by streams."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Literal

from suite.grouping import Stream
from suite.report.lines import Line, Place
from suite.stats import summarise

State = Literal["all", "some", "failed", "none", "cannot", "unwanted"]


@dataclass(frozen=True)
class Field:
    """One line on one stream: runs done, wanted and failed; `why` there can be none."""

    place: Place
    done: int
    wanted: int
    failed: int
    why: str = ""

    @property
    def state(self) -> State:
        """What its colour says."""
        if self.why and not self.done:
            return "cannot"
        if not self.wanted:
            return "unwanted"
        if self.done == self.wanted:
            return "all"
        return "failed" if self.failed else "some" if self.done else "none"

    @property
    def text(self) -> str:
        """What it says."""
        return f"{self.done}/{self.wanted}" if self.wanted else ""

    @property
    def words(self) -> str:
        """What it says to those who do not see the colour."""
        if self.state == "cannot":
            return f"cannot be: {self.why}"
        if not self.wanted:
            return "not wanted"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done} of {self.wanted} runs done{failed}"


@dataclass(frozen=True)
class Bill:
    """What one line on one stream took, and what its missing runs would take; None is unknown."""

    line: Line
    place: Place
    runs: int
    seconds: float  # of all runs
    each: float  # mean of a run
    images: float | None  # images per second, mean over runs
    peak: float | None  # MiB on the GPU, the largest of any run
    missing: int
    rest: float | None  # seconds


def coverage(lines: Sequence[Line], places: Sequence[Place]) -> list[tuple[Line, list[Field]]]:
    """Return a field per line and stream."""
    return [(line, [_field(line, place) for place in places]) for line in lines]


def _field(line: Line, place: Place) -> Field:
    done, missing = len(line.runs.get(place.stream, ())), line.missing.get(place.stream, 0)
    failed, why = line.failed.get(place.stream, 0), line.reasons.get(place.stream, "")
    return Field(place, done, done + missing, failed, why)


def bills(lines: Sequence[Line], places: Sequence[Place]) -> list[Bill]:
    """Return what every line took on every stream on which it has runs or should have some."""
    return [
        _bill(line, place)
        for place in places
        for line in lines
        if line.runs.get(place.stream) or line.missing.get(place.stream)
    ]


def _bill(line: Line, place: Place) -> Bill:
    runs, missing = line.runs.get(place.stream, ()), line.missing.get(place.stream, 0)
    seconds = fsum(run["seconds"] for run in runs)
    images = summarise(run.get("images_per_second") for run in runs)
    peaks = [run["gpu_peak_mb"] for run in runs if run.get("gpu_peak_mb")]
    each = seconds / len(runs) if runs else 0.0
    rest = missing * each if runs or not missing else None
    return Bill(line, place, len(runs), seconds, each, images.mean if images else None,
                max(peaks, default=None), missing, rest)  # fmt: skip


def by_stream(bills: Iterable[Bill]) -> dict[Stream, list[Bill]]:
    """Return the bills of each stream."""
    found: dict[Stream, list[Bill]] = {}
    for bill in bills:
        found.setdefault(bill.place.stream, []).append(bill)
    return found
