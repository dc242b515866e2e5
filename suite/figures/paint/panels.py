"""Panels of series: lines with bands, steps, points, bars."""

from __future__ import annotations

from math import log10

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from suite.figures.model import Panel, Series
from suite.figures.paint.canvas import INK, SMALL, Canvas, thinned
from suite.figures.style import DECISIONS, style

NAN = float("nan")
WIDE = 25  # ratio of sizes from which their axis is logarithmic
MANY = 14  # points from which markers are thinned


def paint(canvas: Canvas, axes: Axes, panel: Panel) -> None:
    """Draw a panel's series and set its axes."""
    canvas.head(axes, panel)
    if any(s.shape == "step" for s in panel.series):
        _steps(canvas, axes, panel)
    for order, series in enumerate(s for s in panel.series if s.shape != "step"):
        {"front": _front, "points": _points}.get(series.shape, _line)(canvas, axes, series, 3 + order / 100)
    if any(s.marks and s.shape == "line" for s in panel.series):
        _decisions(canvas, axes, panel)
    _limits(axes, panel)
    if panel.ticks:
        axes.xaxis.set_major_locator(FixedLocator(thinned(panel.ticks, canvas.room)))
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    if panel.gap:
        _gap(axes, panel)


def plain(value: float, place: int | None = None) -> str:
    """Return a number on an axis."""
    return f"{value:g}"


def told(series: Series) -> str:
    """Return a series in words, for who points at it."""
    points = []
    for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        if x is None or y is None:
            continue
        low, high = (values[i] if i < len(values) else None for values in (series.low, series.high))
        band = f" ({low:.4g} to {high:.4g})" if low is not None and high is not None and low != high else ""
        points.append(f"{y:.4g}{band}" if series.shape == "bar" else f"{x:.4g}: {y:.4g}{band}")
    part = f", {series.part}" if series.part else ""
    n = f"; n = {max(series.n)}" if series.n else ""
    return f"{series.label}{part}: {', '.join(points)}{n}"


def _line(canvas: Canvas, axes: Axes, series: Series, order: float) -> None:
    """Draw joined points with their band."""
    look = style(series.style, rival=series.rival)
    x, y = _numbers(series.x), _numbers(series.y)
    if series.part:  # the threshold beside what is measured
        (line,) = axes.plot(x, y, color=INK, linestyle="--", lw=0.9, marker="_" if len(x) == 1 else "", zorder=order)
        line.set_gid(canvas.tag("method", series.method, told(series)))
        return
    low, high = _numbers(series.low or series.y), _numbers(series.high or series.y)
    if any(a < b for a, b in zip(low, high, strict=True)):
        band = axes.fill_between(x, low, high, color=look.colour, alpha=0.13, lw=0, zorder=order - 1)
        band.set_gid(canvas.tag("method", series.method, series.label))
    dashes = "-" if series.marks else look.line  # dashes beside a trace are its threshold
    (line,) = axes.plot(x, y, color=look.colour, linestyle=dashes, zorder=order)
    line.set(gid=canvas.tag("method", series.method, series.label))
    if series.marks:
        return
    every = slice(series.style % 3, None, 3) if len(x) > MANY else slice(None)
    _signs(canvas, axes, series, x[every], y[every], order)


def _signs(canvas: Canvas, axes: Axes, series: Series, x: list[float], y: list[float], order: float) -> None:
    """Draw a method's markers."""
    look = style(series.style, rival=series.rival)
    (signs,) = axes.plot(x, y, color=look.colour, marker=look.marker, lw=0, zorder=order)
    signs.set(markeredgewidth=0.8, markerfacecolor=look.colour if series.rival else "none")
    signs.set_gid(canvas.tag("method", series.method, told(series)))


def _steps(canvas: Canvas, axes: Axes, panel: Panel) -> None:
    """Draw steps; where methods hold the same, their markers stand beside each other on the step."""
    top = max((y for s in panel.series for y in (*s.y, *s.high) if y is not None), default=1.0)
    for order, series in enumerate(panel.series):
        look, y = style(series.style, rival=series.rival), _numbers(series.y)
        edges = [t + 0.5 for t in range(len(y) + 1)]
        low, high = _numbers(series.low or series.y), _numbers(series.high or series.y)
        if any(a < b for a, b in zip(low, high, strict=True)):
            ends = [*low, *low[-1:]], [*high, *high[-1:]]
            band = axes.fill_between(edges, *ends, color=look.colour, alpha=0.13, lw=0, step="post", zorder=2)
            band.set_gid(canvas.tag("method", series.method, series.label))
        level = [*y, *y[-1:]]
        (line,) = axes.plot(edges, level, color=look.colour, linestyle=look.line, drawstyle="steps-post", zorder=3)
        line.set_gid(canvas.tag("method", series.method, series.label))
        places = [_beside(panel, order, t, 0.025 * top) for t in range(len(y))]
        shown = [(t + 1 + place, y[t]) for t, place in enumerate(places) if place is not None]
        _signs(canvas, axes, series, [a for a, _ in shown], [b for _, b in shown], 4)


