"""Figures of accuracy against size: over the budgets of a ladder, and the methods that no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from suite.auc import area
from suite.figures.lines import (
    LADDER,
    Line,
    base_of,
    lines,
    named,
    number,
    of_streams,
    off_ladders,
    ranking,
    silent,
    slug_of,
    summary,
)
from suite.figures.model import Figure, Number, Panel, Series
from suite.grouping import Row, Wanted, stream_of

ACCURACIES = (("avg", "average accuracy (%)", "AUC-A"), ("last", "last accuracy (%)", "AUC-L"))
SIZES = (("params_final", "parameters (M)", 1e-6), ("memory_mb", "memory (MiB, full)", 1.0))
LADDERS = (
    "Accuracy at each budget of the ladder, mean over runs with one sample standard deviation; MiB as the survey "
    "counts them: backbone parameters at 4 bytes, and exemplars. A method without runs on the ladder stands alone at "
    "the size of its benchmark runs."
)
FRONT = (
    "Average accuracy against what is kept after the last task, mean over runs with one sample standard deviation; "
    "MiB in full: parameters, buffers, heads, auxiliary networks, a method's own state and exemplars. "
    "Ringed and joined: no other method is both smaller and better; upper bounds are not ranked."
)


def auc(rows: Sequence[Row], wanted: Sequence[Wanted] | None = None) -> list[Figure]:
    """Accuracy over memory: a figure per protocol that has a ladder, average and last accuracy side by side."""
    across, _ = of_streams(rows)
    bases = dict.fromkeys(
        base_of(row) for stream in across for row in rows if _ladder(row) and stream_of(row) == stream
    )
    return [_ladders(base, [row for row in rows if base_of(row) == base]) for base in bases]


def _labels(panels: Sequence[Panel]) -> list[str]:
    """Return the methods shown."""
    return list(dict.fromkeys(series.label for panel in panels for series in panel.series if series.method))


def _ladder(row: Row) -> bool:
    return str(row.get("alignment") or "").startswith(LADDER) and number(row.get("budget_mb")) is not None


def _ladders(base: str, rows: Sequence[Row]) -> Figure:
    """Return one protocol's figure."""
    own = [row for row in rows if _ladder(row) or not row.get("alignment")]
    across, _ = of_streams(own)
    down = lines(own, across)
    ladder = sorted({row["budget_mb"] for row in own if _ladder(row)})
    panels, areas, words = [], [], []
    for field, label, name in ACCURACIES:
        series = [each for line in down if (each := _rungs(line, field))]
        panels.append(Panel(base, "memory (MiB, survey)", label, tuple(series)))
        found = [(s.label, whole) for s in series if (whole := _area(s, ladder)) is not None]
        span = ladder[-1] - ladder[0]
        if found:
            listed = ", ".join(f"{label} {whole:.2f} ({whole / span:.3f})" for label, whole in found)
            areas.append(f"{name} as published, and divided by the span of {span:.1f} MiB: {listed}.")
        words.append(f"{label}: {_outcome(series, ladder)}{f'; {name} {ranking(found, str(), 2)}' if found else ''}")
    alt = f"Line chart of accuracy over memory on {base}. {named(_labels(panels), 'method')}. "
    alt += f"{'. '.join(words)}."
    return Figure(
        "auc", slug_of(f"auc {base}"), f"Accuracy over memory on {base}", tuple(panels), alt, (LADDERS, *areas)
    )


def _rungs(line: Line, field: str) -> Series | None:
    """Return a method's points at its budgets, or its one point where it has none."""
    runs = [row for of in line.group.runs.values() for row in of if number(row.get(field)) is not None]
    budgets = sorted({row["budget_mb"] for row in runs if _ladder(row)})
    if budgets:
        at = {budget: [row for row in runs if _ladder(row) and row["budget_mb"] == budget] for budget in budgets}
    else:
        size = summary(row.get("survey_mb") for row in runs)
        at = {size.mean: runs} if size else {}
    return _points("line" if len(at) > 1 else "points", line, field, at) if at else None


