"""Statistics over runs: mean, sample standard deviation, and how far a mean may be chance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import fsum, isnan, sqrt
from typing import NamedTuple

RESAMPLES, SEED, LEVEL = 10_000, 0, 95  # of the bootstrap; LEVEL in %
BLOCK = 1_000_000  # numbers resampled at a time, which bounds memory
FEW = 5  # with fewer pairs an interval's ends are little more than the pairs themselves
TIE = 1e-12  # accuracies of the same hits may differ by their rounding


class Summary(NamedTuple):
    """Mean, sample standard deviation (divisor n - 1; None for n = 1) and n of what was measured n times."""

    mean: float
    std: float | None
    n: int


def summarise(values: Iterable[float | None]) -> Summary | None:
    """Return the summary of the values that are there, None when there are none. NaN is not there, like None."""
    there = [float(value) for value in values if value is not None and not isnan(value)]
    if not there:
        return None
    n = len(there)
    mean = fsum(there) / n
    return Summary(mean, sqrt(fsum((value - mean) ** 2 for value in there) / (n - 1)) if n > 1 else None, n)


def bootstrap(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the interval that holds 95 % of the means of resamples with replacement; None for fewer than two values.

    (Percentile bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.) Equal values in
    equal order give an equal interval, and their negatives its mirror image.
    """
    return _bootstrap(tuple(values))


@lru_cache(maxsize=4096)
def _bootstrap(given: tuple[float, ...]) -> tuple[float, float] | None:
    n = len(given)
    if n < 2:
        return None
    import numpy as np

    values, random, step = np.asarray(given), np.random.default_rng(SEED), max(1, BLOCK // n)
    sizes = [min(step, RESAMPLES - start) for start in range(0, RESAMPLES, step)]
    means = np.concatenate([values[random.integers(n, size=(size, n))].mean(axis=1) for size in sizes])
    low, high = np.quantile(means, [(100 - LEVEL) / 200, (100 + LEVEL) / 200])
    return float(low), float(high)


class Outcomes(NamedTuple):
    """How many of some pairs the first won, drew and lost."""

    wins: int
    ties: int
    losses: int


def outcomes(differences: Iterable[float], better: int) -> Outcomes:
    """Count differences, the first of a pair minus the second; `better` is 1 where more is better, -1 where less is."""
    gains = [difference * better for difference in differences]
    wins, losses = sum(gain > TIE for gain in gains), sum(gain < -TIE for gain in gains)
    return Outcomes(wins, len(gains) - wins - losses, losses)
