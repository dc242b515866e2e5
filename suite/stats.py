"""Statistics over runs: mean and sample standard deviation."""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum, sqrt
from typing import NamedTuple


class Summary(NamedTuple):
    """Mean, sample standard deviation (divisor n - 1; None for n = 1) and n of what was measured n times."""

    mean: float
    std: float | None
    n: int


def summarise(values: Iterable[float | None]) -> Summary | None:
    """Return the summary of the values that are there, None when there are none."""
    there = [float(value) for value in values if value is not None]
    if not there:
        return None
    n = len(there)
    mean = fsum(there) / n
    return Summary(mean, sqrt(fsum((value - mean) ** 2 for value in there) / (n - 1)) if n > 1 else None, n)
