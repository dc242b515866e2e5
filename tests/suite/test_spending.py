"""Budgets: how they are written, what runs hold by hand-worked times, and how far they reach."""

from __future__ import annotations

import pytest

from suite.errors import Exit, SuiteError
from suite.events import Event
from suite.spending import Budget, Spending, budget, reach
from tests.suite.runs_for_tests import Clock


def spending(wanted: str = "", gpus: float | None = None, cpus: int = 1, **more: bool) -> tuple[Spending, Clock]:
    clock = Clock()
    return Spending(budget(wanted) if wanted else None, gpus, cpus, clock=clock, **more), clock


def ready(lane: str, device: str) -> Event:
    return Event("lane", "", {"lane": lane, "state": "ready", "host": "n1", "device": device})


def claimed(key: str, lane: str, size: int = 1) -> Event:
    return Event("claimed", key, {"lane": lane, "attempt": 1, "size": size})


@pytest.mark.parametrize(
    ("text", "meant", "read"),
    [
        ("40gpuh", Budget(40, "gpuh"), "40 gpuh"),
        ("8 cpuh", Budget(8, "cpuh"), "8 cpuh"),
        ("0.5H", Budget(0.5, "h"), "0.5 h"),
    ],
)
def test_three_forms(text: str, meant: Budget, read: str) -> None:
    assert budget(text) == meant
    assert str(meant) == read


@pytest.mark.parametrize("text", ["40", "gpuh", "40 gpu", "-1h", "0h", "1e3h", "40gpuh 8cpuh", ""])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 40gpuh .*, 8cpuh .* or 12h"):
        budget(text)


def test_runs_are_charged_from_claim_to_end() -> None:
    found, clock = spending("3gpuh", gpus=0.5, cpus=2)
    for event in (ready("a", "gpu0"), ready("b", "gpu0"), claimed("1", "a"), claimed("2", "b")):
        found.observe(event)
    clock.now += 3600
    assert (found.hours("gpuh"), found.hours("cpuh"), found.hours("h")) == (1.0, 4.0, 1.0)
    found.observe(Event("finished", "1", {"seconds": 3600}))
    found.observe(Event("task", "2", {}))
    clock.now += 3600
    assert (found.hours("gpuh"), found.hours("cpuh"), found.hours("h")) == (1.5, 6.0, 2.0)
    assert found.used_up() == ""
    clock.now += 3 * 3600  # one run at a half
    assert found.used_up() == "budget of 3 gpuh used up"
    found.observe(Event("failed", "2", {}))
    clock.now += 3600
    assert (found.hours("gpuh"), found.hours("h")) == (3.0, 6.0)


def test_a_larger_slot_counts_as_what_it_is() -> None:
    found, clock = spending(gpus=0.5)
    found.observe(ready("a", "gpu1"))
    found.observe(claimed("1", "a", size=2))
    clock.now += 3600
    assert (found.hours("gpuh"), found.hours("cpuh")) == (1.0, 1.0)
    found.observe(claimed("2", "a", size=4))  # there is no more than a whole one
    found.observe(Event("stopped", "1"))
    clock.now += 3600
    assert found.hours("gpuh") == 2.0
    cores, clock = spending(gpus=0, cpus=2)
    cores.observe(claimed("1", "a", size=2))
    clock.now += 3600
    assert (cores.hours("gpuh"), cores.hours("cpuh")) == (0.0, 4.0)


def test_every_worker_of_a_run_is_charged() -> None:
    clock = Clock()
    found = Spending(None, 0.5, 2, workers=3, clock=clock)
    found.observe(claimed("1", "a"))
    clock.now += 3600
    assert (found.hours("gpuh"), found.hours("cpuh"), found.hours("h")) == (1.5, 6.0, 1.0)


def test_a_lane_may_tell_late_whether_it_has_a_gpu() -> None:
    found, clock = spending("1cpuh")
    found.observe(claimed("1", "a"))
    found.observe(ready("a", "cpu"))
    clock.now += 3600
    assert (found.hours("gpuh"), found.hours("cpuh")) == (0.0, 1.0)
    assert found.used_up()


def test_what_a_dead_lane_held_is_free_until_it_is_claimed_again() -> None:
    found, clock = spending()
    found.observe(ready("a", "gpu"))
    found.observe(claimed("1", "a"))
    clock.now += 3600
    found.observe(Event("lane", "", {"lane": "a", "state": "lost", "reason": "killed"}))
    clock.now += 3600
    found.observe(claimed("1", "a"))
    found.observe(claimed("1", "a"))  # and again, without a word in between
    clock.now += 3600
    found.observe(Event("lane", "", {"state": "connected"}))  # another Ray, and nothing is held there yet
    clock.now += 3600
    assert found.hours("gpuh") == 2.0
    found.observe(claimed("1", "b"))
    clock.now += 3600
    found.close()
    clock.now += 3600
    assert found.hours("gpuh") == 3.0


def test_gpu_hours_where_there_is_no_gpu() -> None:
    with pytest.raises(SuiteError, match=r"budget of 4 gpuh is never used up: runs take no GPU \(--gpus-per-run 0\)"):
        spending("4gpuh", gpus=0)
    found, _ = spending("4gpuh")
    with pytest.raises(SuiteError, match=r"n1 has none.*cpuh or h") as caught:
        found.observe(ready("here", "cpu"))
    assert caught.value.code is Exit.USAGE
    mixed, clock = spending("4gpuh", mixed=True)
    for event in (ready("a", "cpu"), ready("b", "gpu0"), claimed("1", "a"), claimed("2", "b")):
        mixed.observe(event)
    clock.now += 3600
    assert mixed.hours("gpuh") == 1.0


def test_how_far_a_budget_reaches() -> None:
    hours = [3600.0, None, 7200.0, 3600.0]
    assert reach(budget("3gpuh"), hours, 1.0) == (2, 3)
    assert reach(budget("1gpuh"), hours, 0.25) == (3, 3)
    assert reach(budget("1h"), [], 1.0) == (0, 0)
