"""Figures of accuracy: over the classes seen, and on each task after each task."""

from __future__ import annotations

from collections.abc import Sequence

from suite.figures.lines import (
    Line,
    Points,
    counted,
    deviations,
    lines,
    named,
    of_streams,
    off_ladders,
    pages,
    ranking,
    seen_of,
    silent,
    slug_of,
    summary,
)
from suite.figures.model import Cell, Figure, Gap, Grid, Panel, Series
from suite.grouping import Row, Stream, Wanted

CURVES = "Accuracy on all classes seen"
MEANS = (
    "Mean over runs of the top-1 accuracy on all classes seen; band: one sample standard deviation to each side, none "
    "for a single run. The bracket at the end is the best method's lead over the second; upper bounds are not ranked."
)
WRITTEN = 10  # tasks up to which a matrix has its values written in


def curves(rows: Sequence[Row], wanted: Sequence[Wanted] | None = None) -> list[Figure]:
    """Accuracy over classes seen: a panel per protocol, ladders aside."""
    rows = off_ladders(rows)
    across, called = of_streams(rows)
    down = lines(rows, across)
    panels = [_curve(called[stream], stream, down) for stream in across]
    found = []
    for i, page in enumerate(pages([panel for panel in panels if panel.series])):
        words = [f"{panel.title}: {_ends(panel)}" for panel in page]
        figure = Figure(
            "curves", f"curves-{i + 1}" if i else "curves", CURVES, page, "", (MEANS, *silent(down, panels))
        )
        shown = named(figure.methods.values(), "method")
        alt = f"Line chart of accuracy on all classes seen, in percent. {shown}. {'. '.join(words)}."
        found.append(Figure(figure.kind, figure.id, figure.title, page, alt, figure.notes))
    return found


def _curve(title: str, stream: Stream, down: Sequence[Line]) -> Panel:
    """Return one protocol's panel."""
    seen: list[int] | None = None
    series = []
    for line in down:
        runs = [row for row in line.group.runs.get(stream, []) if row.get("curve")]
        points = deviations([row["curve"] for row in runs], 100)
        if any(y is not None for y in points.y):
            seen = seen or seen_of(runs)
            series.append((line, points))
    length = max((len(points.y) for _, points in series), default=0)
    x = seen if seen and len(seen) >= length else list(range(1, length + 1))
    made = tuple(_series(line, points, x) for line, points in series)
    label = "classes seen" if x is seen else "task"
    return Panel(title, label, "accuracy (%)", made, ticks=tuple(map(float, x)), gap=_gap(made))


def _series(line: Line, points: Points, x: Sequence[int]) -> Series:
    across = tuple(float(value) for value in x[: len(points.y)])
    return Series("line", line.label, line.slug, across, *points, style=line.style, rival=line.rival)


def _gap(series: Sequence[Series]) -> Gap | None:
    """Return the lead of the best rival after the last task."""
    ends = [(s.y[-1], s.label, s.x[-1]) for s in series if s.rival and s.y and s.y[-1] is not None]
    if len(ends) < 2:
        return None
    (high, best, x), (low, second, _) = sorted(ends, key=lambda end: -(end[0] or 0))[:2]
    return Gap(x or 0, low or 0, high or 0, best, second)


def _ends(panel: Panel) -> str:
    """Return a panel's outcome in words."""
    ends = [(s.label, s.y[-1]) for s in panel.series if s.rival]
    first, last = panel.ticks[0], panel.ticks[-1]
    span = f"{panel.x_label} {first:g} to {last:g}" if last > first else f"{panel.x_label} {last:g}"
    others = [f"{s.label} {s.y[-1]:.1f}%" for s in panel.series if not s.rival and s.y[-1] is not None]
    return ", ".join(filter(None, [f"{span}; at the end {ranking(ends, '%') or 'no rivals'}", *others]))


def matrix(rows: Sequence[Row], wanted: Sequence[Wanted] | None = None) -> list[Figure]:
    """Accuracy on each task after each task, mean over runs: a figure per method and protocol."""
    across, called = of_streams(rows)
    down = lines(rows, across)
    return [
        _matrix(called[stream], line, runs)
        for stream in across
        for line in down
        if (runs := [row for row in line.group.runs.get(stream, []) if row.get("matrix")])
    ]


def _matrix(protocol: str, line: Line, runs: Sequence[Row]) -> Figure:
    """Return one method's matrix on one protocol."""
    tasks = max(len(row["matrix"]) for row in runs)
    cells = []
    for t in range(tasks):
        found = [summary([r["matrix"][t][j] for r in runs if t < len(r["matrix"])], 100) for j in range(t + 1)]
        written = [Cell(s.mean, f"{s.mean:.0f}" if tasks <= WRITTEN else "", n=s.n) if s else Cell(None) for s in found]
        cells.append(tuple([*written, *[Cell(None)] * (tasks - t - 1)]))
    numbers = tuple(str(t + 1) for t in range(tasks))
    grid = Grid(numbers, numbers, tuple(cells), span=(0, 100))
    title = f"{line.label} on {protocol}"
    n = max((cell.n for row in cells for cell in row), default=0)
    diagonal = summary([cells[t][t].value for t in range(tasks)])
    last = [(f"task {j + 1}", cell.value) for j, cell in enumerate(cells[-1])]
    over = f"mean of {counted(n, 'run')}"
    alt = f"Heat map of {line.label}'s accuracy on each task after each of the {tasks} of {protocol}, {over}"
    if diagonal:
        alt += f": {diagonal.mean:.1f}% on a task just learned, on average; after the last task {ranking(last, '%')}"
    note = f"Top-1 accuracy in % on the classes of a task (across) after learning a task (down); {over}."
    panel = Panel(title, "evaluated on task", "after task", grid=grid)
    return Figure("matrix", slug_of(f"matrix {line.slug} {protocol}"), title, (panel,), f"{alt}.", (note,))
