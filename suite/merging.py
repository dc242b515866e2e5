"""Results folders joined: every whole record of one that another lacks, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

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
    for number, key in enumerate(keys, 1):
        if not into.done(key):
            if into.adopt(source, key):
                found.taken.append(key)
        else:
            try:
                same = into.read(key).digest() == source.read(key).digest()
            except SuiteError:  # damaged, and named
                continue
            (found.there if same else found.unlike).append(key)
        told(number, len(keys))
    kept = into.sweeps()
    for name, path in source.sweeps().items():
        if name not in kept:
            into.save_sweep(name, path.read_text(encoding="utf-8"), "json" if path.suffix == ".json" else "toml")
            found.sweeps.append(name)
    return found
