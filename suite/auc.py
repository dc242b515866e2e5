"""Area under accuracy against memory: AUC-A of the average, AUC-L of the last accuracy (Zhou et al., TPAMI 2024).

The trapezoid rule over the points of a ladder of budgets, accuracies as fractions, not divided by anything; divided by
the span of the budgets it is a mean accuracy, which can be compared between ladders.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import isfinite


def area(points: Mapping[float, float]) -> float | None:
    """Return the area under accuracies (fractions) by budget (MiB): sum of (m' - m)(a + a') / 2 over neighbours.

    None for fewer than two points, and where an accuracy is not a number.
    """
    if len(points) < 2 or not all(map(isfinite, (*points, *points.values()))):
        return None
    return sum((right - left) * (points[left] + points[right]) / 2 for left, right in pairwise(sorted(points)))


def over_span(points: Mapping[float, float]) -> float | None:
    """Return the area divided by the span of the budgets: the mean accuracy over the ladder, a fraction."""
    whole = area(points)
    return None if whole is None else whole / (max(points) - min(points))