def _beside(panel: Panel, own: int, t: int, near: float) -> float | None:
    """Return where on step t a method's marker goes, None where others of many take their turn."""
    mine = panel.series[own].y[t]
    ys = [(i, s.y[t] if t < len(s.y) else None) for i, s in enumerate(panel.series)]
    alike = [i for i, y in ys if mine is not None and y is not None and abs(y - mine) <= near]
    if len(alike) < 2:
        return 0.0
    if len(panel.ticks) > MANY:
        return 0.0 if alike[t % len(alike)] == own else None
    return 0.76 * (alike.index(own) / (len(alike) - 1) - 0.5)


def _points(canvas: Canvas, axes: Axes, series: Series, order: float) -> None:
    """Draw lone points with their deviation; non-dominated ones in a ring."""
    look = style(series.style, rival=series.rival)
    x, y = _numbers(series.x), _numbers(series.y)
    for at, low, high in zip(x, _numbers(series.low), _numbers(series.high), strict=False):
        bar = axes.plot([at, at], [low, high], color=look.colour, lw=0.8, alpha=0.7, zorder=order)[0]
        bar.set_gid(canvas.tag("method", series.method))
    if "front" in series.marks:
        ring = axes.plot(x, y, color=INK, marker="o", markersize=8, markerfacecolor="none", lw=0, zorder=order)[0]
        ring.set(markeredgewidth=0.7)
        ring.set_gid(canvas.tag("method", series.method, series.label))
    _signs(canvas, axes, series, x, y, order + ("front" in series.marks))


def _front(canvas: Canvas, axes: Axes, series: Series, order: float) -> None:
    """Join the non-dominated points: what is reached at each size."""
    x, y = _numbers(series.x), _numbers(series.y)
    axes.plot(x, y, color=INK, linestyle=":", lw=0.9, drawstyle="steps-post", zorder=order - 1)


def _decisions(canvas: Canvas, axes: Axes, panel: Panel) -> None:
    """Put on each point of a trace what was decided there."""
    for series in panel.series:
        for x, y, mark in zip(series.x, series.y, series.marks, strict=False):
            if x is None or y is None or not mark:
                continue
            colour, marker, _ = DECISIONS["mixed" if "/" in mark else mark]
            face = "none" if "/" in mark else colour
            tag = canvas.tag("method", series.method, f"{series.label}, task {x:g}: {y:.3g}, {mark}")
            axes.plot([x], [y], color=colour, marker=marker, markerfacecolor=face, markersize=4.6, gid=tag, zorder=5)
            if "/" in mark:
                axes.annotate(mark, (x, y), (0, 5), textcoords="offset points", ha="center", fontsize=SMALL, gid=tag)


def _limits(axes: Axes, panel: Panel) -> None:
    """Set the ends of the axes: percent within 0 and 100, sizes from 0, sizes far apart by their logarithm."""
    values = [v for s in panel.series for v in (*s.y, *s.low, *s.high) if v is not None]
    across = [v for s in panel.series for v in s.x if v is not None]
    if not values or not across:
        return
    low, high = min(values), max(values)
    steps, percent = any(s.shape == "step" for s in panel.series), "%" in panel.y_label
    low = 0.0 if steps else low
    pad = max(0.06 * ((high - low) or abs(high) or 1), 1 - (high - low) / 2 if percent else 0)
    bottom = 0.0 if steps else low - pad
    axes.set_ylim(max(bottom, -2) if percent else bottom, min(high + pad, 102) if percent else high + pad)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    first, last = min(across), max(across)
    lone = all(s.shape in ("points", "front") for s in panel.series)
    if lone and first > 0 and last / first > WIDE:
        axes.set_xscale("log")
        room = 10 ** (0.06 * log10(last / first))
        axes.set_xlim(first / room, last * room)
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0,) if last / first > 200 else (1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        return
    span = (last - first) or 1
    if steps:
        axes.set_xlim(first - 0.5, last + 0.5)
        return
    side = 0.05 * span if last > first else 0.5
    axes.set_xlim(first - side, last + side + (0.12 if panel.gap else 0) * span)
    if not panel.ticks:
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _gap(axes: Axes, panel: Panel) -> None:
    """Draw the bracket between best and second after the last task."""
    gap = panel.gap
    assert gap
    span = (panel.ticks[-1] - panel.ticks[0]) or 1
    x, arm = gap.x + 0.055 * span, 0.018 * span
    axes.plot([x - arm, x, x, x - arm], [gap.high, gap.high, gap.low, gap.low], color=INK, lw=0.8, zorder=6)
    axes.text(x + arm, (gap.low + gap.high) / 2, f"+{gap.high - gap.low:.1f}", fontsize=SMALL, va="center", ha="left")


def _numbers(values: tuple[float | None, ...]) -> list[float]:
    return [NAN if value is None else value for value in values]
