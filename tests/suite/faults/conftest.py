"""One cluster for all tests that want one, and each sweep's undisturbed results once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from bench.faults.siege import Siege
from bench.faults.verdict import undisturbed
from bench.faults.world import World, world

Besiege = Callable[..., Siege]


@pytest.fixture(scope="package")
def cluster() -> Iterator[World]:
    with world() as made:
        made.start_nodes()
        yield made


@pytest.fixture(scope="package")
def results() -> Callable[[Sequence[str]], dict[str, str]]:
    """What a sweep comes to without a fault."""
    known: dict[tuple[str, ...], dict[str, str]] = {}

    def of(sweep: Sequence[str]) -> dict[str, str]:
        if tuple(sweep) not in known:
            with world() as quiet:
                known[tuple(sweep)] = undisturbed(quiet, *sweep)
        return known[tuple(sweep)]

    return of


@pytest.fixture
def besiege(cluster: World, results: Callable[[Sequence[str]], dict[str, str]]) -> Iterator[Besiege]:
    """Start a sweep on the cluster; `but` are options of the command alone."""

    def start(*sweep: str, but: Sequence[str] = ()) -> Siege:
        made = Siege(cluster, [*sweep, *but], results(sweep))
        made.start()
        return made

    yield start
    cluster.fresh()
