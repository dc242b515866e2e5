"""Panels of stacked bars: one per method from the top down, with totals and budgets."""

from __future__ import annotations

from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from suite.figures.model import Figure, Panel
from suite.figures.paint.canvas import INK, SMALL, Canvas, wrapped
from suite.figures.paint.panels import plain, told
from suite.figures.style import HATCHES, PARTS

LONG = 3.0  # bars that are this many times longer than the next are cut, where they are few
FEW = 6  # one in so many


def paint(canvas: Canvas, axes: Axes, panel: Panel) -> None:
    """Draw a panel's bars; all panels of a figure have one scale, and the first of each row names the methods."""
    canvas.head(axes, panel)
    limit = _limit(canvas.figure)
    bars = [s for s in panel.series if s.shape == "bar"]
    for s in bars:
        low, high = s.low[0] or 0, min(s.high[0] or 0, limit)
        if high > low:
            axes.barh(s.x[0] or 0, high - low, left=low, height=0.66, color=PARTS[s.part], lw=0, hatch=HATCHES[s.part],
                      edgecolor="white", gid=canvas.tag("method", s.method, told(s)))  # fmt: skip
    ends = {s.x[0]: (s.high[0] or 0, s.method) for s in bars}  # the last part of a bar ends where the bar does
    for place, (total, method) in ends.items():
        long = total > limit
        text = (f"{total:#.3g}" if total < 99.95 else f"{total:.0f}") + (" \N{RIGHTWARDS ARROW}" if long else "")
        at, side = (limit, "right") if long else (total, "left")
        label = axes.annotate(text, (at, place or 0), (-3 if long else 3, 0), textcoords="offset points", va="center")
        label.set(ha=side, fontsize=SMALL, gid=canvas.tag("method", method))
        if long:
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
            label.set_color("black")
    for s in panel.series:
        if s.shape == "rule" and s.x[0] is not None and s.x[0] <= limit:
            axes.axvline(s.x[0], color=INK, linestyle="--", lw=0.9)
    axes.set_xlim(0, limit)
    _names(canvas, axes, panel)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(plain))


def _names(canvas: Canvas, axes: Axes, panel: Panel) -> None:
    """Write the methods beside their bars."""
    first = canvas.axes.index(axes) % canvas.columns == 0
    names = [wrapped(name, canvas.names) if first else "" for name in panel.categories]
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names)


def _limit(figure: Figure) -> float:
    """Return where the scale of a figure ends: behind the longest bar, or the longest that is not cut."""
    bars = [s for panel in figure.panels for s in panel.series if s.shape == "bar"]
    rules = [s.x[0] for panel in figure.panels for s in panel.series if s.shape == "rule"]
    ends = sorted((s.high[0] or 0 for s in bars if s.part == "rest"), reverse=True)
    few = ends[: len(ends) // FEW + 1]
    cut = next((b for a, b in pairwise(few) if b and a > LONG * b), 0.0)
    longest = max([cut or max(ends, default=0), *(r for r in rules if r is not None and (not cut or r <= LONG * cut))])
    return 1.22 * (longest or 1)
