"""Runs of the very same content under two names: an aligned memory may be the one that a protocol has anyway."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from suite.record import jsonable
from suite.spec import RunSpec
from suite.store import Store


def copied(specs: Iterable[RunSpec], store: Store) -> list[str]:
    """Write the record of every aligned run whose twin is finished, saying whose it is; return the keys written.

    What a run computes depends on its backbone and its exemplars, not on how they were settled on.
    """
    found, aligned = [], [spec for spec in specs if spec.allocation is not None]
    there = store.finished(spec.twin for spec in aligned)
    for spec in aligned:
        if spec.twin not in there:
            continue
        twin = store.read(spec.twin)
        provenance = {**twin.provenance, "copied_from": spec.twin}
        store.write(
            replace(
                twin,
                key=spec.key,
                protocol=spec.protocol.name,
                spec=jsonable(spec.identity()),
                provenance=provenance,
            )
        )
        store.clean(spec.key)
        found.append(spec.key)
    return found
