"""Table: methods down, protocols across, as a plain value that is a pure function of result rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from suite.grouping import Row, Wanted
from suite.results import UPPER_BOUND

DASH, FAIL = "\N{EN DASH}", "fail"  # what stands for nothing to show, and for runs that all failed
TUNED = "\N{DOUBLE DAGGER}"  # at the name of a method whose settings were searched for
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
    about: str = ""  # what it is, in one sentence
    spread: bool = True  # whether there is room for the deviation


@dataclass(frozen=True)
class Cell:
    """One figure of one method on one protocol: `value` and `spread` as in the rows, None where there is none."""

    value: float | None = None
    spread: float | None = None
    mean: str = ""
    deviation: str = ""
    mark: Literal["", "best", "second"] = ""
    delta: str = ""  # signed difference to the first line, where a table is about differences
    values: tuple[float, ...] = ()  # of the runs, as in the rows, where there is more than one


@dataclass(frozen=True)
class Entry:
    """One method on one protocol: a cell per column, over n runs; `missing` more were wanted."""

    cells: tuple[Cell, ...]
    n: int
    missing: int
    short: bool  # fewer runs than wanted, or than another method has here
    failed: int = 0  # of the missing ones
    reason: str = ""  # why there can be no run

    @property
    def empty(self) -> str:
        """What a cell without a figure shows: `fail` where every run failed, or a dash."""
        return FAIL if not self.n and self.failed and self.failed == self.missing else DASH

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
    tuned: bool = False  # a search found settings of some of its runs

    @property
    def name(self) -> str:
        """What the first column says."""
        return f"{self.title}{TUNED * self.tuned} {self.variant}".rstrip()


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
    columns: tuple[Column, ...] = ()  # of this protocol alone, where protocols differ in them


@dataclass(frozen=True)
class Table:
    """What is to be shown, in order. `notes` define the columns and say where the numbers come from."""

    headings: tuple[Heading, ...]
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    preset: str = "benchmark"
    title: str = ""  # what it shows, in a line

    def under(self, heading: Heading) -> tuple[Column, ...]:
        """Return the columns of a protocol, as many as each of its entries has cells."""
        return heading.columns or self.columns

    @property
    def short(self) -> bool:
        """Whether any entry is short of runs."""
        return any(entry.short for entry in self._entries())

    @property
    def failed(self) -> bool:
        """Whether all runs of any entry failed."""
        return any(entry.empty == FAIL for entry in self._entries())

    @property
    def tuned(self) -> bool:
        """Whether a search found settings of any method."""
        return any(line.tuned for block in self.blocks for line in block.lines)

    @property
    def marked(self) -> bool:
        """Whether any figure is marked as best."""
        return any(cell.mark for entry in self._entries() for cell in entry.cells)

    def _entries(self) -> Iterator[Entry]:
        yield from (entry for block in self.blocks for line in block.lines for entry in line.entries)

    @classmethod
    def of(
        cls, rows: Iterable[Row], wanted: Iterable[Wanted] | None = None, *, digits: int = 1, allow_smoke: bool = False
    ) -> Table:
        """Return the benchmark table of result rows; with `wanted`, of those runs alone, the missing ones counted.

        suite.tables.table makes the others. Raises SuiteError when there is nothing to show, or nothing but smoke runs.
        """
        from suite.tables import table

        return table("benchmark", rows, wanted, digits=digits, allow_smoke=allow_smoke)
