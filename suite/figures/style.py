"""The one look of all figures: a colour and a marker per method, told apart by people who do not see all colours.

The colours are near those of Okabe and Ito (Color Universal Design, 2008), moved so that each has a contrast of 3:1
on white and on the dark of a page at night, which theirs have not, and all stay apart for every kind of vision.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Dash = Literal["", "-", "--", ":"] | tuple[float, tuple[float, ...]]  # of lines, as matplotlib takes them

COLOURS = (
    "#2E5EB4",  # blue
    "#A73F00",  # vermillion
    "#749F55",  # green
    "#E26B93",  # pink
    "#C08B00",  # orange
    "#0A9FD4",  # sky blue
    "#5E634B",  # grey, for black
)
DASHES: tuple[Dash, ...] = ("-", (0, (5, 1.2)), (0, (3, 1, 1, 1)))  # one for each turn of the colours
BOUND: Dash = (0, (1, 1.2))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*")
STYLES = len(COLOURS) * len(MARKERS)  # their numbers have no common divisor: this many pairs

# What bars, coverage and thresholds are of, told apart by hatching too.
PARTS = {"exemplars": "#C08B00", "backbones": "#2E5EB4", "rest": "#7F7F7F"}
HATCHES = {"exemplars": "", "backbones": "////", "rest": "...."}
STATES = {"done": "#2E5EB4", "some": "#946800", "none": "", "failed": "#A73F00", "cannot": ""}  # white on them reads
DECISIONS = {  # colour, marker and words of what followed a measurement
    "expand": ("#A73F00", "^", "expands next"),
    "compress": ("#2E5EB4", "s", "compresses next"),
    "mixed": ("#7F7F7F", "D", "so many runs compress next"),
}
SCALE = "viridis"  # of matrices: even steps for every kind of colour vision, and in grey


class Style(NamedTuple):
    """How a method is drawn."""

    colour: str
    marker: str
    line: Dash


def style(index: int, *, rival: bool = True) -> Style:
    """Return a method's style: neighbours differ in both colour and marker; upper bounds are dotted."""
    line = DASHES[index // len(COLOURS) % len(DASHES)] if rival else BOUND
    return Style(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], line)
