"""The live view: what the events come to, how long the rest takes, lines and screens."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from grace.training.engine import Precision
from suite.events import Event, Kind
from suite.live import Live, Run, Tally, epochs
from tests.suite.runs_for_tests import spec


class Clock:
    """Time that passes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


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


PAIR = [spec(seed, epochs=3) for seed in range(2)]


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=True, markup=False, color_system=None)


def drawn(view: Live, width: int) -> str:
    paper = terminal(width)
    with paper.capture() as captured:
        paper.print(view._drawn())
    return captured.get()


def play(view: Live, clock: Clock, *, failure: bool = True) -> None:
    """Two runs, one of which fails."""
    one, two = (run.key for run in PAIR)
    view.observe(Event("lane", "", {"state": "connecting", "address": None}))
    view.observe(Event("lane", "", {"state": "starting", "lanes": 2}))
    view.observe(Event("claimed", one, {"lane": "lane0", "attempt": 1}))
    clock.now += 10
    progress = {
        "task": 1,
        "tasks": 5,
        "phase": "learn",
        "epoch": 0,
        "epochs": 3,
        "images_per_second": 5120.4,
        "work": 4,
    }
    view.observe(Event("progress", one, progress))
    view.observe(Event("task", one, {"task": 1, "tasks": 5, "accuracy": 0.71875, "work": 6}))
    view.observe(Event("task", one, {"task": 2, "tasks": 5, "accuracy": 0.5, "work": 9}))
    view.observe(Event("claimed", two, {"lane": "lane1", "attempt": 1}))
    if failure:
        failed = {"kind": "oom", "reason": "CUDA out of [memory]"}  # brackets are markup elsewhere
        view.observe(Event("failed", two, failed))
        clock.now += 10
        view.observe(Event("finished", one, {"seconds": 20.0}))


def test_plain_lines(clock: Clock) -> None:
    out = io.StringIO()
    console = Console(file=out, width=200, markup=False, highlight=False)
    with Live(PAIR, console, clock=clock) as view:
        play(view, clock)
    # the second of two tasks in one moment is left out, a failure never is
    assert out.getvalue().splitlines() == [
        "starting Ray",
        "starting 2 lanes on Ray",
        "0/2 done, 10 s, about 40 s left  task   replay toy-b0i2 o1993 s0  2/5  71.9 %",
        "0/2 done, 1 failed, 10 s, about 7 s left  failed replay toy-b0i2 o1993 s1  oom: CUDA out of [memory]",
        "1/2 done, 1 failed, 20 s  done   replay toy-b0i2 o1993 s0  50.0 %, 20 s",
    ]


def test_quiet_says_nothing(clock: Clock) -> None:
    out = io.StringIO()
    with Live(PAIR, Console(file=out), quiet=True, clock=clock) as view:
        play(view, clock)
    assert out.getvalue() == ""


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_screen_fits_its_terminal(width: int, clock: Clock) -> None:
    with Live(PAIR, terminal(width), clock=clock) as view:
        play(view, clock, failure=False)
        view.say("stopping")
        lines = drawn(view, width).splitlines()
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    assert "0/2 done, 10 s, about" in text
    assert "stopping" in text
    running = next(line for line in lines if line.startswith("replay toy-b0i2 o1993 s0"))
    assert "task 3/5" in running
    assert "50.0 %" in running
    assert ("5,120 images/s" in running) == (width >= 90)
    assert any(line.startswith("replay toy-b0i2 o1993 s1") and "starting" in line for line in lines)


@pytest.mark.parametrize(("precision", "end"), [("fp32", "o1993 s7"), ("bf16", "o1993 s7 bf16")])
def test_a_long_label_keeps_its_seeds(clock: Clock, precision: Precision, end: str) -> None:
    long = replace(spec(7, name="cifar100-b50i10+net=resnet32+aa+m=20/class"), precision=precision)
    with Live([long], terminal(80), clock=clock) as view:
        view.observe(Event("claimed", long.key, {"lane": "lane0", "attempt": 1}))
        assert end in drawn(view, 80)


def test_runs_that_were_done_already_are_counted_without_a_line(clock: Clock) -> None:
    out = io.StringIO()
    with Live([spec(0)], Console(file=out, width=100), clock=clock) as view:
        view.observe(Event("claimed", spec(0).key, {"lane": "here", "attempt": 1}))
        view.observe(Event("finished", spec(0).key, {"already": True}))
    assert out.getvalue() == ""
    assert view.tally.count("finished") == 1
