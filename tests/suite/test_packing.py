"""Shares of a GPU: which waste nothing, and how many runs fit by their memory."""

from __future__ import annotations

import pytest

from suite.packing import Peak, no_waste, on_each, shared

GIB = 2**30


@pytest.mark.parametrize("share", [0, 1, 0.5, 0.33, 0.333, 1 / 3, 0.25, 0.2, 0.16, 0.14, 0.125, 0.12, 0.11, 0.1])
def test_shares_that_fill_a_gpu(share: float) -> None:
    assert no_waste(share) == share


@pytest.mark.parametrize(
    ("share", "runs", "idle", "use", "more"),
    [  # floor(1 / share) runs, what they leave, the whole divided by as many and by one more
        (0.4, 2, 20, "0.5", "0.33"),
        (0.3, 3, 10, "0.33", "0.25"),
        (0.34, 2, 32, "0.5", "0.33"),
        (0.6, 1, 40, "1", "0.5"),
        (0.17, 5, 15, "0.2", "0.16"),
        (0.24, 4, 4, "0.25", "0.2"),
    ],
)
def test_shares_that_leave_some_of_it_idle(share: float, runs: int, idle: int, use: str, more: str) -> None:
    words = (
        f"{runs} runs? of {share} would leave {idle} % of each GPU idle; use {use}, or {more} for {runs + 1} on each"
    )
    with pytest.raises(ValueError, match=words):
        no_waste(share)


@pytest.mark.parametrize("share", [-0.5, 1.5])
def test_what_is_no_share(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        no_waste(share)


def test_what_is_suggested_is_taken() -> None:
    for runs in range(1, 150):
        assert on_each(shared(runs)) >= runs
        assert no_waste(shared(runs)) == shared(runs)


@pytest.mark.parametrize(
    ("size", "total", "runs"),
    [  # each takes 1.1 times its peak and 0.6 GiB: 4.01 GiB, 24 holds five of those; 17.1 GiB; more than there is
        (3.1, 24, 5),
        (15, 24, 1),
        (15, 34.1, 1),
        (15, 34.3, 2),
        (40, 24, 0),
        (0.1, 80, 8),  # no more than is worth it
    ],
)
def test_runs_that_fit_by_their_memory(size: float, total: float, runs: int) -> None:
    assert Peak(int(size * GIB), "widen", "toy", "a GPU", int(total * GIB)).runs == runs


def test_a_gpu_of_unknown_size() -> None:
    assert Peak(GIB, "widen", "toy", "a GPU", None).runs is None
