"""The main tables of the report: each preset that the runs have something for, with its copies for papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from suite.errors import SuiteError
from suite.grouping import Row, Wanted
from suite.record import Failure
from suite.render import csv, html, latex, markdown
from suite.table import Table
from suite.tables import table

SHOWN = {"benchmark": "Benchmark", "aligned": "Memory-aligned", "auc": "AUC"}  # and what the switch calls each
COPIES = {"LaTeX": latex, "Markdown": markdown, "CSV": csv}


@dataclass(frozen=True)
class Sheet:
    """One table of a preset: HTML, its notes, and the same as texts to copy."""

    preset: str
    label: str
    table: Table
    html: str
    notes: str
    copies: tuple[tuple[str, str], ...]


def sheets(rows: Sequence[Row], wanted: Sequence[Wanted] | None, failures: Mapping[str, Failure]) -> list[Sheet]:
    """Return a sheet per preset; those for which there is no run are left out."""
    found = []
    for preset, label in SHOWN.items():
        made = _made(preset, rows, wanted, failures)
        if made is not None:
            copies = tuple((name, module.render(made)) for name, module in COPIES.items())
            found.append(Sheet(preset, label, made, html.fragment(made), html.notes(made), copies))
    return found


def published(rows: Sequence[Row]) -> Sheet | None:
    """Return our figures beside published ones, None where nothing is published near them."""
    made = _made("published", rows, None, {})
    return None if made is None else Sheet("published", "Published", made, html.fragment(made), html.notes(made), ())


def _made(
    preset: str, rows: Sequence[Row], wanted: Sequence[Wanted] | None, failures: Mapping[str, Failure]
) -> Table | None:
    try:
        return table(preset, rows, wanted, failures=failures, allow_smoke=True)
    except SuiteError:  # there is no run of this kind
        return None
