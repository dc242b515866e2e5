"""In which order the runs of a plan are worked on: what the user wants first, then what takes longest."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from suite.errors import SuiteError, unknown
from suite.plan import Plan, Planned
from suite.sweep import find_protocols


def longest_first(runs: Sequence[Planned]) -> list[Planned]:
    """Return runs in the order in which several at a time are done soonest: those that take longest begin.

    By finished runs of the same kind; a kind without any is taken to be as fast per image as the others are in the
    middle. Runs of which nothing is known come first, equal ones stay in their order.
    """
    typical = median([run.rate for run in runs if run.rate is not None] or [1.0])

    def expected(run: Planned) -> float:
        images = run.cost.images
        return float("inf") if images is None else images[1] * (typical if run.rate is None else run.rate)

    return sorted(runs, key=expected, reverse=True)


def meant(names: Sequence[str], found: Plan) -> list[set[str]]:
    """Return what each name of a priority stands for among the runs of a plan: a method, or protocols.

    Raises SuiteError with the nearest name for one that none of them has.
    """
    methods = {run.spec.method for run in found.runs} | {wish.method for wish in found.wishes}
    streams = {run.spec.protocol.name for run in found.runs} | {wish.protocol for wish in found.wishes}
    groups = []
    for name in names:
        group = {name} & methods
        if not group:
            try:
                group = {protocol.name for protocol in find_protocols(name)} & streams
            except SuiteError:  # no protocol at all
                group = set()
        if not group:
            raise unknown("method or protocol of the sweep", name, methods | streams, few=True)
        groups.append(group)
    return groups


def in_order(runs: Sequence[Planned], first: Sequence[set[str]], *, longest: bool) -> list[Planned]:
    """Return runs by `meant` priority; among equals those that take longest begin, or they stay in their order."""

    def rank(run: Planned) -> tuple[bool, ...]:
        return tuple(not {run.spec.method, run.spec.protocol.name} & group for group in first)

    return sorted(longest_first(runs) if longest else runs, key=rank)
