"""Which result rows stand on one line of a table, and which protocols stand across it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
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
    reason: str = ""  # why this run cannot be: its model alone exceeds the budget
    failed: bool = False  # it was tried, and ended without a record


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
    failed: dict[Stream, int] = field(default_factory=lambda: defaultdict(int))  # of the missing ones
    reasons: dict[Stream, str] = field(default_factory=dict)  # why there can be none

    @property
    def tuned(self) -> bool:
        """Whether a search found settings of some of its runs."""
        return any(run.get("tuned_on") for runs in self.runs.values() for run in runs)

    def place(self) -> tuple[int, str, int, str, str]:
        """Return what lines are sorted by: family, then year of publication, then name."""
        last = len(FAMILIES) + (self.family == UPPER_BOUND)
        year = re.search(r"\d{4}", self.reference)
        rank = FAMILIES.index(self.family) if self.family in FAMILIES else last
        return rank, self.family, int(year[0]) if year else 0, self.title, self.variant


def stream_of(row: Row) -> Stream:
    """Return the protocol of a row: its name and its id."""
    return row["protocol"], row["protocol_id"]


def streams(rows: Sequence[Row], lacking: Sequence[Wanted]) -> list[Stream]:
    """Return (name, id) of each protocol: two protocols under one name are two. b0i5 comes before b0i10."""
    found = {stream_of(row) for row in rows}
    names = {name for name, _ in found}
    found |= {(each.protocol, "") for each in lacking if each.protocol not in names}
    return sorted(found, key=lambda stream: (_natural(stream[0]), stream[1]))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def groups(
    rows: Sequence[Row],
    lacking: Sequence[Wanted],
    across: Sequence[Stream],
    labels: Mapping[str, str] | None = None,
) -> list[Group]:
    """Return the lines in the order of the table. A missing run counts where its method has runs on its protocol.

    `labels` tell the variants of a method apart, by key; without, the settings in which its runs differ do.
    """
    labels, found = variants(rows) if labels is None else labels, dict[tuple[str, str], Group]()
    own = defaultdict[str, list[Group]](list)
    for row in rows:
        of = (row["method"], labels[row["key"]])
        if of not in found:
            found[of] = Group(row["family"] or "other", row["title"], of[1], of[0], row["reference"])
            own[row["method"]].append(found[of])
        found[of].runs[stream_of(row)].append(row)
    first = {stream[0]: stream for stream in reversed(across)}
    for each in lacking:
        stream, known = first[each.protocol], own[each.method]
        if not known:
            known.append(Group(each.family or "other", each.title or each.method, "", each.method, each.reference))
            found[each.method, ""] = known[0]
        group = next((g for g in known if g.runs.get(stream)), known[0])
        if each.reason:
            group.reasons[stream] = each.reason
        else:
            group.missing[stream] += 1
            group.failed[stream] += each.failed
    return sorted(found.values(), key=Group.place)


def variants(rows: Sequence[Row]) -> dict[str, str]:
    """Return per run the settings in which a method's runs on its protocol differ: they are no repetitions."""
    alike = defaultdict[tuple[str, str, str], dict[str, list[Row]]](lambda: defaultdict(list))
    for row in rows:
        # runs have few settings and are many: each setting is taken apart once, however its names are ordered
        alike[row["method"], *stream_of(row)][_written(row)].append(row)
    labels: dict[str, str] = {}
    for texts in alike.values():
        several = [flat(settings_of(runs[0])) for runs in texts.values()] if len(texts) > 1 else [{}]
        differ = differing(several)
        for settings, runs in zip(several, texts.values(), strict=True):
            label = " ".join(f"{name}={settings[name]}" for name in differ if name in settings)
            labels |= {row["key"]: label for row in runs}
    return labels


_WRITTEN: dict[str, tuple[Any, str]] = {}  # per run its settings and their text: many tables are made of the same rows


def _written(row: Row) -> str:
    """Return all settings of a run as one text, equal for equal settings."""
    config, text = _WRITTEN.get(row["key"], (None, ""))
    if config is not row["config"]:
        text = repr(row["config"])
        _WRITTEN[row["key"]] = row["config"], text
    return f"{text} {row['precision']} {row['workers']} {row['smoke']} {row.get('plugin') or ''}"


def settings_of(row: Row) -> dict[str, Any]:
    """Return all settings of a run that are not its protocol's or its seeds'."""
    plugin = {"plugin": row["plugin"]} if row.get("plugin") else {}
    return {**row["config"], **{name: row[name] for name in ("precision", "workers", "smoke")}, **plugin}


def arithmetic(row: Row, free: Collection[str] = ()) -> str:
    """Return what runs must share to be alike to the last digits: `fp32`, `bf16, 2 workers`; less what is `free`."""
    parts = {"precision": row["precision"], "workers": f"{row['workers']} workers" if row["workers"] > 1 else ""}
    return ", ".join(part for name, part in parts.items() if part and name not in free)


def differing(several: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the names that do not have the same value in all of them."""
    names = sorted({name for settings in several for name in settings})
    return [name for name in names if len({settings.get(name) for settings in several}) > 1]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as one level: `learn.epochs` and its value as JSON."""
    found: dict[str, str] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: json.dumps(value)}
    return found