def _points(shape: str, line: Line, field: str, at: dict[float, list[Row]]) -> Series:
    """Return the accuracy of runs at sizes."""
    found = [summary([row[field] for row in runs], 100) for runs in at.values()]
    return Series(
        "line" if shape == "line" else "points", line.label, line.slug, tuple(at),
        tuple(s and s.mean for s in found),
        tuple(None if s is None or s.std is None else s.mean - s.std for s in found),
        tuple(None if s is None or s.std is None else s.mean + s.std for s in found),
        tuple(s.n if s else 0 for s in found), line.style, line.rival,
    )  # fmt: skip


def _area(series: Series, ladder: Sequence[float]) -> float | None:
    """Return the area under a curve, accuracy as a fraction; None where a point is missing."""
    points = {x: y / 100 for x, y in zip(series.x, series.y, strict=True) if x is not None and y is not None}
    return area(points) if set(points) == set(ladder) else None


def _outcome(series: Sequence[Series], ladder: Sequence[float]) -> str:
    """Return who is ahead at both ends of a ladder."""
    ends = [ladder[0], ladder[-1]] if len(ladder) > 1 else list(ladder)
    words = []
    for end in ends:
        there = [(s.label, dict(zip(s.x, s.y, strict=True)).get(end)) for s in series if s.rival]
        words.append(f"at {end:g} MiB {ranking(there, '%') or 'nothing'}")
    return ", ".join(words)


def pareto(rows: Sequence[Row], wanted: Sequence[Wanted] | None = None) -> list[Figure]:
    """Average accuracy against parameters and MiB: a figure per protocol, ladders aside."""
    rows = off_ladders(rows)
    across, called = of_streams(rows)
    found = []
    for stream in across:
        own = [row for row in rows if stream_of(row) == stream]
        down = lines(own, across)
        panels = [_sizes(called[stream], down, *size) for size in SIZES]
        shown = [panel for panel in panels if panel.series]
        if not shown:
            continue
        words = [f"non-dominated in {panel.x_label}: {_front_words(panel)}" for panel in shown]
        title = f"Average accuracy against size on {called[stream]}"
        alt = f"Scatter chart, {title.lower()}. {named(_labels(shown), 'method')}. {'. '.join(words)}."
        found.append(
            Figure(
                "pareto", slug_of(f"pareto {called[stream]}"), title, tuple(shown), alt, (FRONT, *silent(down, shown))
            )
        )
    return found


def _sizes(title: str, down: Sequence[Line], field: str, label: str, scale: float) -> Panel:
    """Return one size's panel."""
    points = []
    for line in down:
        runs = [row for of in line.group.runs.values() for row in of if number(row.get("avg")) is not None]
        size = summary((row.get(field) for row in runs), scale)
        if size:
            points.append(_points("points", line, "avg", {size.mean: runs}))
    best = front([(s.x[0], s.y[0]) for s in points if s.rival])
    marked = [_marked(s) if s.rival and (s.x[0], s.y[0]) in best else s for s in points]
    ends = sorted((x, y) for x, y in best if x is not None and y is not None)
    joined = (
        [Series("front", "non-dominated", "", tuple(x for x, _ in ends), tuple(y for _, y in ends))] if ends else []
    )
    return Panel(title, label, "average accuracy (%)", (*joined, *marked))


def _marked(series: Series) -> Series:
    return replace(series, marks=("front",))


def front(points: Sequence[tuple[Number, Number]]) -> set[tuple[Number, Number]]:
    """Return the points (size, accuracy) that no other beats: none is as small and as accurate, and not the same."""
    there = [(x, y) for x, y in points if x is not None and y is not None]
    return {(x, y) for x, y in there if not any(a <= x and b >= y and (a, b) != (x, y) for a, b in there)}


def _front_words(panel: Panel) -> str:
    ends = sorted(((s.x[0] or 0, s.y[0] or 0, s.label) for s in panel.series if "front" in s.marks), reverse=True)
    return ", ".join(f"{label} {y:.1f}% at {x:.2f}" for x, y, label in ends) or "none"
