"""Results folders joined: every whole record of one that another lacks, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from grace.storage.folders import at_once
from grace.storage.objects import ObjectPath
from suite.errors import SuiteError
from suite.store import Store


@dataclass
class Merged:
    """What became of the records of one folder, by key."""

    taken: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)  # the same result was there already
    unlike: list[str] = field(default_factory=list)  # another result was there, and stayed: machines differ
    sweeps: list[str] = field(default_factory=list)  # names taken along


def merge(source: Store, into: Store, told: Callable[[int, int], None] = lambda done, total: None) -> Merged:
    """Copy what `into` lacks, and say what of the rest is the same; damaged records are named in `source.damaged`.

    Checkpoints of unfinished runs stay where they are: whoever works on them holds their locks.
    """
    found, keys = Merged(), source.keys()
    far = source.root if isinstance(source.root, ObjectPath) else into.root
    for number, (key, fate) in enumerate(zip(keys, at_once(far, partial(_fate, source, into), keys), strict=True), 1):
        if fate:
            getattr(found, fate).append(key)
        told(number, len(keys))
    kept = into.sweeps()
    for name, path in source.sweeps().items():
        if name not in kept:
            into.save_sweep(name, path.read_text(encoding="utf-8"), "json" if path.suffix == ".json" else "toml")
            found.sweeps.append(name)
    return found


def _fate(source: Store, into: Store, key: str) -> Literal["taken", "there", "unlike", ""]:
    """Copy a record unless there is one; return what became of it, nothing where it is damaged."""
    if not into.done(key):
        return "taken" if into.adopt(source, key) else ""
    try:
        return "there" if into.read(key).digest() == source.read(key).digest() else "unlike"
    except SuiteError:  # damaged, and named
        return ""
