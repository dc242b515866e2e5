"""Figure: what a plot shows, as a plain value; drawing it and writing its numbers are other modules' work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Number = float | None  # None where there is nothing to draw
Numbers = tuple[Number, ...]


@dataclass(frozen=True)
class Series:
    """What one method has in a panel, point by point; `low` and `high` bound its band or bar, empty for none.

    line, step: joined points; points: lone ones; front: joined without markers of its own; bar: from low to high,
    x being the place of the method in the panel's `categories`; rule: a straight line at y (or at x, across bars).
    """

    shape: Literal["line", "step", "points", "front", "bar", "rule"]
    label: str  # as a legend says it
    method: str  # slug of the line of a table that this is of, the same in all figures; "" where it is of none
    x: Numbers
    y: Numbers
    low: Numbers = ()
    high: Numbers = ()
    n: tuple[int, ...] = ()  # runs behind each point
    style: int = 0  # index of colour and marker, one per method in all figures
    rival: bool = True  # False for upper bounds, which are not ranked
    part: str = ""  # of what a bar or rule is: exemplars, backbones, rest, budget, threshold
    marks: tuple[str, ...] = ()  # per point: "front", "expand", "compress", or how many runs of how many compress


@dataclass(frozen=True)
class Gap:
    """By how much the best method is ahead of the second at the end of a panel, in its unit."""

    x: float
    low: float
    high: float
    best: str
    second: str


@dataclass(frozen=True)
class Cell:
    """A field of a grid: `value` is what its colour shows, None for an empty one."""

    value: Number
    text: str = ""
    state: Literal["", "done", "some", "none", "failed", "cannot"] = (
        ""  # of coverage, which has these instead of a scale
    )
    n: int = 0


@dataclass(frozen=True)
class Grid:
    """A table of coloured fields: `cells[row][column]`."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    methods: tuple[str, ...] = ()  # slug per row where rows are methods
    span: tuple[float, float] | None = None  # ends of the colour scale


@dataclass(frozen=True)
class Panel:
    """One pair of axes: either series or a grid."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...] = ()
    grid: Grid | None = None
    categories: tuple[str, ...] = ()  # what bars stand for, from the top
    ticks: tuple[float, ...] = ()  # where x has few values: all of them
    gap: Gap | None = None


@dataclass(frozen=True)
class Figure:
    """A figure of one of KINDS. `id` is a slug, unique among the figures made together."""

    kind: str
    id: str
    title: str
    panels: tuple[Panel, ...]
    alt: str  # alternative text, from the data
    notes: tuple[str, ...] = ()  # what is shown and how, for a caption

    @property
    def methods(self) -> dict[str, str]:
        """Slug to label of every method shown, in the order of the legend."""
        return {series.method: series.label for panel in self.panels for series in panel.series if series.method}
