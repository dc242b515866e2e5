"""The values that the page's scripts work on: every run's figures, once, as short rows of numbers."""

from __future__ import annotations

import json
from math import isfinite
from typing import TYPE_CHECKING, Any

from suite.grouping import arithmetic
from suite.report.text import largest

if TYPE_CHECKING:
    from suite.report.model import Report

METRICS = {"avg": "Avg", "last": "Last", "forgetting": "Forgetting"}
MEMORIES = {
    "memory_mb_max": "full, largest after any task",
    "memory_mb": "full, after the last task",
    "memory_mb_peak": "full, largest while training",
    "survey_mb_max": "survey, largest after any task",
}
FIGURES = 6  # significant ones
UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def embedded(report: Report) -> dict[str, Any]:
    """Return lines, streams and runs; a run is [line, stream, order, seed, images, key, figures ...]."""
    images: dict[str, int] = {}
    streams = {place.stream: i for i, place in enumerate(report.places)}
    runs = []
    for i, line in enumerate(report.lines):
        for stream, own in line.runs.items():
            for row in own:
                data = images.setdefault(f"{row['data']} {arithmetic(row)}", len(images))
                sizes = [largest(row), *(row.get(name) for name in list(MEMORIES)[1:])]
                values = [*(row[name] for name in METRICS), *sizes, row["params_final"], row["seconds"]]
                runs.append([i, streams[stream], row["order_seed"], row["train_seed"], data, row["key"],
                             *map(_short, values)])  # fmt: skip
    return {
        "lines": [
            {"slug": line.slug, "method": line.method, "variant": line.variant, "name": line.name,
             "ranked": line.ranked}
            for line in report.lines
        ],
        "streams": [
            {"slug": place.slug, "name": place.name, "protocol": place.stream[0], "budget": place.budget}
            for place in report.places
        ],
        "metrics": list(METRICS.values()),
        "memories": list(MEMORIES.values()),
        "runs": runs,
    }  # fmt: skip


def script_safe(value: Any) -> str:
    """Return JSON that no text in it can end the element it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for char, escaped in UNSAFE.items():
        text = text.replace(char, escaped)
    return text


def _short(value: float | None) -> float | int | None:
    if value is None or not isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{FIGURES}g}")
