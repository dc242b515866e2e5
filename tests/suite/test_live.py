"""The live view: lines, screens, and what of a sweep is on them."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from grace.training.engine import Precision
from suite.events import Event
from suite.live import Live
from tests.suite.runs_for_tests import Clock, spec

PAIR = [spec(seed, epochs=3) for seed in range(2)]
MEASURED = {"backbones": 3, "memory_bytes": 12 * 2**20 + 2**19}


@pytest.fixture
def clock() -> Clock:
    return Clock()


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
    view.observe(Event("lane", "", {"lane": "lane0", "state": "ready", "host": "n03.lab", "device": "gpu2"}))
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
    view.observe(Event("task", one, {"task": 1, "tasks": 5, "accuracy": 0.71875, "work": 6, **MEASURED}))
    view.observe(Event("task", one, {"task": 2, "tasks": 5, "accuracy": 0.5, "work": 9, **MEASURED}))
    view.observe(Event("claimed", two, {"lane": "lane1", "attempt": 1}))
    if failure:
        failed = {"kind": "oom", "reason": "CUDA out of [memory]"}  # brackets are markup elsewhere
        view.observe(Event("failed", two, failed))
        clock.now += 10
        view.observe(Event("finished", one, {"seconds": 20.0}))
    else:
        view.observe(Event("progress", one, {**progress, "task": 3, "work": 10}))


def test_plain_lines(clock: Clock) -> None:
    out = io.StringIO()
    console = Console(file=out, width=200, markup=False, highlight=False)
    with Live(PAIR, console, clock=clock) as view:
        play(view, clock)
    measured = "71.9 %, 3 backbones, 12.50 MiB, 5,120 images/s, gpu2 n03.lab"
    # the second of two tasks in one moment is left out, a failure never is
    assert out.getvalue().splitlines() == [
        "starting Ray",
        "starting 2 lanes on Ray",
        f"0/2 done, 1 running, 1 waiting, 10 s, about 40 s left  task   replay toy-b0i2 o1993 s0  2/5  {measured}",
        "0/2 done, 1 running, 1 failed, 10 s, about 7 s left  "
        "failed replay toy-b0i2 o1993 s1  oom: CUDA out of [memory]",
        "1/2 done, 1 failed, 20 s  done   replay toy-b0i2 o1993 s0  50.0 %, 20 s",
    ]


def test_quiet_says_nothing(clock: Clock) -> None:
    out = io.StringIO()
    with Live(PAIR, Console(file=out), quiet=True, clock=clock) as view:
        play(view, clock)
    assert out.getvalue() == ""


@pytest.mark.parametrize("width", [60, 80, 120, 140])
def test_a_screen_fits_its_terminal(width: int, clock: Clock) -> None:
    with Live(PAIR, terminal(width), clock=clock) as view:
        play(view, clock, failure=False)
        view.say("stopping")
        lines = drawn(view, width).splitlines()
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    assert "0/2 done, 2 running, 10 s" in text
    assert "stopping" in text
    running = next(line for line in lines if line.startswith("replay toy-b0i2 o1993 s0"))
    assert running.split()[4:7] == ["4/5", "learn", "1/3"] if width > 60 else ["4/5", "1/3", "50.0"]
    assert ("gpu2 n03" in running) == ("5,120" in running) == (width > 60)
    assert "12.5" in running
    assert any(line.startswith("replay toy-b0i2 o1993 s1") and "starting" in line for line in lines)
    assert ("backbones" in text) == ("memory MiB" in text) == (width >= 120)


def test_failures_stay_on_the_screen_with_their_reasons(clock: Clock) -> None:
    many = [spec(seed) for seed in range(20)]
    with Live(many, terminal(100), clock=clock) as view:
        for number, run in enumerate(many[:7]):
            view.observe(Event("claimed", run.key, {"lane": "lane0", "attempt": 1}))
            view.observe(Event("failed", run.key, {"kind": "method", "reason": f"reason {number}"}))
        for run in many[7:]:
            view.observe(Event("claimed", run.key, {"lane": "lane0", "attempt": 1}))
            view.observe(Event("finished", run.key, {"seconds": 1.0}))
        text = drawn(view, 100)
    assert "13/20 done, 7 failed" in text
    assert "7 failed, the last 4:" in text
    assert [f"reason {number}" in text for number in range(7)] == [False] * 3 + [True] * 4


def test_more_runs_than_lines_are_counted(clock: Clock) -> None:
    many = [spec(seed) for seed in range(100)]
    with Live(many, terminal(100), clock=clock) as view:
        for run in many:
            view.observe(Event("claimed", run.key, {"lane": run.key, "attempt": 1}))
        lines = drawn(view, 100).splitlines()
    assert len(lines) < view._console.height
    shown = sum(line.startswith("replay") for line in lines)
    assert f"and {100 - shown} more" in lines


@pytest.mark.parametrize(("precision", "end"), [("fp32", "o1993 s7"), ("bf16", "o1993 s7 bf16")])
def test_a_long_label_keeps_its_seeds(clock: Clock, precision: Precision, end: str) -> None:
    long = replace(spec(7, name="cifar100-b50i10+net=resnet32+aa+m=20/class"), precision=precision)
    with Live([long], terminal(60), clock=clock) as view:
        view.observe(Event("claimed", long.key, {"lane": "lane0", "attempt": 1}))
        assert end in drawn(view, 60)


def test_runs_that_were_done_already_are_counted_without_a_line(clock: Clock) -> None:
    out = io.StringIO()
    with Live([spec(0)], Console(file=out, width=100), clock=clock) as view:
        view.observe(Event("claimed", spec(0).key, {"lane": "here", "attempt": 1}))
        view.observe(Event("finished", spec(0).key, {"already": True}))
    assert out.getvalue() == ""
    assert view.tally.count("finished") == 1
