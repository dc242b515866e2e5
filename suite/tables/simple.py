"""The tables that need nothing but rows and columns: benchmark, aligned, params, pertask."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import Any

from protocols.alignment import REFERENCE
from suite.declared import declared
from suite.errors import SuiteError
from suite.grouping import Row, Stream, stream_of
from suite.table import Column, Table
from suite.tables.catalogue import OTHER_NAMES, SAVED, columns_of
from suite.tables.choice import Chosen
from suite.tables.filling import Layout, filled
from suite.tables.options import Options

BENCHMARK = ("params_final", "memory_mb", "survey_mb", "saved", "avg", "last", "forget_max")
ALIGNED = ("exemplars", "params_final", "memory_mb", "survey_mb", "avg", "last", "forget_max")
PARAMS = (
    *("params_final", "params_max", "params_peak", "backbone_params_final", "head_params_final"),
    *("auxiliary_params_final", "buffer_numbers_final", "state_numbers_final"),
    *("memory_mb", "memory_mb_max", "memory_mb_peak", "survey_mb", "survey_mb_max", "survey_mb_peak"),
    *("exemplars", "flops_eval", "backbones_final"),
)


def benchmark(chosen: Chosen, options: Options) -> Table:
    """Return every method with the protocol's own number of exemplars."""
    return _plain(chosen, options, "benchmark", "Every method with the protocol's own exemplars", BENCHMARK)


def aligned(chosen: Chosen, options: Options) -> Table:
    """Return every method with the same memory."""
    first = {stream_of(row): row for row in reversed(chosen.rows)}
    sizes: dict[Stream, list[float]] = {stream: [] for stream in first}
    for row in chosen.rows:
        sizes[stream_of(row)] += [row["budget_mb"]] if row.get("budget_mb") is not None else []
    abouts = {stream: _budget(row, sizes[stream]) for stream, row in first.items()}
    notes = (
        "Budget: 2^20 bytes by the convention survey for backbones and exemplars together, the same for every method; "
        "exemplars are what it leaves beside the network, at most the images there are.",
    )
    return _plain(chosen, options, "aligned", "Every method with the same memory", ALIGNED, abouts, notes)


def _budget(row: Row, sizes: Sequence[float]) -> str:
    """Return an aligned protocol in words, with its budget in MiB, or budgets where each seed has its own."""
    ends = dict.fromkeys(f"{size:.2f}" for size in (min(sizes), max(sizes))) if sizes else {"unknown": None}
    return f"{row['tasks']} tasks, {row['classes']} classes, budget {'-'.join(ends)} MiB"


def params(chosen: Chosen, options: Options) -> Table:
    """Return what each method holds: parameters at three moments and by kind, bytes, operations."""
    return _plain(chosen, options, "params", "What methods hold: parameters, bytes, operations", PARAMS)


def pertask(chosen: Chosen, options: Options) -> Table:
    """Return the accuracy on all classes seen after each task."""
    rows = [{**row, **{f"task_{t}": value for t, value in enumerate(row["curve"], 1)}} for row in chosen.rows]
    length: dict[Stream, int] = {}
    for row in rows:
        length[stream_of(row)] = max(length.get(stream_of(row), 0), len(row["curve"]))
    last = columns_of(options.columns or ("avg",), rows, options.digits, reference="the reference")
    tasks = [Column(f"task_{t}", str(t), f"task_{t}", 100, options.digits, "high", spread=False)
             for t in range(1, max(length.values(), default=0) + 1)]  # fmt: skip
    own = {stream: (*tasks[:count], *last) for stream, count in length.items()}
    notes = ("1, 2, ...: top-1 accuracy on all classes seen after that task, in %; its mean over the runs.",)
    layout = Layout("pertask", "Accuracy after every task", (*tasks, *last), own, notes=notes)
    return filled(chosen.having(rows), layout)


def _plain(
    chosen: Chosen,
    options: Options,
    preset: str,
    title: str,
    usual: Sequence[str],
    abouts: dict[Stream, str] | None = None,
    notes: tuple[str, ...] = (),
) -> Table:
    """Return a table of columns of the catalogue, those asked for or the usual ones."""
    names = [OTHER_NAMES.get(name, name) for name in options.columns or usual]
    if SAVED.keys() & set(names):
        against = options.against or REFERENCE
        chosen, there = _with_saved(chosen, against)
        if not there and not options.columns:
            names = [name for name in names if name not in SAVED]
            notes = (*notes, f"Memory saved is not shown: no run of {_title(chosen, against)} on these protocols.")
        columns = columns_of(names, chosen.rows, options.digits, reference=_title(chosen, against))
    else:
        columns = columns_of(names, chosen.rows, options.digits)
    return filled(chosen, Layout(preset, title, columns, abouts=abouts or {}, notes=notes))


def _with_saved(chosen: Chosen, against: str) -> tuple[Chosen, bool]:
    """Return the rows with what they save against a method's mean on their protocol, and whether that has any run."""
    means: dict[tuple[Stream, str], float | None] = {}
    reference: dict[Stream, list[Row]] = {}
    for row in chosen.rows:
        if row["method"] == against:
            reference.setdefault(stream_of(row), []).append(row)
    for stream, runs in reference.items():
        for name, field in SAVED.items():
            sizes = [row[field] for row in runs if row.get(field) is not None]
            means[stream, name] = fsum(sizes) / len(sizes) if sizes else None

    def saved(row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in SAVED.items():
            mean, own = means.get((stream_of(row), name)), row.get(field)
            found[name] = 1 - own / mean if mean and own is not None else None
        return found

    return chosen.having([{**row, **saved(row)} for row in chosen.rows]), bool(reference)


def _title(chosen: Chosen, method: str) -> str:
    """Return how a method is called: by its runs, or by its declaration."""
    found = next((row["title"] for row in chosen.rows if row["method"] == method), "")
    if found:
        return str(found)
    try:
        return declared(method).title
    except SuiteError:
        return method
