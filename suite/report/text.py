"""Figures in the words of the report."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, isfinite, log10
from typing import Any

from suite.render import DASH, PLUS_MINUS
from suite.stats import Summary

MINUS = "\N{MINUS SIGN}"


def number(value: float | None, digits: int, scale: float = 1) -> str:
    """Return a number with so many digits, a dash for none and for what is not finite."""
    if value is None or not isfinite(value):
        return DASH
    return f"{round(value * scale, digits) + 0.0:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction in percent."""
    return number(value, digits, 100)


def signed(value: float, digits: int = 1, scale: float = 100) -> str:
    """Return a difference in points with its sign."""
    return f"{round(value * scale, digits) + 0.0:+.{digits}f}".replace("-", MINUS)


def between(bounds: tuple[float, float] | None, digits: int = 1, scale: float = 100) -> str:
    """Return an interval of differences."""
    return DASH if bounds is None else f"{signed(bounds[0], digits, scale)} to {signed(bounds[1], digits, scale)}"


def mean(found: Summary | None, digits: int = 1, scale: float = 100) -> str:
    """Return mean and sample deviation."""
    if found is None:
        return DASH
    spread = "" if found.std is None else f" {PLUS_MINUS} {number(found.std, digits, scale)}"
    return number(found.mean, digits, scale) + spread


def mib(value: float | None) -> str:
    """Return MiB with as many digits as tell small networks apart."""
    if value is None or not isfinite(value):
        return DASH
    return f"{value:.{3 if value < 1 else 2 if value < 10 else 1}f}"


def ceiling(value: float) -> str:
    """Return a number rounded up to three figures."""
    unit = 10.0 ** (floor(log10(value)) - 2) if value > 0 else 1.0
    return f"{ceil(value / unit - 1e-9) * unit:.3g}"


def largest(row: Mapping[str, Any]) -> float:
    """Return the MiB a run held at most after any task; after the last one where a record is too old to say."""
    found = row.get("memory_mb_max")
    return float(row["memory_mb"] if found is None else found)
