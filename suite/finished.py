"""What finished runs tell of runs of the same kind: how fast they are, and how much of a GPU's memory they take."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Any

from suite.packing import Peak

if TYPE_CHECKING:
    from suite.store import Store

Kind = tuple[Any, ...]
SAMPLE = 100  # finished runs read to judge by


def kind(spec: Mapping[str, Any]) -> Kind:
    """Return what runs have in common whose time per image is alike; `spec` is a RunSpec's identity."""
    protocol = spec["protocol"]
    arithmetic = spec["precision"], spec.get("workers", 1)
    return spec["method"], protocol["backbone"], protocol["dataset"]["name"], *arithmetic


def judged(store: Store) -> tuple[dict[Kind, float], dict[Kind, Peak]]:
    """Return by kind the median seconds per training image of finished runs, and the most GPU memory of one.

    A kind that has been on no GPU has no peak.
    """
    rates: dict[Kind, list[float]] = {}
    peaks: dict[Kind, Peak] = {}
    for record in store.records(store.keys()[-SAMPLE:], arrays=False):
        of, phases = kind(record.spec), [phase for task in record.tasks for phase in task.phases]
        images = sum(phase["images"] for phase in phases)
        seconds = sum(value for task in record.tasks for value in task.seconds.values())
        if images:
            rates.setdefault(of, []).append(seconds / images)
        most = max((phase.get("peak_bytes") or 0 for phase in phases), default=0)
        if most and (of not in peaks or most > peaks[of].size):
            about = record.provenance
            peaks[of] = Peak(most, record.method, record.protocol, about.get("device", ""), about.get("device_bytes"))
    return {of: median(found) for of, found in rates.items()}, peaks
