"""Figures of saturation: what a method that decides by it measured after each task, and what it decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from suite.figures.lines import Line, extremes, lines, number, of_streams, pages
from suite.figures.model import Figure, Panel, Series
from suite.grouping import Row, Wanted

TRACE = (
    "Saturation measured after each task (mean over runs, band from the smallest to the largest), with the threshold "
    "then in force. Below it the next task compresses, otherwise the network stays expanded; where runs differ, it is "
    "said how many of them compress."
)


def saturation(rows: Sequence[Row], wanted: Sequence[Wanted] | None = None) -> list[Figure]:
    """Saturation with threshold and decisions: a panel per protocol and method whose notes hold a trace."""
    traced = [row for row in rows if any("saturation" in notes for notes in row.get("notes") or [])]
    across, called = of_streams(traced)
    down = lines(traced, across)
    panels, words = [], []
    for stream in across:
        for line in down:
            runs = [row["notes"] for row in line.group.runs.get(stream, [])]
            if runs:
                title = called[stream] if len(down) == 1 else f"{line.label} on {called[stream]}"
                panels.append(_panel(title, line, runs))
                words.append(f"{line.label} on {called[stream]}: {_decisions(panels[-1])}")
    found: list[Figure] = []
    for i, page in enumerate(pages(panels)):
        said = words[len(found) * len(pages(panels)[0]) :][: len(page)]
        alt = f"Line chart of saturation and threshold after each task. {'. '.join(said)}."
        title = f"Saturation of {', '.join(line.label for line in down)}"
        found.append(Figure("saturation", f"saturation-{i + 1}" if i else "saturation", title, page, alt, (TRACE,)))
    return found


def _panel(title: str, line: Line, runs: Sequence[Sequence[Mapping[str, Any]]]) -> Panel:
    """Return one method's panel on one protocol."""
    measured = extremes([[notes.get("saturation") for notes in run] for run in runs])
    limits = extremes([[notes.get("threshold") for notes in run] for run in runs])
    x = tuple(float(t + 1) for t in range(len(measured.y)))
    marks = tuple(_mark([_compresses(run, t) for run in runs]) for t in range(len(x)))
    series = [Series("line", line.label, line.slug, x, *measured, line.style, line.rival, marks=marks)]
    if any(y is not None for y in limits.y):
        series.append(Series("line", "threshold", line.slug, x, *limits, line.style, line.rival, part="threshold"))
    return Panel(title, "task", "saturation", tuple(series), ticks=x)


def _compresses(run: Sequence[Mapping[str, Any]], t: int) -> bool | None:
    """Tell whether the assessment after task t made the next task compress; None where nothing says so."""
    if t < len(run) and isinstance(said := run[t].get("compress_next"), bool):
        return said
    if t + 1 < len(run) and isinstance(done := run[t + 1].get("compressed"), bool):
        return done
    values = (number(run[t].get("saturation")), number(run[t].get("threshold"))) if t < len(run) else (None, None)
    return None if values[0] is None or values[1] is None else values[0] < values[1]


def _mark(decisions: Sequence[bool | None]) -> str:
    there = [decision for decision in decisions if decision is not None]
    if not there:
        return ""
    return f"{sum(there)}/{len(there)}" if len(set(there)) > 1 else "compress" if there[0] else "expand"


def _decisions(panel: Panel) -> str:
    """Return what was decided in words."""
    trace = panel.series[0]
    told = [
        f"task {x:g} {y:.2f} {mark if '/' not in mark else f'{mark} compress'}".rstrip()
        for x, y, mark in zip(trace.x, trace.y, trace.marks, strict=True)
        if y is not None
    ]
    return ", ".join(told) or "nothing measured"
