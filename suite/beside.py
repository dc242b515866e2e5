"""Which published numbers stand beside which runs: those on the protocols that were run, or one setting away."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import protocols
from grace.methods import METHODS
from suite.comparison import UNSAID, Compared, compared
from suite.declared import declared
from suite.grouping import Group, Row, Stream, groups, streams
from suite.published import Published, identity_of, published

SAME = "same"  # no setting that is known to differ
Identities = Mapping[str, Mapping[str, Any]]  # of protocols, by their id, as records hold them


class Found(NamedTuple):
    """One published number, no curve; `ours` where there are runs to set beside it."""

    entry: Published
    ours: Compared | None

    @property
    def setting(self) -> str:
        """The first setting that differs, in a few words; empty where nothing is compared."""
        if self.ours is None:
            return ""
        words = f"{self.ours.setting} not said" if self.ours.why == UNSAID else f"other {self.ours.setting}"
        return words if self.ours.setting else SAME

    @property
    def remarks(self) -> Iterator[str]:
        """Yield what that setting is here and there, and what else to mind."""
        if self.ours is None:
            return
        if self.ours.setting and self.ours.why != UNSAID:
            yield f"{self.setting}: {self.ours.why}"
        yield from self.ours.remarks


@dataclass
class Numbers:
    """The runs of a method with one variant of its settings, and what is published beside them, by protocol."""

    group: Group
    found: dict[Stream, list[Found]]


def numbers(rows: Sequence[Row], known: Identities) -> list[Numbers]:
    """Return what is published of the methods here on the protocols of the rows, all of which are known.

    Of a method that was run also what is one setting away, as `suite.comparison` has it; of one that was not, what is
    on the very protocol. In the order of the table; those without any number are left out.
    """
    across = streams(rows, [])
    every = [Numbers(group, dict(_beside(group, known))) for group in groups(rows, [], across)]
    _add_not_run(every, across)
    return sorted((each for each in every if each.found), key=lambda each: each.group.place())


def identity(name: str, id_: str) -> Mapping[str, Any] | None:
    """Return the identity of a protocol, None where what has that name is another protocol by now, or nothing."""
    try:
        found = identity_of(protocols.get(name))
    except ValueError:
        return None
    return found if _id(found) == id_ else None


def _id(found: Mapping[str, Any]) -> str:
    """Return the id that rows have for a protocol."""
    return hashlib.blake2b(json.dumps(found, sort_keys=True).encode(), digest_size=4).hexdigest()


def _beside(group: Group, known: Identities) -> Iterator[tuple[Stream, list[Found]]]:
    """Yield the numbers beside a group's runs, protocol by protocol, those of the same setting first."""
    for stream, runs in group.runs.items():
        lines = compared(replace(group, runs={stream: runs}), known, 0.0)
        there = sorted(
            (line for line in lines if line.published.metric != "curve"), key=lambda line: bool(line.setting)
        )
        if there:
            yield stream, [Found(line.published, line) for line in there]


@cache
def _by_id() -> Mapping[str, Sequence[Published]]:
    """Return what is published, curves aside, by the id of its protocol."""
    ids = {protocol: _id(identity_of(protocol)) for protocol in {entry.protocol for entry in published()}}
    found = defaultdict[str, list[Published]](list)
    for entry in published():
        if entry.metric != "curve":
            found[ids[entry.protocol]].append(entry)
    return found


def _add_not_run(every: list[Numbers], across: Sequence[Stream]) -> None:
    """Add what is published of methods on protocols that they were not run on, if they are methods here."""
    run = {(each.group.method, stream) for each in every for stream in each.group.runs}
    first = {each.group.method: each for each in reversed(every)}
    for stream in across:
        for entry in _by_id().get(stream[1], ()):
            if entry.method not in METHODS or (entry.method, stream) in run:
                continue
            if entry.method not in first:
                about = declared(entry.method)
                group = Group(about.family, about.title, "", entry.method, about.reference)
                first[entry.method] = Numbers(group, {})
                every.append(first[entry.method])
            first[entry.method].found.setdefault(stream, []).append(Found(entry, None))
