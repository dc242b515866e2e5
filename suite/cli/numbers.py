"""Published numbers as people read them, on a protocol or of a method, and tables under titles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.text import Text

from suite.cli.facts import Facts
from suite.cli.listing import grid
from suite.published import METRICS, Published, of, on, relatives
from suite.sweep import find_protocol

TAGS = {
    "R": "R read in a repository",
    "C": "C in code",
    "G": "G digitised from a figure",
    "A": "A in an aggregator's excerpt, unverified",
}
Titled = tuple[str, Mapping[str, str]]  # a row, and the title it stands under


def numbers_of(facts: Facts) -> list[Published] | None:
    """Return what is published of a method or on a protocol; None for what has no numbers."""
    if facts["kind"] == "method":
        return of(facts["name"])
    return on(find_protocol(facts["name"])) if facts["kind"] == "protocol" else None


def numbers(facts: Facts, entries: Sequence[Published]) -> Iterator[RenderableType]:
    """Say what is published: single figures, then curves; on a protocol method by method, of a method the reverse."""
    of_method = facts["kind"] == "method"
    ordered = _together(entries, of_method)
    for heading, curves in (("published, in %", False), ("published, in % after each task", True)):
        titled = [(e.protocol.name if of_method else "", number(e)) for e in ordered if (e.metric == "curve") == curves]
        columns = (
            ["method", "value", "head", "source"] if curves else ["method", "metric", "value", "head", "tag", "source"]
        )
        if titled:
            yield Text(f"\n{heading}", style="bold")
            yield from sections(titled, columns[of_method:])
    if entries:
        told = [words for tag, words in TAGS.items() if tag in {entry.tag for entry in entries}]
        misread = "; +-: by how much it may have been misread" if any(entry.error for entry in entries) else ""
        yield Text(f"\ntag: {', '.join(told)}{misread}", style="dim")
    near = relatives(find_protocol(facts["name"])) if facts["kind"] == "protocol" else []
    if near:
        yield Text(f"\nnumbers also on {', '.join(near)}", style="dim")


def number(entry: Published) -> dict[str, str]:
    """Return a published number as people read it; a curve without its error and notes."""
    curve = entry.metric == "curve"
    mind = "" if curve else "".join(f"; {words}" for words in (entry.recipe, entry.note) if words)
    return {
        "method": entry.method,
        "metric": entry.metric,
        "value": entry.text,
        "head": entry.head,
        "tag": entry.tag,
        "source": f"{entry.source}{'' if entry.verified else ', unverified'}{mind}",
    }


def sections(titled: Sequence[Titled], columns: Sequence[str]) -> Iterator[RenderableType]:
    """Yield rows as tables under their titles; columns are as wide in all of them, the last one may be broken."""
    widths = {name: max(len(name), *(len(row[name]) for _, row in titled)) for name in columns[:-1]}
    for i, (title, rows) in enumerate(groupby(titled, lambda pair: pair[0])):
        if title:
            yield Text(title, style="cyan")
        table = grid(columns, [dict(row) for _, row in rows])
        table.show_header = i == 0
        for column, name in zip(table.columns, columns, strict=True):
            column.min_width, column.justify = widths.get(name), "left"
            column.style = "cyan" if name == "method" else ""
        yield table


def _together(entries: Sequence[Published], of_method: bool) -> list[Published]:
    """Return the numbers of one method, or on one protocol, one after another, in the order of their first ones."""
    keys = [entry.protocol.name if of_method else entry.method for entry in entries]
    place = {
        id(entry): (keys.index(key), METRICS.index(entry.metric)) for entry, key in zip(entries, keys, strict=True)
    }
    return sorted(entries, key=lambda entry: place[id(entry)])
