"""Figures: what papers of this field draw, as plain values that are pure functions of result rows.

`suite.figures.draw.draw` makes files of them (and alone needs matplotlib), `suite.figures.data.as_csv` their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from suite.errors import Exit, unknown
from suite.figures.model import Cell, Figure, Gap, Grid, Panel, Series
from suite.grouping import Row, Wanted

__all__ = ["KINDS", "Cell", "Figure", "Gap", "Grid", "Panel", "Series", "figures"]

KINDS = {
    "curves": "Accuracy on all classes seen after each task, a panel per protocol.",
    "params": "Parameters kept after each task, a panel per protocol.",
    "memory": "Exemplars, backbones and the rest in MiB, benchmark beside aligned runs.",
    "auc": "Accuracy over memory at the budgets of a ladder (+auc).",
    "matrix": "Accuracy on each task after each task, a figure per method and protocol.",
    "pareto": "Accuracy against parameters and MiB, the non-dominated methods joined.",
    "saturation": "Saturation after each task with its threshold, and what followed from it.",
    "coverage": "Runs done of runs wanted, methods down, protocols across.",
}
MODULES = {
    "curves": "accuracy",
    "matrix": "accuracy",
    "params": "memory",
    "memory": "memory",
    "auc": "tradeoff",
    "pareto": "tradeoff",
    "saturation": "saturation",
    "coverage": "coverage",
}


def figures(kind: str, rows: Iterable[Row], wanted: Iterable[Wanted] | None = None) -> list[Figure]:
    """Return the figures of one kind, none where the rows have nothing for it.

    Runs that are not settled are left out; smoke runs are the caller's to leave out. With `wanted`, coverage shows
    those runs alone. Accuracies in a figure are percent, parameters millions, memory MiB. Raises SuiteError for an
    unknown kind.
    """
    if kind not in KINDS:
        error = unknown("kind of figure", kind, KINDS, few=True)
        error.code = Exit.USAGE
        raise error
    settled = [row for row in rows if row.get("settled", True)]
    module = import_module(f"suite.figures.{MODULES[kind]}")
    made: list[Figure] = getattr(module, kind)(settled, None if wanted is None else list(wanted))
    return made
