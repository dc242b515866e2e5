"""The tables of the suite, by name: which runs each is about, and what its columns are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from suite.errors import Exit, unknown
from suite.grouping import Row, Wanted
from suite.table import Table
from suite.tables.ablation import ablation
from suite.tables.area import area
from suite.tables.choice import choose
from suite.tables.options import Options
from suite.tables.simple import aligned, benchmark, params, pertask

if TYPE_CHECKING:
    from suite.record import Failure

MAKERS = {"benchmark": benchmark, "aligned": aligned, "auc": area, "pertask": pertask, "ablation": ablation,
          "params": params}  # fmt: skip
PRESETS = {
    "benchmark": "every method with the protocol's own exemplars",
    "aligned": "every method with the same memory",
    "auc": "area under accuracy against memory, over a ladder of budgets",
    "pertask": "accuracy after every task",
    "ablation": "variants of one method, with differences to the first",
    "params": "parameters, bytes and operations",
    "published": "beside published numbers",
}


def table(
    preset: str,
    rows: Iterable[Row],
    wanted: Iterable[Wanted] | None = None,
    *,
    failures: Mapping[str, Failure] | None = None,
    digits: int = 1,
    allow_smoke: bool = False,
    columns: Iterable[str] = (),
    against: str = "",
) -> Table:
    """Return a table of result rows; with `wanted`, of those runs alone, the missing ones counted.

    `failures` are why runs ended without a record, by key; `digits` is of percentages; `columns` are ids of the
    catalogue in place of the usual ones; `against` is the method that memory saved is measured against. Raises
    SuiteError when there is nothing to show, saying what there is.
    """
    if preset not in PRESETS:
        error = unknown("table", preset, PRESETS, few=True)
        error.code = Exit.USAGE
        raise error
    chosen = choose(preset, rows, wanted, failures or {}, allow_smoke=allow_smoke)
    if preset == "published":
        from suite.published_table import published_table

        return published_table(chosen.rows, digits=digits, remarks=chosen.remarks)
    return MAKERS[preset](chosen, Options(digits, tuple(columns), against))
