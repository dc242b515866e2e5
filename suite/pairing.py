"""Which runs of two methods are alike otherwise: same protocol, class order, seed, images, precision, workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

from suite.errors import Exit, SuiteError, unknown
from suite.grouping import Row, arithmetic, groups, streams
from suite.results import Where


@dataclass(frozen=True)
class Side:
    """What is compared: a method's runs, all of them or those with some settings."""

    method: str
    settings: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, text: str) -> Side:
        """Read `method` or `method@field=value,field=value`; raises SuiteError for anything else."""
        method, at, rest = text.partition("@")
        pairs = [[part.strip() for part in each.partition("=")] for each in rest.split(",")] if at else []
        if not method or not all(map(all, pairs)):
            raise SuiteError(f'"{text}": METHOD or METHOD@FIELD=VALUE is wanted', Exit.USAGE)
        return cls(method.strip(), tuple((field, value) for field, _, value in pairs))

    @property
    def suffix(self) -> str:
        """The settings as they are typed, nothing for all runs."""
        return "@" + ",".join(f"{field}={value}" for field, value in self.settings) if self.settings else ""

    def __str__(self) -> str:
        """Return the side as it is typed."""
        return self.method + self.suffix

    def own(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows of its runs; raises SuiteError for a field that none of the method's runs has."""
        every = [row for row in rows if row["method"] == self.method]
        if not self.settings or not every:
            return every
        known = {field for row in every for field in _settings(row)}
        for field, _ in self.settings:
            if field not in known:
                raise unknown(f"setting of {self.method}", field, known)
        wanted = Where({field: [value] for field, value in self.settings})
        return [row for row in every if wanted(_settings(row))]


class Alike(NamedTuple):
    """What two runs must share to be a pair."""

    protocol: str
    protocol_id: str
    arithmetic: str  # precision and workers, without that by which the sides are told apart
    order_seed: int
    train_seed: int
    data: str

    @property
    def place(self) -> tuple[str, str, str]:
        """Protocol, its id, precision and workers: where pairs are counted together."""
        return self[:3]


class Match(NamedTuple):
    """One run of each side that are a pair."""

    alike: Alike
    rows: tuple[Row, Row]


def matched(sides: tuple[Side, Side], own: Sequence[Sequence[Row]], field: str) -> tuple[list[Match], list[Row]]:
    """Return the pairs that have a value of `field`, and the runs that are left, in the order of the table.

    Raises SuiteError where a side has runs with several settings in one place: they are no repetitions.
    """
    free = {name for side in sides for name, _ in side.settings}
    if both := {row["key"] for row in own[0]} & {row["key"] for row in own[1]}:
        raise SuiteError(f"{sides[0]} and {sides[1]} are the same runs, {len(both)} of them", Exit.USAGE)
    tables: list[dict[Alike, Row]] = []
    held = [[_alike(row, free) for row in rows] for rows in own]
    shared = {alike.place for alike in held[0]} & {alike.place for alike in held[1]}
    for side, rows, keys in zip(sides, own, held, strict=True):
        _one_setting(side, [row for row, alike in zip(rows, keys, strict=True) if alike.place in shared], free)
        tables.append(dict(zip(keys, rows, strict=True)))
    pairs = {alike: (row, tables[1][alike]) for alike, row in tables[0].items() if alike in tables[1]}
    there = {alike for alike, two in pairs.items() if all(known(row, field) for row in two)}
    rank = {stream: i for i, stream in enumerate(streams([row for rows in own for row in rows], []))}
    ordered = sorted(there, key=lambda alike: (rank[alike[:2]], *alike[2:]))
    used = {row["key"] for alike in there for row in pairs[alike]}
    lone = [row for rows in own for row in rows if row["key"] not in used]
    lone.sort(key=lambda row: (rank[row["protocol"], row["protocol_id"]], row["order_seed"], row["train_seed"]))
    return [Match(alike, pairs[alike]) for alike in ordered], lone


def known(row: Row, field: str) -> bool:
    """Tell whether a run has a value, and one that is a number."""
    value = row.get(field)
    return value is not None and isfinite(value)


def why(row: Row, others: Sequence[Row], other: Side, field: str) -> str:
    """Return why a run has none to compare it with among the `others`, the runs of the other side."""
    if not known(row, field):
        return f"it has no {field}"
    there = [each for each in others if each["protocol"] == row["protocol"]]
    if not there:
        return f"{other} was not run there"
    same = [each for each in there if all(each[name] == row[name] for name in ("order_seed", "train_seed"))]
    if not same:
        return f"no such run of {other}"
    if all(each["protocol_id"] != row["protocol_id"] for each in same):
        return f"{other} was run on another protocol of that name"
    if all(arithmetic(each) != arithmetic(row) for each in same):
        return f"{other} was run with {' or '.join(sorted({arithmetic(each) for each in same}))}, not {arithmetic(row)}"
    if all(not known(each, field) for each in same):
        return f"that run of {other} has no {field}"
    return f"{other} was run on other images"


def _alike(row: Row, free: Collection[str]) -> Alike:
    orders = row["order_seed"], row["train_seed"]
    return Alike(row["protocol"], row["protocol_id"], arithmetic(row, free), *orders, row.get("data") or "")


def _one_setting(side: Side, rows: Sequence[Row], free: Collection[str]) -> None:
    """Raise SuiteError for runs in one place with several settings, naming those that can be typed."""
    places = defaultdict[tuple[str, str, str], list[Row]](list)
    for row in rows:
        places[_alike(row, free).place].append(row)
    for (protocol, *_), runs in places.items():
        found = [group.variant for group in groups(runs, [], streams(runs, []))]
        if len(found) > 1:
            told = ", ".join(f"{side.method}@{variant.replace(' ', ',')}" for variant in found if variant)
            raise SuiteError(f"{side} was run on {protocol} with several settings; name one: {told}", Exit.USAGE)


def _settings(row: Row) -> dict[str, Any]:
    """Return by name what may be chosen of a run."""
    plugin = {"plugin": row["plugin"]} if row.get("plugin") else {}
    return {**_flat(row["config"]), **{name: row[name] for name in ("precision", "workers", "smoke")}, **plugin}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found
