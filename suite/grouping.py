"""Which result rows stand on one line of a table, and which protocols stand across it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from suite.results import UPPER_BOUND

Row = Mapping[str, Any]  # as suite.results.result_row makes them
Stream = tuple[str, str]  # a protocol: its name and a hash of its value, since files of users may change
FAMILIES = ("floor", "single backbone", "expansion")  # order of blocks; others follow, upper bounds last


class Wanted(NamedTuple):
    """A run that should be in the table, and how to show its method where no record says."""

    key: str
    method: str
    protocol: str
    title: str = ""
    family: str = ""
    reference: str = ""


@dataclass
class Group:
    """The runs of one line: one method with one variant of its settings; runs and missing ones by protocol."""

    family: str
    title: str
    variant: str
    method: str
    reference: str
    runs: dict[Stream, list[Row]] = field(default_factory=lambda: defaultdict(list))
    missing: dict[Stream, int] = field(default_factory=lambda: defaultdict(int))

    def place(self) -> tuple[int, str, int, str, str]:
        """Return what lines are sorted by: family, then year of publication, then name."""
        last = len(FAMILIES) + (self.family == UPPER_BOUND)
        year = re.search(r"\d{4}", self.reference)
        rank = FAMILIES.index(self.family) if self.family in FAMILIES else last
        return rank, self.family, int(year[0]) if year else 0, self.title, self.variant


def streams(rows: Sequence[Row], lacking: Sequence[Wanted]) -> list[Stream]:
    """Return (name, id) of each protocol: two protocols under one name are two. b0i5 comes before b0i10."""
    found = {(row["protocol"], row["protocol_id"]) for row in rows}
    found |= {(each.protocol, "") for each in lacking if each.protocol not in {name for name, _ in found}}
    return sorted(found, key=lambda stream: (_natural(stream[0]), stream[1]))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def groups(rows: Sequence[Row], lacking: Sequence[Wanted], across: Sequence[Stream]) -> list[Group]:
    """Return the lines in the order of the table. A missing run counts where its method has runs on its protocol."""
    labels, found = _variants(rows), dict[tuple[str, str], Group]()
    for row in rows:
        of = (row["method"], labels[row["key"]])
        empty = Group(row["family"] or "other", row["title"], of[1], of[0], row["reference"])
        found.setdefault(of, empty).runs[row["protocol"], row["protocol_id"]].append(row)
    for each in lacking:
        stream = next(s for s in across if s[0] == each.protocol)
        own = [group for group in found.values() if group.method == each.method]
        group = next((g for g in own if g.runs.get(stream)), own[0] if own else None)
        if group is None:
            group = Group(each.family or "other", each.title or each.method, "", each.method, each.reference)
            found[each.method, ""] = group
        group.missing[stream] += 1
    return sorted(found.values(), key=Group.place)


def _variants(rows: Sequence[Row]) -> dict[str, str]:
    """Return per run the settings in which a method's runs on its protocol differ: they are no repetitions."""
    alike = defaultdict[tuple[str, str, str], list[tuple[str, dict[str, str]]]](list)
    for row in rows:
        plugin = {"plugin": row["plugin"]} if row.get("plugin") else {}
        settings = _flat({**row["config"], "precision": row["precision"], "smoke": row["smoke"], **plugin})
        alike[row["method"], row["protocol"], row["protocol_id"]].append((row["key"], settings))
    labels: dict[str, str] = {}
    for runs in alike.values():
        names = sorted({name for _, settings in runs for name in settings})
        differ = [name for name in names if len({settings.get(name) for _, settings in runs}) > 1]
        labels |= {key: " ".join(f"{n}={settings[n]}" for n in differ if n in settings) for key, settings in runs}
    return labels


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: json.dumps(value)}
    return found
