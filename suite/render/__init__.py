"""One renderer per format of the one table model, and what they share: characters, legends, packing into a width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from suite.table import DASH as DASH
from suite.table import FAIL as FAIL
from suite.table import TUNED as TUNED
from suite.table import Cell, Table

DAGGER = "\N{DAGGER}"  # fewer runs
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
SHORT = "fewer runs than wanted, or than another method has"
RANKED = "compared at full precision; upper bounds are not ranked"
FAILED = "every run failed"
SEARCHED = "tune found settings of some runs, on held-out training images, never on test images (how: Settings of ...)"


def figure(cell: Cell, plus_minus: str = PLUS_MINUS) -> str:
    """Return a figure, with its deviation and its difference to the first line where it has them."""
    deviation = f" {plus_minus} {cell.deviation}" if cell.deviation else ""
    return f"{cell.mean}{deviation}{f' ({cell.delta})' if cell.delta else ''}"


def legend(table: Table, marks: str) -> Iterator[str]:
    """Yield what the marks of a table mean, those it has; `marks` says how best and second best are shown."""
    if table.marked:
        yield f"{marks}; {RANKED}."
    if table.short:
        yield f"{DAGGER}: {SHORT}."
    if table.failed:
        yield f"{FAIL}: {FAILED}."
    if table.tuned:
        yield f"{TUNED}: {SEARCHED}."


def packed(widths: Sequence[int], room: int, gap: int) -> list[list[int]]:
    """Return the places of things in groups that fit side by side into `room`, at least one in each."""
    groups: list[list[int]] = []
    used = 0
    for i, width in enumerate(widths):
        if not groups or used + gap + width > room:
            groups.append([])
            used = -gap
        groups[-1].append(i)
        used += gap + width
    return groups


def evened(widths: Sequence[int], room: int, gap: int) -> list[list[int]]:
    """Return the places of things in as few groups as fit into `room`, none much wider than another."""
    groups = packed(widths, room, gap)
    if len(groups) == 1:
        return groups
    narrower = (packed(widths, less, gap) for less in range(max(widths, default=0), room))
    return next((found for found in narrower if len(found) == len(groups)), groups)
