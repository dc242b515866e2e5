"""Table: methods down, protocols across, as a plain value that is a pure function of result rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple

from suite.caption import about, definitions, origins, warnings
from suite.errors import Exit, SuiteError
from suite.grouping import Group, Row, Stream, Wanted, groups, streams
from suite.results import UPPER_BOUND
from suite.stats import summarise

SAME = 1e-12  # means of the same numbers may differ by their rounding


@dataclass(frozen=True)
class Column:
    """One figure: the field of a row that it summarises, and how it is shown."""

    id: str
    title: str
    field: str
    scale: float
    digits: int
    best: Literal["", "high", "low"] = ""  # which end is marked; marked figures show their deviation


@dataclass(frozen=True)
class Cell:
    """One figure of one method on one protocol: `value` and `spread` as in the rows, None where there is none."""

    value: float | None = None
    spread: float | None = None
    mean: str = ""
    deviation: str = ""
    mark: Literal["", "best", "second"] = ""


@dataclass(frozen=True)
class Entry:
    """One method on one protocol: a cell per column, over n runs; `missing` more were wanted."""

    cells: tuple[Cell, ...]
    n: int
    missing: int
    short: bool  # fewer runs than wanted, or than another method has here

    @property
    def count(self) -> str:
        """The number of runs as it is shown: `2`, or `1/2` where one is missing."""
        return f"{self.n}/{self.n + self.missing}" if self.missing else str(self.n)


@dataclass(frozen=True)
class Line:
    """One method; `variant` tells its settings apart where one protocol has runs with several."""

    method: str
    title: str
    variant: str
    reference: str
    entries: tuple[Entry, ...]  # one per heading

    @property
    def name(self) -> str:
        """What the first column says."""
        return f"{self.title} {self.variant}".rstrip()


@dataclass(frozen=True)
class Block:
    """The methods of one family."""

    family: str
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """What stands above its lines."""
        return f"{self.family} (not ranked)" if self.family == UPPER_BOUND else self.family


@dataclass(frozen=True)
class Heading:
    """One protocol: its name, and what it is in words."""

    protocol: str
    about: str


@dataclass(frozen=True)
class Table:
    """What is to be shown, in order. `notes` define the columns and say where the numbers come from."""

    headings: tuple[Heading, ...]
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def short(self) -> bool:
        """Whether any entry is short of runs."""
        return any(entry.short for block in self.blocks for line in block.lines for entry in line.entries)

    @classmethod
    def of(
        cls, rows: Iterable[Row], wanted: Iterable[Wanted] | None = None, *, digits: int = 1, allow_smoke: bool = False
    ) -> Table:
        """Return the table of result rows; with `wanted`, of those runs alone, the missing ones counted.

        `digits` is of percentages. Raises SuiteError when there is nothing to show, or nothing but smoke runs.
        """
        plan = None if wanted is None else {each.key: each for each in wanted}
        there = [row for row in rows if plan is None or row["key"] in plan]
        shown = there if allow_smoke else [row for row in there if not row["smoke"]]
        lacking = [each for key, each in (plan or {}).items() if key not in {row["key"] for row in shown}]
        if not shown and (there or not lacking):
            raise _nothing(len(there))
        across, columns = streams(shown, lacking), _columns(shown, digits)
        down = groups(shown, lacking, across)
        contests = [_contest(stream, down, columns) for stream in across]
        blocks = [
            Block(family, tuple(_line(group, columns, contests) for group in members))
            for family, members in groupby(down, lambda group: group.family)
        ]
        notes = (*definitions(shown), *origins(shown))
        return cls(_headings(shown, across), columns, tuple(blocks), notes, warnings(shown, len(there) - len(shown)))


def _nothing(smoke: int) -> SuiteError:
    if smoke == 0:
        return SuiteError("there is no finished run to make a table of", Exit.NOTHING)
    runs = "the only run is a smoke run" if smoke == 1 else f"all {smoke} runs are smoke runs"
    return SuiteError(f"{runs} (--limit-epochs), no results; add --smoke to see them all the same", Exit.NOTHING)


def _columns(rows: Sequence[Row], digits: int) -> tuple[Column, ...]:
    sizes = [row["memory_mb"] for row in rows]
    return (
        Column("params", "#P (M)", "params_final", 1e-6, 2),
        Column("mb", "MB", "memory_mb", 1, 2 if sizes and max(sizes) < 10 else 1),
        Column("avg", "Avg", "avg", 100, digits, "high"),
        Column("last", "Last", "last", 100, digits, "high"),
        Column("forgetting", "Forgetting", "forgetting", 100, digits, "low"),
    )


def _headings(rows: Sequence[Row], across: Sequence[Stream]) -> tuple[Heading, ...]:
    names = [name for name, _ in across]
    first = {(row["protocol"], row["protocol_id"]): about(row) for row in reversed(rows)}
    return tuple(
        Heading(f"{name} #{id_}" if names.count(name) > 1 else name, first.get((name, id_), "no run yet"))
        for name, id_ in across
    )


class _Contest(NamedTuple):
    """What the methods on one protocol are measured by: the most runs of any, and per column the two best means."""

    stream: Stream
    most: int
    podiums: list[tuple[float, ...]]  # empty where there are no two to compare, one mean where all tie


def _contest(stream: Stream, down: Sequence[Group], columns: Sequence[Column]) -> _Contest:
    podiums: list[tuple[float, ...]] = []
    for column in columns:
        rivals = [group.runs[stream] for group in down if column.best and group.family != UPPER_BOUND]
        summaries = [summarise(run[column.field] for run in runs) for runs in rivals]
        means = sorted((s.mean for s in summaries if s), reverse=column.best == "high")
        behind = [mean for mean in means if abs(mean - means[0]) > SAME]
        podiums.append((means[0], *behind[:1]) if len(means) > 1 else ())
    return _Contest(stream, max(len(group.runs[stream]) for group in down), podiums)


def _line(group: Group, columns: Sequence[Column], contests: Sequence[_Contest]) -> Line:
    entries = []
    for stream, most, podiums in contests:
        runs, missing = group.runs[stream], group.missing[stream]
        ranked = [() if group.family == UPPER_BOUND else podium for podium in podiums]
        cells = tuple(_cell(runs, column, podium) for column, podium in zip(columns, ranked, strict=True))
        entries.append(Entry(cells, len(runs), missing, bool(runs) and (missing > 0 or len(runs) < most)))
    return Line(group.method, group.title, group.variant, group.reference, tuple(entries))


def _cell(runs: Sequence[Row], column: Column, podium: tuple[float, ...]) -> Cell:
    found = summarise(run[column.field] for run in runs)
    if found is None:
        return Cell()
    places = [i for i, value in enumerate(podium) if abs(value - found.mean) <= SAME]
    mark: Any = ("best", "second")[places[0]] if places else ""
    deviation = "" if found.std is None or not column.best else _text(found.std * column.scale, column.digits)
    return Cell(found.mean, found.std, _text(found.mean * column.scale, column.digits), deviation, mark)


def _text(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # adding zero turns -0.0 into 0.0
