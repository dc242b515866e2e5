"""Figure of coverage: how many of the runs wanted are done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from suite.figures.lines import counted, lines, names
from suite.figures.model import Cell, Figure, Grid, Panel
from suite.grouping import Row, Wanted, streams

DONE = "Runs done per method and protocol."
OF = "Runs done of runs wanted; a dash where a run cannot be."
DASH = "\N{EN DASH}"


def coverage(rows: Sequence[Row], wanted: Sequence[Wanted] | None = None) -> list[Figure]:
    """Runs done, of those wanted where that is known: methods down, protocols across."""
    plan = None if wanted is None else {each.key: each for each in wanted}
    there = [row for row in rows if plan is None or row["key"] in plan]
    done = {row["key"] for row in there}
    lacking = [each for key, each in (plan or {}).items() if key not in done]
    if not there and not lacking:
        return []
    across = streams(there, lacking)
    called, down = names(across), lines(there, across, lacking)
    finished = Counter((row["method"], row["protocol"], row["protocol_id"]) for row in there)
    open_ = Counter((each.method, each.protocol) for each in lacking if not each.reason)
    failed = Counter((each.method, each.protocol) for each in lacking if each.failed and not each.reason)
    never = Counter((each.method, each.protocol) for each in lacking if each.reason)
    methods = {line.group.method: line for line in reversed(down)}  # variants of one method share a row
    rows_ = [line for line in down if methods[line.group.method] is line]
    cells = tuple(
        tuple(
            _cell(
                finished[line.group.method, *stream],
                open_[line.group.method, stream[0]],
                failed[line.group.method, stream[0]],
                never[line.group.method, stream[0]],
                plan is not None,
            )
            for stream in across
        )
        for line in rows_
    )
    labels = tuple(line.group.title or line.group.method for line in rows_)
    slugs = tuple(line.slug for line in rows_)
    grid = Grid(labels, tuple(called.values()), cells, slugs)
    total = len(there) + sum(open_.values())
    said = f"{len(there)} of {counted(total, 'run')} done" if plan is not None else f"{counted(len(there), 'run')} done"
    size = f"{counted(len(labels), 'method')} and {counted(len(across), 'protocol')}"
    alt = f"Grid of {size}: {said}{_lacking(grid)}. Methods: {', '.join(labels)}."
    panel = Panel("", "", "", grid=grid)
    return [Figure("coverage", "coverage", f"Coverage: {said}", (panel,), alt, (OF if plan is not None else DONE,))]


def _cell(done: int, lacking: int, failed: int, never: int, planned: bool) -> Cell:
    """Return a field with what it says; a protocol of which there are two has what lacks in both."""
    total = done + lacking
    if not total:
        return Cell(0.0, DASH, "cannot") if never else Cell(None)
    text = f"{done}/{total}" if planned else str(done)
    if failed and failed == lacking:
        return Cell(done / total, f"{text} fail", "failed", done)
    return Cell(done / total, text, "none" if not done else "some" if lacking else "done", done)


def _lacking(grid: Grid) -> str:
    """Return which fields are not done, a few of them by name."""
    short = [
        f"{row} on {column} {cell.text}"
        for row, cells in zip(grid.rows, grid.cells, strict=True)
        for column, cell in zip(grid.columns, cells, strict=True)
        if cell.state in ("some", "none", "failed")
    ]
    more = f" and {len(short) - 5} more" if len(short) > 5 else ""
    return f"; short: {', '.join(short[:5])}{more}" if short else ""
