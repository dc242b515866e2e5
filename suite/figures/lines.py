"""Which methods a figure shows, each with one style for all figures, and what their runs come to point by point."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from math import isfinite
from typing import Any, NamedTuple
from zlib import crc32

import protocols
from grace.methods import BUILT_IN, METHODS
from suite.declared import declared
from suite.figures.model import Number, Numbers, Panel
from suite.figures.style import STYLES
from suite.grouping import FAMILIES, Group, Row, Stream, Wanted, groups, streams
from suite.results import UPPER_BOUND
from suite.stats import Summary, summarise

LADDER = "auc="  # how the alignment of a point of a ladder begins
PANELS = 12  # of one figure; more go on another


class Line(NamedTuple):
    """One method with one variant of its settings, as it is on a line of a table."""

    slug: str
    label: str
    style: int
    rival: bool
    group: Group


class Points(NamedTuple):
    """Means, bounds and counts of runs, point by point."""

    y: Numbers
    low: Numbers
    high: Numbers
    n: tuple[int, ...]


def lines(rows: Sequence[Row], across: Sequence[Stream], lacking: Sequence[Wanted] = ()) -> list[Line]:
    """Return the methods in the order of a table, with slugs and labels that tell them apart."""
    down = groups(rows, lacking, across)
    styles, slugs, labels = _styles(down), dict[str, int](), dict[str, int]()
    found = []
    for group in down:
        rival = group.family != UPPER_BOUND
        name = f"{group.title} {group.variant}".strip() + ("" if rival else f" ({UPPER_BOUND})")
        slug = slug_of(f"{group.method} {group.variant}")
        found.append((group, rival, _apart(slug, slugs, "-"), _apart(name, labels, " #")))
    return [Line(slug, label, styles[group.method, group.variant], rival, group) for group, rival, slug, label in found]


def slug_of(text: str) -> str:
    """Return lower-case letters, digits and hyphens that stand for a text; with a checksum where much is lost."""
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return slug if re.sub(r"[^A-Za-z0-9]", "", text) and len(slug) <= 48 else f"{slug[:40]}-{crc32(text.encode()):08x}"


def _apart(name: str, taken: dict[str, int], sign: str) -> str:
    """Return the name, numbered where it is taken."""
    taken[name] = taken.get(name, 0) + 1
    return name if taken[name] == 1 else f"{name}{sign}{taken[name]}"


def _styles(down: Sequence[Group]) -> dict[tuple[str, str], int]:
    """Return a style per method and variant: our methods by their place, others by a checksum of their name."""
    own, taken = _own(), set[int]()
    found: dict[tuple[str, str], int] = {}
    free = max(STYLES, 2 * len(own)) - len(own)
    for method, variant in sorted((group.method, group.variant) for group in down):
        if method in own and not variant:
            found[method, variant] = own[method]
            continue
        start = crc32(f"{method} {variant}".encode()) % free
        place = next((p for i in range(free) if (p := (start + i) % free) not in taken), start)
        taken.add(place)
        found[method, variant] = len(own) + place
    return found


@cache
def _own() -> dict[str, int]:
    """Return the style of each method that comes with the suite: by family, so that rivals have unlike colours."""
    ranks = [*FAMILIES, UPPER_BOUND]
    families = {name: declared(name).family for name in METHODS if name in BUILT_IN}
    ordered = sorted(families, key=lambda name: ranks.index(families[name]) if families[name] in ranks else len(ranks))
    return {name: i for i, name in enumerate(ordered)}


def names(across: Sequence[Stream]) -> dict[Stream, str]:
    """Return what each protocol is called; two under one name are told apart as in tables."""
    plain = [name for name, _ in across]
    return {(name, id_): f"{name} #{id_}" if plain.count(name) > 1 else name for name, id_ in across}


def of_streams(rows: Sequence[Row]) -> tuple[list[Stream], dict[Stream, str]]:
    """Return the protocols that rows are of, and their names."""
    across = streams(rows, [])
    return across, names(across)


def number(value: Any) -> Number:
    """Return a finite number, or None."""
    return float(value) if isinstance(value, int | float) and isfinite(value) else None


def summary(values: Iterable[Any], scale: float = 1) -> Summary | None:
    """Return mean and deviation of the finite numbers among values, None where there are none."""
    return summarise(None if (v := number(value)) is None else v * scale for value in values)


def deviations(curves: Sequence[Sequence[Any]], scale: float = 1) -> Points:
    """Return means with a band of one sample standard deviation to each side; no band for a single run."""
    found = [summary(values, scale) for values in _transposed(curves)]
    return Points(
        tuple(s and s.mean for s in found),
        tuple(None if s is None or s.std is None else s.mean - s.std for s in found),
        tuple(None if s is None or s.std is None else s.mean + s.std for s in found),
        tuple(s.n if s else 0 for s in found),
    )


def extremes(curves: Sequence[Sequence[Any]], scale: float = 1) -> Points:
    """Return means with a band from the smallest to the largest."""
    columns = [[v * scale for value in values if (v := number(value)) is not None] for values in _transposed(curves)]
    means = [summary(column) for column in columns]
    return Points(
        tuple(s and s.mean for s in means),
        tuple(min(column, default=None) for column in columns),
        tuple(max(column, default=None) for column in columns),
        tuple(map(len, columns)),
    )


def _transposed(curves: Sequence[Sequence[Any]]) -> list[list[Any]]:
    longest = max(map(len, curves), default=0)
    return [[curve[t] for curve in curves if t < len(curve)] for t in range(longest)]


def seen_of(rows: Sequence[Row]) -> list[int] | None:
    """Return how many classes were seen after each task of a protocol, None where nothing says so."""
    for row in rows:
        if row.get("seen"):
            return [int(seen) for seen in row["seen"]]
    try:
        increments = protocols.get(rows[0]["protocol"]).increments
    except ValueError:  # a user's own protocol whose file is not at hand
        return None
    seen = [sum(increments[: t + 1]) for t in range(len(increments))]
    return seen if len(seen) == rows[0]["tasks"] and seen[-1] == rows[0]["classes"] else None


def base_of(row: Row) -> str:
    """Return the protocol that a run's budget was put on, or its protocol."""
    return str(row.get("base_protocol") or row["protocol"])


