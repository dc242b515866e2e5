"""Ours beside the published numbers as a table: a line per method, metric and head, protocols across."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from suite.beside import SAME, Found, Identities, Numbers, identity, numbers
from suite.caption import about, origins, warnings
from suite.errors import Exit, SuiteError
from suite.grouping import Row, Stream, stream_of, streams
from suite.metric import METRICS
from suite.published import METRICS as PUBLISHED
from suite.published import SETTINGS, Published
from suite.table import Block, Cell, Column, Entry, Heading, Line, Table

TITLE = "Beside published numbers"
UNVERIFIED = "?"  # behind a published number that nobody read where its authors put it
TAGS = {
    "R": "read in a repository",
    "C": "read in code",
    "G": "digitised from a figure",
    "A": "seen in an aggregator's excerpt only, unverified",
}
ORDER = (*SETTINGS, "class orders", "head", "recipe", "epochs")  # as suite.comparison looks at them
MOST = 12  # methods and protocols that are named behind one difference


def published_table(
    rows: Iterable[Row], *, digits: int = 1, identities: Identities | None = None, remarks: Sequence[str] = ()
) -> Table:
    """Return what is published on the protocols of the rows, or one setting away, beside the runs that come nearest.

    `identities` are the protocols' by their id, as records hold them; without, they are looked up by name, and runs on
    a protocol that is no longer what its name says are left out. Published numbers of methods that were not run have a
    dash for ours. `digits` is of percentages, `remarks` go before the warnings. Raises SuiteError where nothing is
    published. Curves are left to `verify`.
    """
    rows, given = [row for row in rows if row.get("settled") is not False], identities or {}
    known = {id_: found for name, id_ in streams(rows, []) if (found := given.get(id_) or identity(name, id_))}
    shown = [row for row in rows if row["protocol_id"] in known]
    every, lost = numbers(shown, known), len(rows) - len(shown)
    across = [stream for stream in streams(shown, []) if any(stream in each.found for each in every)]
    if not across:
        raise SuiteError(_nothing(len(rows), lost), Exit.NOTHING)
    columns, short, there = _columns(digits), _sources(every), set(across)
    blocks = tuple(
        Block(family, tuple(line for each in members for line in _lines(each, across, digits, short)))
        for family, members in groupby(every, lambda each: each.group.family)
    )
    used = [row for row in shown if stream_of(row) in there]
    gone = [f"{_count(lost, 'run')} left out: their protocol is no longer what its name says"] if lost else []
    notes = (*_legend(short), *_settings(every), *origins(used))
    beware = (*remarks, *gone, *warnings(used))
    return Table(tuple(_headings(used, across)), columns, blocks, notes, beware, "published", TITLE)


def _columns(digits: int) -> tuple[Column, ...]:
    return (
        Column("ours", "Ours", "ours", 100, digits),
        Column("published", "Published", "published", 100, digits),
        Column("difference", "Diff.", "difference", 100, digits),
        Column("setting", "Setting", "setting", 1, 0),
        Column("source", "Source", "source", 1, 0),
    )


def _sources(every: Sequence[Numbers]) -> dict[tuple[str, str], str]:
    """Return a short name, `G1`, for each source with its tag, which a column has no room for."""
    entries = [each.entry for of in every for found in of.found.values() for each in found]
    counts, short = Counter[str](), dict[tuple[str, str], str]()
    for tag, source in sorted(dict.fromkeys((entry.tag, entry.source) for entry in entries)):
        counts[tag] += 1
        short[tag, source] = f"{tag}{counts[tag]}"
    return short


def _lines(of: Numbers, across: Sequence[Stream], digits: int, short: Mapping[tuple[str, str], str]) -> Iterator[Line]:
    """Yield a line per metric and head; more where a protocol has several such numbers."""
    places: dict[tuple[int, str, int], dict[Stream, Found]] = {}
    for stream, entries in of.found.items():
        seen = Counter[tuple[int, str]]()
        for each in entries:
            head = "" if each.entry.head in ("linear", "unknown") else each.entry.head
            place = PUBLISHED.index(each.entry.metric), head
            places.setdefault((*place, seen[place]), {})[stream] = each
            seen[place] += 1
    group = of.group
    for (metric, head, i), found in sorted(places.items()):
        words = [
            group.variant,
            METRICS[PUBLISHED[metric]].title,
            f"({head})" if head else "",
            f"({i + 1})" if i else "",
        ]
        cells = tuple(_entry(found.get(stream), digits, short) for stream in across)
        yield Line(group.method, group.title, " ".join(filter(None, words)), group.reference, cells)


def _entry(found: Found | None, digits: int, short: Mapping[tuple[str, str], str]) -> Entry:
    if found is None:
        return Entry((Cell(),) * len(_columns(digits)), 0, 0, False)
    entry, ours = found.entry, found.ours
    cells = (
        _cell(ours.ours.mean, ours.ours.std, digits) if ours else Cell(),
        _published(entry, digits),
        _cell(ours.difference, None, digits, "+") if ours else Cell(),
        Cell(mean=found.setting),
        Cell(mean=short[entry.tag, entry.source]),
    )
    return Entry(cells, ours.ours.n if ours else 0, 0, False)


def _published(entry: Published, digits: int) -> Cell:
    cell = _cell(entry.values[0], entry.error or None, digits)
    return cell if entry.verified else replace(cell, mean=cell.mean + UNVERIFIED)


def _cell(value: float, spread: float | None, digits: int, sign: str = "") -> Cell:
    """Return percentages or points as a cell, which holds fractions."""
    deviation = "" if spread is None else _text(spread, digits)
    of_spread = None if spread is None else round(spread / 100, 12)
    return Cell(round(value / 100, 12), of_spread, _text(value, digits, sign), deviation)  # 0.232 of 23.2


def _text(value: float, digits: int, sign: str = "") -> str:
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"  # adding zero turns -0.0 into 0.0


def _headings(rows: Sequence[Row], across: Sequence[Stream]) -> Iterator[Heading]:
    first = {stream_of(row): row for row in reversed(rows)}
    names = Counter(name for name, _ in across)
    for stream in across:
        yield Heading(f"{stream[0]} #{stream[1]}" if names[stream[0]] > 1 else stream[0], about(first[stream]))


def _legend(short: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """Yield what the columns are, and the sources."""
    sign = "\N{PLUS-MINUS SIGN}"
    yield (
        f"Ours: mean {sign} sample standard deviation (divisor n - 1) over n runs, by the head that the source has, "
        "in %; a dash: not run here. Avg: mean over tasks of the accuracy on all classes seen. Last: the last of them."
    )
    unverified = f"; {UNVERIFIED}: unverified" if any(tag == "A" for tag, _ in short) else ""
    misread = f"Published: in %, {sign} by how much it may have been misread{unverified}."
    yield f"{misread} Diff.: ours minus published, in points."
    yield f"Setting: the first that differs, of {', '.join(ORDER)}; {SAME}: none that is known."
    for tag, words in TAGS.items():
        named = [f"{name} {source}" for (of, source), name in short.items() if of == tag]
        if named:
            yield f"Source, {words}: {'; '.join(named)}."


def _settings(every: Sequence[Numbers]) -> Iterator[str]:
    """Yield what differs in full, and what else to mind, with the methods and protocols that it is about."""
    names = defaultdict[str, dict[str, None]](dict)
    for of in every:
        for (protocol, _), entries in of.found.items():
            for words in (words for each in entries for words in each.remarks):
                names[words][f"{of.group.title} on {protocol}"] = None
    for words, found in names.items():
        more = len(found) - MOST
        told = ", ".join(list(found)[:MOST]) + (f" and {more} more" if more > 0 else "")
        yield f"{words[0].upper()}{words[1:]} ({told})."


def _nothing(rows: int, lost: int) -> str:
    other = f"; {_count(lost, 'run')} on protocols that are no longer what their names say" if lost else ""
    return f"nothing is published within one setting of {_count(rows, 'finished run')}{other}; show METHOD says what is"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
