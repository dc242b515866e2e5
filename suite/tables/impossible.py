"""Methods that cannot meet a budget at which others have runs: a table says why there are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import protocols
from suite.account import MIB
from suite.alignment import allocate
from suite.declared import Declaration, declared
from suite.errors import SuiteError
from suite.grouping import Row, Wanted


def impossible(rows: Sequence[Row]) -> Iterator[Wanted]:
    """Yield, for the methods of rows, what they cannot run on the aligned protocols of rows, with the reason."""
    budgets: dict[str, float] = {}
    for row in rows:
        if row.get("budget_mb") is not None:
            budgets[row["protocol"]] = max(budgets.get(row["protocol"], 0.0), row["budget_mb"])
    there = {(row["method"], row["protocol"]) for row in rows}
    for method in sorted({row["method"] for row in rows}):
        try:
            about = declared(method)
        except SuiteError:  # a plugin that is not at hand
            continue
        for name, size in sorted(budgets.items()):
            if (method, name) not in there and (reason := _reason(about, name, size)):
                yield Wanted(f"no {method} {name}", method, name, about.title, about.family, about.reference, reason)


def _reason(method: Declaration, name: str, size: float) -> str:
    try:
        protocol = protocols.get(name)
        # where the images decide how many backbones there are, one is what it takes at least
        found = allocate(method, protocol, round(size * MIB), 1 if method.growth == "data" else None)
    except (ValueError, SuiteError, KeyError):  # a protocol that is not at hand
        return ""
    return found if isinstance(found, str) else ""