def off_ladders(rows: Sequence[Row]) -> list[Row]:
    """Return the rows without the points of ladders, which have a figure of their own, where there are others."""
    plain = [row for row in rows if not str(row.get("alignment") or "").startswith(LADDER)]
    others = {base_of(row) for row in rows} - {base_of(row) for row in plain}
    return [*plain, *(row for row in rows if base_of(row) in others)]


def pages(panels: Sequence[Panel]) -> list[tuple[Panel, ...]]:
    """Return the panels of each figure."""
    return [tuple(panels[i : i + PANELS]) for i in range(0, len(panels), PANELS)]


def named(values: Iterable[str], what: str) -> str:
    """Return `1 method: A`, `3 methods: A, B, C`."""
    there = list(values)
    return f"{counted(len(there), what)}: {', '.join(there)}"


def counted(number: int, what: str) -> str:
    """Return `1 run`, `3 runs`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def silent(down: Iterable[Line], shown: Iterable[Panel]) -> tuple[str, ...]:
    """Return a note on methods that have runs but no number to show, none where there are none."""
    there = {series.method for panel in shown for series in panel.series}
    left = [line.label for line in down if line.slug not in there]
    return (f"Not shown, for their runs have no number here: {', '.join(left)}.",) if left else ()


def ranking(ends: Iterable[tuple[str, Number]], unit: str, digits: int = 1, *, high: bool = True) -> str:
    """Return who is first, second and last: `best A 71.2%, second B 70.1%, last C 20.3%`; nothing for none."""
    there = sorted(((v, label) for label, v in ends if v is not None), reverse=high, key=lambda end: end[0])
    words = [("best" if high else "least"), "second", ("lowest" if high else "most")]
    shown = there if len(there) <= 2 else [*there[:2], there[-1]]
    return ", ".join(f"{word} {label} {v:.{digits}f}{unit}" for word, (v, label) in zip(words, shown, strict=False))
