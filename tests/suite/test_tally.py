"""What events come to: counts, shares, time left, and where runs are."""

from __future__ import annotations

from typing import Any

import pytest

from suite.events import Event, Kind
from suite.tally import Run, Tally, epochs
from tests.suite.runs_for_tests import Clock, spec


@pytest.fixture
def clock() -> Clock:
    return Clock()


def tally(clock: Clock, **totals: float) -> Tally:
    return Tally({key: Run(f"run {key}", total) for key, total in totals.items()}, clock)


def told(counted: Tally, kind: Kind, key: str, **fields: Any) -> None:
    counted.add(Event(kind, key, fields))


def test_time_left_comes_from_epochs_not_from_runs(clock: Clock) -> None:
    counted = tally(clock, short=10, long=190)
    assert counted.left() is None
    clock.now += 60  # Ray starts; no pace can be had from that
    told(counted, "claimed", "short")
    clock.now += 5
    told(counted, "progress", "short", task=0, tasks=1, work=10)
    told(counted, "finished", "short")
    assert counted.left() == pytest.approx(95)  # 190 epochs at 2 a second; by runs it would be 5 seconds
    assert counted.share() == pytest.approx(10 / 200)
    told(counted, "claimed", "long")
    clock.now += 10
    told(counted, "progress", "long", task=0, tasks=1, work=40)
    assert counted.left() == pytest.approx(150 / (50 / 15))
    told(counted, "finished", "long")
    assert counted.left() == 0
    assert counted.share() == 1


def test_the_last_run_alone_is_not_sped_up_by_the_lanes_that_are_idle(clock: Clock) -> None:
    counted = tally(clock, a=100, b=100, c=40)
    for key in "abc":
        told(counted, "claimed", key)
    clock.now += 10
    for key, work in (("a", 100), ("b", 100), ("c", 20)):
        told(counted, "progress", key, task=0, tasks=1, work=work)
    told(counted, "finished", "a")
    told(counted, "finished", "b")
    assert counted.left() == pytest.approx(10)  # 20 epochs left at its own 2 a second, not at 22


def test_what_was_trained_before_is_not_expected_again(clock: Clock) -> None:
    counted = tally(clock, a=100)
    told(counted, "claimed", "a")
    told(counted, "progress", "a", task=3, tasks=5, work=1)  # goes on in the fourth of five tasks
    clock.now += 5
    told(counted, "progress", "a", task=3, tasks=5, work=5)
    assert counted.share() == pytest.approx(0.64)
    assert counted.left() == pytest.approx(36)  # one epoch a second
    told(counted, "claimed", "a")  # its process died and was started again
    clock.now += 5
    told(counted, "progress", "a", task=3, tasks=5, work=6)
    assert counted.share() == pytest.approx(0.70)
    assert counted.left() == pytest.approx(30 * 10 / 11)  # eleven epochs in ten seconds, by both


def test_more_epochs_than_expected_leave_none(clock: Clock) -> None:
    counted = tally(clock, a=10)
    told(counted, "claimed", "a")
    clock.now += 5
    told(counted, "progress", "a", task=0, tasks=1, work=12)
    assert counted.left() == 0


def test_counts(clock: Clock) -> None:
    counted = tally(clock, a=1, b=1, c=1, d=1)
    for key in "abcd":
        told(counted, "claimed", key)
    told(counted, "finished", "a")
    told(counted, "failed", "b")
    told(counted, "elsewhere", "c")
    told(counted, "stopped", "d")
    assert [counted.count(s) for s in ("finished", "failed", "elsewhere", "waiting", "running")] == [1, 1, 1, 1, 0]
    assert counted.add(Event("lane", "", {"state": "connected"})) is None


def test_epochs_of_a_run() -> None:
    assert epochs(spec(epochs=3)) == 3 * 5  # five tasks


def test_a_sweep_in_stages_counts_each_run_once(clock: Clock) -> None:
    counted, first, second = tally(clock), spec(0), spec(1)
    counted.plan([(first, False), (second, True)], later=2)
    assert (counted.before, counted.later, list(counted.runs)) == (1, 2, [first.key])
    told(counted, "claimed", first.key)
    told(counted, "finished", first.key, seconds=1.0)
    counted.plan([(first, True), (second, True), (spec(2), False), (spec(3), True)], later=0)
    assert (counted.before, counted.later) == (2, 0)
    assert {key: run.state for key, run in counted.runs.items()} == {first.key: "finished", spec(2).key: "waiting"}


def test_figures_last_and_a_phase_does_not(clock: Clock) -> None:
    counted = tally(clock, a=10)
    told(counted, "claimed", "a", lane="lane0")
    told(counted, "progress", "a", task=0, tasks=2, work=1, phase="learn", epoch=0, images_per_second=7.0)
    told(counted, "task", "a", task=0, tasks=2, work=2, accuracy=0.5, backbones=2, memory_bytes=9)
    assert "phase" not in counted.runs["a"].last
    told(counted, "progress", "a", task=1, tasks=2, work=3, phase="learn", epoch=0, images_per_second=8.0)
    last = counted.runs["a"].last
    assert (last["accuracy"], last["backbones"], last["memory_bytes"], last["images_per_second"]) == (0.5, 2, 9, 8.0)


def test_a_lane_that_is_lost_is_elsewhere_once_it_is_back(clock: Clock) -> None:
    counted = tally(clock, a=10)
    told(counted, "lane", "", lane="lane0", state="ready", host="n01", device="gpu0")
    told(counted, "claimed", "a", lane="lane0")
    told(counted, "lane", "", lane="lane0", state="lost", reason="node gone")
    assert counted.lanes["lane0"]["host"] == "n01"
    told(counted, "lane", "", lane="lane0", state="ready", host="n02", device="gpu1")
    assert counted.lanes[counted.runs["a"].lane]["host"] == "n02"


def test_the_first_epochs_make_no_pace(clock: Clock) -> None:
    counted = tally(clock, a=100)
    told(counted, "claimed", "a")
    clock.now += 10
    told(counted, "progress", "a", task=0, tasks=5, work=1)
    assert counted.left() is None
    clock.now += 51
    assert counted.left() == pytest.approx(99 * 61)  # but it may be all there is to go by


def test_a_run_that_has_just_begun_makes_no_pace_either(clock: Clock) -> None:
    counted = tally(clock, a=100, b=100)
    for key in "ab":
        told(counted, "claimed", key)
    clock.now += 10
    told(counted, "progress", "a", task=0, tasks=5, work=50)
    told(counted, "progress", "b", task=0, tasks=5, work=1)  # alone it would be 990 seconds
    assert counted.left() == pytest.approx(149 * 10 / 51)
