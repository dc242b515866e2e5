"""What one run did, task by task, as rows of HTML: the part of the report that one reads to understand a figure.

Thousands of runs have millions of figures, few of which differ: the text of each is made once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from math import isfinite
from typing import TYPE_CHECKING, Any

from suite.cli.words import duration
from suite.grouping import Row, arithmetic
from suite.render import DASH
from suite.report.lines import Line, Place
from suite.report.rerun import Again
from suite.report.text import mib, number, percent
from suite.report.trace import Trace, trace

if TYPE_CHECKING:
    from markupsafe import Markup

SHADES = 10  # of the accuracy matrix, from 0 to 100 %
TOLD = ("backbones",)  # notes that are a column of the other table
LONG = 60  # characters of a note
REMEMBERED = 100_000  # figures of a kind


class Cells(dict[Any, str]):
    """The cells of a kind of figure by its value; HTML closes each where the next one begins."""

    def __init__(self, made: Callable[[Any], str]) -> None:
        super().__init__()
        self.made = made

    def __missing__(self, value: Any) -> str:
        """Make a cell, and keep it."""
        text = self.made(value)
        if len(self) < REMEMBERED:
            self[value] = text
        return text

    def of(self, values: Iterable[Any]) -> list[str]:
        """Return a cell per value."""
        return [self[value] for value in values]


def _cells(text: Callable[[Any], str]) -> Cells:
    return Cells(lambda value: f"<td>{escape(text(value))}")


def _shaded(value: float | None) -> str:
    if value is None or not isfinite(value):
        return f"<td>{DASH}"
    return f'<td class="h{min(SHADES - 1, max(0, int(value * SHADES)))}">{percent(value)}'


NUMBERED = Cells(lambda task: f'<tr><th scope="row">{task}')
PERCENT, SHADED, MIB, WHOLE = _cells(percent), Cells(_shaded), _cells(mib), _cells(lambda value: number(value, 0))
MILLIONS, SECONDS = _cells(lambda value: number(value, 2, 1e-6)), _cells(lambda value: number(value, 1))
OPTIONAL = (
    ("Backbones", "backbones", WHOLE),
    ("#P (M)", "params_curve", MILLIONS),
    ("Model MiB", "model_mb_curve", MIB),
    ("Exemplars MiB", "exemplar_mb_curve", MIB),
    ("Training MiB", "memory_mb_peak_curve", MIB),
    ("Seconds", "seconds_curve", SECONDS),
    ("GPU peak MiB", "gpu_peak_mb_curve", WHOLE),
)  # titles of columns, and the fields that have a value per task


@dataclass(frozen=True)
class Body:
    """A table: its header cells and its rows, as HTML."""

    head: Markup
    rows: Markup


@dataclass(frozen=True)
class Sheet:
    """One run: its figures, what came of each task, the accuracy matrix, what the method noted, where it is from."""

    key: str
    order_seed: int
    train_seed: int
    figures: Markup  # pairs of a definition list
    tasks: Body
    matrix: Body
    notes: Body | None
    trace: Trace | None
    origin: Markup  # likewise
    command: str


@dataclass(frozen=True)
class Fold:
    """The runs of one line on one stream, with the settings that they share."""

    line: Line
    place: Place
    config: str  # a setting per line, its value as JSON
    preset: str
    sheets: tuple[Sheet, ...]


def folds(
    lines: Sequence[Line], places: Sequence[Place], program: str, root: str, *, sheets: bool = True
) -> Iterator[Fold]:
    """Yield the runs stream by stream, line by line; without `sheets` only which there are."""
    for place in places:
        for line in lines:
            runs = sorted(line.runs.get(place.stream, ()), key=lambda run: (run["order_seed"], run["train_seed"]))
            if runs:
                again, settings = Again.of(runs[0], program, root), runs[0]["config"].items()
                own = tuple(sheet(run, again) for run in runs) if sheets else ()
                config = "\n".join(f"{name} = {json.dumps(value)}" for name, value in settings)
                yield Fold(line, place, config, str(runs[0].get("preset") or ""), own)


def sheet(row: Row, again: Again) -> Sheet:
    """Return what is to be told of a run."""
    return Sheet(
        key=row["key"],
        order_seed=row["order_seed"],
        train_seed=row["train_seed"],
        figures=_pairs(_figures(row)),
        tasks=_tasks(row),
        matrix=_matrix(row["matrix"]),
        notes=_notes(row["notes"]),
        trace=trace(row["notes"]),
        origin=_pairs(_origin(row)),
        command=again.command(row),
    )


def _figures(row: Row) -> Iterator[tuple[str, str]]:
    yield "Avg", f"{percent(row['avg'], 2)} %"
    yield "Last", f"{percent(row['last'], 2)} %"
    yield "Forgetting", f"{percent(row['forgetting'], 2)} points"
    for title, field in (("MiB kept", "memory_mb"), ("at most", "memory_mb_max"), ("while training", "memory_mb_peak")):
        if row.get(field) is not None:
            yield title, mib(row[field])
    yield "Exemplars", str(row["exemplars"])
    yield "Time", duration(row["seconds"])


def _tasks(row: Row) -> Body:
    """Return a row per task; a column that the run has nothing for is left out."""
    count = len(row["curve"])
    columns = {
        "Task": NUMBERED.of(range(1, count + 1)),
        "All seen %": PERCENT.of(row["curve"]),
        "Old %": PERCENT.of(row["old"]),
        "New %": PERCENT.of(row["new"]),
        "Forgotten": PERCENT.of(_forgotten(row["matrix"])),
    }
    for title, field, cells in OPTIONAL:
        values = row.get(field)
        if values and len(values) == count and any(value is not None for value in values):
            columns[title] = cells.of(values)
    return _body(tuple(columns), map("".join, zip(*columns.values(), strict=True)))


def _forgotten(matrix: Sequence[Sequence[float]]) -> list[float | None]:
    """Return per task by how much its accuracy fell from its best to its last; none for the last task."""
    final = matrix[-1]
    best = [max([line[task] for line in matrix[task:]]) for task in range(len(final) - 1)]
    return [*(high - end for high, end in zip(best, final, strict=False)), None]


def _matrix(matrix: Sequence[Sequence[float]]) -> Body:
    rows = (NUMBERED[t] + "".join(SHADED.of(line)) for t, line in enumerate(matrix, start=1))
    return _body(("After", *map(str, range(1, len(matrix) + 1))), rows)


def _notes(notes: Sequence[dict[str, Any]]) -> Body | None:
    names = [name for name in dict.fromkeys(name for each in notes for name in each) if name not in TOLD]
    if not names:
        return None
    rows = (NUMBERED[t] + "".join(_said(each.get(name)) for name in names) for t, each in enumerate(notes, start=1))
    return _body(("Task", *(name.replace("_", " ") for name in names)), rows)


def _said(value: Any) -> str:
    """Return the cell of what a method noted, short enough for a table."""
    if value is None:
        return f"<td>{DASH}"
    if isinstance(value, bool):
        return "<td>yes" if value else "<td>no"
    if isinstance(value, int):
        return f"<td>{value}"
    if isinstance(value, float):
        return f"<td>{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"<td>{escape(text if len(text) <= LONG else f'{text[: LONG - 1]}...')}"


def _body(titles: tuple[str, ...], rows: Iterable[str]) -> Body:
    from markupsafe import Markup

    return Body(_head(titles), Markup("".join(rows)))


@cache
def _head(titles: tuple[str, ...]) -> Markup:
    from markupsafe import Markup

    return Markup("".join(f'<th scope="col">{escape(title)}' for title in titles))


def _pairs(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Return what is there of names and texts as pairs of a definition list."""
    from markupsafe import Markup

    return Markup("".join(f"<div><dt>{name}<dd>{escape(text)}</div>" for name, text in pairs if text))


def _origin(row: Row) -> Iterator[tuple[str, str]]:
    yield "run", row["key"]
    code = f"commit {row['commit'][:10]}" if row.get("commit") else f"version {row.get('version') or 'unknown'}"
    yield "code", code + (" with changes" if row.get("dirty") else "")
    yield "torch", str(row.get("torch") or "")
    yield "precision", arithmetic(row)
    host = f" on {row['host']}" if row.get("host") else ""
    yield "device", f"{row.get('device') or ''}{host}"
    yield "time", f"{row.get('started') or ''} to {row['finished']}" if row.get("finished") else ""
    yield "images", str(row.get("data") or "")
    yield "protocol", f"{row['protocol']} #{row['protocol_id']}"
    yield "same run as", str(row.get("copied_from") or "")
    yield "plugin", str(row.get("plugin") or "")
