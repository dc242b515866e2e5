"""Every number that figures show, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from suite.figures.model import Figure, Panel, Series

COLUMNS = ("panel", "x_axis", "y_axis", "series", "method", "part", "x", "y", "low", "high", "n", "mark")


def as_csv(*figures: Figure) -> str:
    """Return a line per point, bar or field, unrounded; of a grid, x is its column, series its row, y its value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for panel in (panel for figure in figures for panel in figure.panels):
        writer.writerows([panel.title, panel.x_label, panel.y_label, *line] for line in _lines(panel))
    return out.getvalue()


def _lines(panel: Panel) -> Iterator[list[Any]]:
    for series in panel.series:
        yield from _points(series)
    if panel.gap:
        gap = panel.gap
        yield [f"{gap.best} over {gap.second}", "", "gap", gap.x, gap.high - gap.low, gap.low, gap.high, "", ""]
    if panel.grid:
        methods = panel.grid.methods or ("",) * len(panel.grid.rows)
        for name, method, cells in zip(panel.grid.rows, methods, panel.grid.cells, strict=True):
            for column, cell in zip(panel.grid.columns, cells, strict=True):
                if cell.value is not None or cell.state:
                    yield [name, method, "", column, cell.value, "", "", cell.n, cell.state or cell.text]


def _points(series: Series) -> Iterator[list[Any]]:
    for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        rest = [values[i] if i < len(values) else "" for values in (series.low, series.high, series.n, series.marks)]
        yield [series.label, series.method, series.part, x, y, *rest]
