"""Numbers as people read them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import Any

MILLION = 10**6
UNITS = {"G": 10**9, "M": MILLION}


def program() -> str:
    """Return how the user called this, for commands to type next."""
    if os.path.basename(sys.argv[0]) != "run_suite.py":
        return "grace-suite"
    python = sys.executable
    if shutil.which("python") == python:
        python = "python"
    elif python.startswith(os.getcwd() + os.sep):
        python = os.path.relpath(python)
    return f"{python} {os.path.relpath(sys.argv[0])}"


def count(number: int, noun: str) -> str:
    """Return `1 run`, `2,000 runs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def span(bounds: tuple[int, int] | None) -> str:
    """Return `4,010`, or `1,730-2,900` or `0.46-4.64 M` where only bounds are known."""
    if bounds is None:
        return "unknown"
    low, high = bounds
    if low == high or high < MILLION:
        return f"{rounded(low)}-{high:,}" if low != high else rounded(low)
    number, unit = rounded(high).split(" ")
    return f"{three_figures(low / UNITS[unit])}-{number} {unit}"


def rounded(number: int) -> str:
    """Return a number of up to a million whole, a larger one with three figures: `4,010`, `61.3 M`."""
    for unit, of in UNITS.items():
        if number >= of:
            return f"{three_figures(number / of)} {unit}"
    return f"{number:,}"


def three_figures(value: float) -> str:
    """Return `0.46`, `4.64`, `46.4`, `464`."""
    return f"{value:.{max(0, 3 - len(str(int(value))))}f}"


def size(number: int) -> str:
    """Return bytes as `3.1 MB` (10^6)."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number} bytes"


def duration(seconds: float) -> str:
    """Return `45 s`, `12 min`, `3 h 20 min`, `2 d 5 h`."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s" if whole else "under 1 s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def seed_list(values: Iterable[int]) -> str:
    """Return seeds as options take them: `0-2,7`."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)


def assignments(method: str, table: Mapping[str, Any], path: str = "") -> list[str]:
    """Return the settings of a method as `--set` takes them."""
    found = []
    for name, value in table.items():
        if isinstance(value, Mapping):
            found += assignments(method, value, f"{path}{name}.")
        else:
            found.append(f"method.{method}.{path}{name}={json.dumps(value)}")
    return found


def command(*parts: str) -> str:
    """Return a command as it is typed; what a shell would take apart is quoted."""
    return " ".join([parts[0], *map(shlex.quote, parts[1:])])
