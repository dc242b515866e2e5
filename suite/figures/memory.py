"""Figures of what methods keep: parameters after each task, and MiB of exemplars and networks."""

from __future__ import annotations

from collections.abc import Sequence

from suite.figures.lines import (
    Line,
    base_of,
    extremes,
    lines,
    named,
    number,
    of_streams,
    off_ladders,
    pages,
    ranking,
    slug_of,
    summary,
)
from suite.figures.model import Figure, Panel, Series
from suite.grouping import Row, Stream, Wanted, stream_of

STEPS = (
    "Parameters kept after each task (backbones, heads, auxiliary networks), in millions; mean over runs, band from "
    "the smallest to the largest run."
)
PARTS = (
    "Kept after the last task, in MiB (2^20 bytes), mean over runs: exemplars, backbones at 4 bytes a parameter (those "
    "two are the survey's convention) and the rest (heads, buffers, extra state), which makes it full."
)
BUDGET = "Dashed: the budget in the survey's convention, which exemplars and backbones together must not exceed."


def params(rows: Sequence[Row], wanted: Sequence[Wanted] | None = None) -> list[Figure]:
    """Parameters after each task: a panel per protocol, ladders aside."""
    rows = off_ladders(rows)
    across, called = of_streams(rows)
    down = lines(rows, across)
    panels = [panel for stream in across if (panel := _steps(called[stream], stream, down)).series]
    found = []
    for i, page in enumerate(pages(panels)):
        shown = named(dict.fromkeys(s.label for panel in page for s in panel.series), "method")
        words = [
            f"{panel.title}: after task {panel.ticks[-1]:g} "
            f"{ranking([(s.label, s.y[-1]) for s in panel.series], ' M', 2, high=False)}"
            for panel in page
        ]
        alt = f"Step chart of parameters after each task, in millions. {shown}. {'. '.join(words)}."
        found.append(
            Figure("params", f"params-{i + 1}" if i else "params", "Parameters after each task", page, alt, (STEPS,))
        )
    return found


def _steps(title: str, stream: Stream, down: Sequence[Line]) -> Panel:
    series = []
    for line in down:
        kept = [row["params_curve"] for row in line.group.runs.get(stream, []) if row.get("params_curve")]
        points = extremes(kept, 1e-6)
        if any(y is not None for y in points.y):
            x = tuple(float(t + 1) for t in range(len(points.y)))
            series.append(Series("step", line.label, line.slug, x, *points, style=line.style, rival=line.rival))
    ticks = max((s.x for s in series), key=len, default=())
    return Panel(title, "task", "parameters (M)", tuple(series), ticks=tuple(t for t in ticks if t is not None))


def memory(rows: Sequence[Row], wanted: Sequence[Wanted] | None = None) -> list[Figure]:
    """What is kept at the end, stacked: a figure per protocol, its aligned runs in panels beside it.

    Points of ladders are in the figure of accuracy over memory; here they are shown only where there is nothing else.
    """
    rows = off_ladders(rows)
    across, called = of_streams(rows)
    bases = dict.fromkeys(base_of(row) for stream in across for row in rows if stream_of(row) == stream)
    return [figure for base in bases if (figure := _stacks(base, rows, called))]


def _stream(row: Row) -> Stream:
    return row["protocol"], row["protocol_id"]


def _stacks(base: str, rows: Sequence[Row], called: dict[Stream, str]) -> Figure | None:
    """Return one protocol's figure."""
    own = [row for row in rows if base_of(row) == base and number(row.get("memory_mb")) is not None]
    across, _ = of_streams(own)
    down = lines(own, across)
    if not down:
        return None
    names = tuple(line.label for line in down)
    panels = tuple(Panel(called[stream], "MiB", "", _bars(stream, down, own), categories=names) for stream in across)
    words = []
    for panel in panels:
        totals = {s.label: s.high[0] for s in panel.series if s.shape == "bar"}  # the last part's end is the whole
        budgets = [f"; budget {s.x[0]:.1f} MiB" for s in panel.series if s.part == "budget"]
        words.append(f"{panel.title}: {ranking(totals.items(), ' MiB', high=False)}{''.join(budgets)}")
    alt = f"Stacked bars of MiB kept after the last task. {named(names, 'method')}. {'. '.join(words)}."
    budgeted = any(s.part == "budget" for panel in panels for s in panel.series)
    notes = (PARTS, BUDGET) if budgeted else (PARTS,)
    return Figure("memory", slug_of(f"memory {base}"), f"Memory on {base}", panels, alt, notes)


def _bars(stream: Stream, down: Sequence[Line], rows: Sequence[Row]) -> tuple[Series, ...]:
    """Return the parts of every method's bar, and the budgets."""
    series = []
    for place, line in enumerate(down):
        runs = line.group.runs.get(stream, [])
        exemplars, survey, full = (
            summary(row.get(f) for row in runs) for f in ("exemplar_mb", "survey_mb", "memory_mb")
        )
        if not (exemplars and full):
            continue
        inner = survey.mean if survey else full.mean
        ends = [0.0, exemplars.mean, max(inner, exemplars.mean), max(full.mean, inner)]
        for part, low, high in zip(("exemplars", "backbones", "rest"), ends, ends[1:], strict=False):
            x, y, bounds = (float(place),), (high - low,), ((low,), (high,))
            series.append(
                Series("bar", line.label, line.slug, x, y, *bounds, (full.n,), line.style, line.rival, part=part)
            )
    budgets = {number(row.get("budget_mb")) for row in rows if stream_of(row) == stream} - {None}
    for budget in sorted(b for b in budgets if b is not None):
        series.append(Series("rule", "budget", "", (budget,), (None,), part="budget"))
    return tuple(series)
