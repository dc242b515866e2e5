"""From runs to a table: what stands in each cell, which figures are marked, which entries are short of runs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from math import isfinite
from typing import Any, NamedTuple

from suite.caption import about, origins, warnings
from suite.grouping import Group, Row, Stream, groups, stream_of, streams
from suite.results import UPPER_BOUND
from suite.stats import Summary, summarise
from suite.table import SAME, Block, Cell, Column, Entry, Heading, Line, Table
from suite.tables.choice import Chosen

RUNS = ("n: runs, each with its own class order or training seed; \N{PLUS-MINUS SIGN}: sample standard deviation over "
        "them (divisor n - 1)")  # fmt: skip


class Layout(NamedTuple):
    """What tells presets apart: the columns, of all protocols or of each, and what is said around them."""

    preset: str
    title: str
    columns: tuple[Column, ...]
    by_protocol: Mapping[Stream, tuple[Column, ...]] = {}
    abouts: Mapping[Stream, str] = {}
    notes: tuple[str, ...] = ()
    labels: Mapping[str, str] | None = None  # variants of methods by key, where settings do not tell
    sources: tuple[Row, ...] = ()  # runs that rows were made of, where rows are no runs


def filled(chosen: Chosen, layout: Layout) -> Table:
    """Return the table of the chosen runs, methods down and protocols across."""
    # whatever order rows come in, the same table comes out
    chosen = chosen.having(sorted(chosen.rows, key=lambda row: (row["order_seed"], row["train_seed"], row["key"])))
    across = streams(chosen.rows, chosen.lacking)
    down = groups(chosen.rows, chosen.lacking, across, layout.labels)
    contests = [_contest(stream, down, layout.by_protocol.get(stream, layout.columns)) for stream in across]
    blocks = tuple(
        Block(family, tuple(_line(group, contests) for group in members))
        for family, members in groupby(down, lambda group: group.family)
    )
    every = {column: None for contest in contests for column in contest.columns}
    runs = layout.sources or chosen.rows
    beware = (
        *chosen.remarks,
        *warnings(runs),
        *no_numbers(chosen.rows, every),
        *_unheld(chosen.rows, every),
        *chosen.why,
    )
    notes = (*defined(runs, every), *layout.notes, *_impossible(down, across), *origins(runs))
    headings = _headings(chosen.rows, across, layout)
    return Table(headings, layout.columns, blocks, notes, beware, layout.preset, layout.title)


def defined(rows: Sequence[Row], columns: Iterable[Column]) -> Iterator[str]:
    """Yield what each column is, what n and the deviation are, and by which readouts accuracies are."""
    sentences = dict.fromkeys(f"{column.title}: {column.about}." for column in columns if column.about)
    yield from sentences
    titles: dict[str, set[str]] = {}
    for row in rows:
        titles.setdefault(row["readout"], set()).add(row["title"])
    titles.pop("linear", None)
    if titles:
        named = "; ".join(f"{readout} readout: {', '.join(sorted(of))}" for readout, of in sorted(titles.items()))
        yield f"Accuracies are not by the linear head where methods have another: {named}."
    yield f"{RUNS}."


def _headings(rows: Sequence[Row], across: Sequence[Stream], layout: Layout) -> tuple[Heading, ...]:
    names = Counter(name for name, _ in across)
    first = {stream_of(row): row for row in reversed(rows)}
    found = []
    for stream in across:
        words = layout.abouts.get(stream) or (about(first[stream]) if stream in first else "no run yet")
        name = f"{stream[0]} #{stream[1]}" if names[stream[0]] > 1 else stream[0]
        found.append(Heading(name, words, layout.by_protocol.get(stream, ())))
    return tuple(found)


class _Contest(NamedTuple):
    """What the methods on one protocol are measured by: the most runs of any, and per column the two best means."""

    stream: Stream
    columns: tuple[Column, ...]
    most: int
    podiums: list[tuple[float, ...]]  # empty where there are no two to compare, one mean where all tie


def _contest(stream: Stream, down: Sequence[Group], columns: tuple[Column, ...]) -> _Contest:
    podiums: list[tuple[float, ...]] = []
    rivals = [group.runs[stream] for group in down if stream in group.runs and group.family != UPPER_BOUND]
    for column in columns:
        summaries = [_summary(runs, column.field) for runs in rivals] if column.best else []
        means = sorted((s.mean for s in summaries if s), reverse=column.best == "high")
        behind = [mean for mean in means if abs(mean - means[0]) > SAME]
        podiums.append((means[0], *behind[:1]) if len(means) > 1 else ())
    return _Contest(stream, columns, max(len(group.runs.get(stream, ())) for group in down), podiums)


def _line(group: Group, contests: Sequence[_Contest]) -> Line:
    entries = []
    for stream, columns, most, podiums in contests:
        runs, missing = group.runs.get(stream, []), group.missing.get(stream, 0)
        ranked = [() if group.family == UPPER_BOUND else podium for podium in podiums]
        cells = tuple(_cell(runs, column, podium) for column, podium in zip(columns, ranked, strict=True))
        short = bool(runs) and (missing > 0 or len(runs) < most)
        failed, reason = group.failed.get(stream, 0), group.reasons.get(stream, "")
        entries.append(Entry(cells, len(runs), missing, short, failed, "" if runs else reason))
    return Line(group.method, group.title, group.variant, group.reference, tuple(entries), group.tuned)


def _summary(runs: Sequence[Row], field: str) -> Summary | None:
    """Return the summary of a field; None where no run has it, and where one has it and it is no number."""
    values = [run.get(field) for run in runs]
    return summarise(values) if all(value is None or isfinite(value) for value in values) else None


def _cell(runs: Sequence[Row], column: Column, podium: tuple[float, ...]) -> Cell:
    found = _summary(runs, column.field)
    if found is None:
        return Cell()
    places = [i for i, value in enumerate(podium) if abs(value - found.mean) <= SAME]
    mark: Any = ("best", "second")[places[0]] if places else ""
    shown = found.std is not None and column.best and column.spread
    deviation = text_of(found.std or 0.0, column) if shown else ""
    values = tuple(float(run[column.field]) for run in runs if run.get(column.field) is not None)
    return Cell(
        found.mean, found.std, text_of(found.mean, column), deviation, mark, values=values if found.n > 1 else ()
    )


def text_of(value: float, column: Column, sign: str = "") -> str:
    """Return a value as its column shows it."""
    shown = round(value * column.scale, column.digits) + 0.0  # adding zero turns -0.0 into 0.0
    return f"{shown:{sign}.{column.digits}f}"


def no_numbers(rows: Sequence[Row], columns: Iterable[Column]) -> Iterator[str]:
    """Yield where figures are NaN or infinite: they are in no mean, and stand in no table."""
    found: dict[tuple[str, str], list[set[str]]] = defaultdict(lambda: [set(), set()])
    shown = [(column.field, column.title) for column in columns]
    for row in rows:
        bad = {title for field, title in shown if isinstance(row.get(field), float) and not isfinite(row[field])}
        if bad:
            runs, titles = found[row["title"], row["protocol"]]
            runs.add(row["key"])
            titles |= bad
    for (title, protocol), (runs, titles) in sorted(found.items()):
        count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
        yield f"{title} on {protocol}: {', '.join(sorted(titles))} of {count} not a number, a dash is shown"


def _unheld(rows: Sequence[Row], columns: Iterable[Column]) -> Iterator[str]:
    """Yield the columns that some records are too old for: a mean over the others would not say so."""
    lacking: dict[str, int] = {}
    for column in columns:
        if not column.best and not column.id.startswith("saved"):
            lacking[column.title] = sum(row.get(column.field) is None for row in rows)
    by_count: dict[int, list[str]] = {}
    for title, count in lacking.items():
        by_count.setdefault(count, []).append(title)
    for count, titles in sorted(by_count.items()):
        if count:
            held = "the record of 1 run does" if count == 1 else f"the records of {count} runs do"
            yield f"{held} not hold {', '.join(titles)}: they are of an earlier version, or it was not measured"


def _impossible(down: Sequence[Group], across: Sequence[Stream]) -> Iterator[str]:
    """Yield why some runs cannot be, methods of one reason together."""
    names: dict[tuple[str, str], list[str]] = {}
    for group in down:
        for stream in across:
            if stream in group.reasons and not group.runs.get(stream):
                names.setdefault((stream[0], group.reasons[stream]), []).append(
                    f"{group.title} {group.variant}".strip()
                )
    for (protocol, reason), titles in names.items():
        yield f"No {', '.join(titles)} on {protocol}: {reason.rstrip('.')}."
