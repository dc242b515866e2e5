"""The queue alone: order, claims, deaths, runs that others work on, stopping; and a lane's line to it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from suite.events import Event
from suite.line import Line, serve
from suite.queue import HANGS, RELEASE, Claim, Queue


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def ended(kind: Any, key: str) -> Event:
    return Event(kind, key)


def kinds(events: Sequence[Event]) -> list[tuple[str, str]]:
    return [(event.kind, event.key) for event in events]


def test_runs_are_handed_out_in_order_and_once() -> None:
    queue = Queue(["a", "b", "c"])
    assert [queue.claim("one").key, queue.claim("two").key] == ["a", "b"]
    queue.report("one", "a", [ended("finished", "a")])
    assert queue.claim("one") == Claim("c")
    queue.report("two", "b", [ended("failed", "b")])
    assert queue.claim("two") == Claim()  # nothing left, nothing to wait for
    queue.report("one", "c", [ended("finished", "c")])
    state = queue.look()
    assert state.left == []
    assert state.holders == []
    assert kinds(state.events) == [("claimed", "a"), ("claimed", "b"), ("finished", "a"), ("claimed", "c"),
                                   ("failed", "b"), ("finished", "c")]  # fmt: skip
    assert queue.look().events == []


def test_a_lane_that_asks_again_gets_its_run_back_until_the_third_death() -> None:
    queue = Queue(["a", "b"])
    assert queue.claim("one") == Claim("a")
    assert queue.claim("one") == Claim("a")  # died once
    queue.died("one", "signal 9")
    assert queue.claim("one") == Claim("a")  # twice
    queue.died("one", "signal 11")
    given_up = queue.claim("one")
    assert given_up.key == "a"
    assert "3 times" in given_up.lost
    assert "signal 11" in given_up.lost
    assert [event.fields["attempt"] for event in queue.look().events] == [1, 2, 3]
    queue.report("one", "a", [ended("failed", "a")])
    assert queue.claim("one") == Claim("b")  # the lane goes on
    assert queue.look().left == ["b"]


def test_a_run_that_another_process_works_on_is_offered_again_after_a_pause() -> None:
    clock = Clock()
    queue = Queue(["a", "b"], pause=2.0, clock=clock)
    queue.claim("one")
    queue.report("one", "a", [ended("elsewhere", "a")])
    assert queue.claim("one").key == "b"  # the others first
    assert queue.claim("two") == Claim(wait=2.0)
    clock.now += 1.5
    assert queue.claim("two") == Claim(wait=0.5)
    clock.now += 0.5
    assert queue.claim("two").key == "a"
    queue.report("two", "a", [ended("elsewhere", "a")])
    clock.now += 2
    assert queue.claim("two").key == "a"
    queue.report("two", "a", [ended("finished", "a")])
    state = queue.look()
    assert kinds(state.events).count(("elsewhere", "a")) == 1  # told once, however often it is met
    assert state.left == ["b"]


def test_stopping_offers_nothing_and_gives_back_what_a_dead_lane_had() -> None:
    queue = Queue(["a", "b", "c"])
    queue.claim("one")
    queue.claim("two")
    assert queue.report("one", "a", []) is False
    queue.stop()
    assert queue.report("one", "a", []) is True
    queue.report("one", "a", [ended("stopped", "a")])
    assert queue.claim("two") == Claim()  # its process died and was started again: its state is saved
    state = queue.look()
    assert state.left == ["a", "b", "c"]
    assert state.holders == []
    assert kinds(state.events)[-2:] == [("stopped", "a"), ("stopped", "b")]


def test_a_queue_started_anew_learns_of_claims_from_reports() -> None:
    queue = Queue(["a", "b"])
    queue.report("one", "a", [Event("progress", "a")])
    assert queue.look().holders == ["one"]
    assert queue.claim("two").key == "b"
    queue.report("one", "a", [ended("finished", "a")])
    queue.report("two", "b", [ended("finished", "b")])
    assert queue.look().left == []
    assert queue.claim("one") == Claim()


def test_an_end_that_is_told_twice_counts_once() -> None:
    queue = Queue(["a"])
    queue.claim("one")
    queue.report("one", "a", [ended("finished", "a")])
    queue.report("one", "a", [ended("finished", "a"), ended("stopped", "a")])
    state = queue.look()
    assert kinds(state.events) == [("claimed", "a"), ("finished", "a")]
    assert state.left == []


def test_serving_works_on_everything_and_waits_where_told() -> None:
    clock = Clock()
    queue = Queue(["a", "b"], pause=1.0, clock=clock)
    tried: list[str] = []

    def work(claim: Claim) -> Event:
        key = str(claim.key)
        tried.append(key)
        return ended("elsewhere" if tried == ["a"] else "finished", key)

    def pause(seconds: float) -> None:
        assert seconds == pytest.approx(1.0)
        clock.now += seconds

    serve(queue, "one", work, pause)
    assert tried == ["a", "b", "a"]


class Wire:
    """Stands for what lies between a lane and its queue."""

    def __init__(self, queue: Queue) -> None:
        self.queue, self.broken, self.got = queue, False, threading.Event()

    def __call__(self, method: str, *arguments: Any) -> Any:
        if self.broken:
            raise ConnectionError
        answer = getattr(self.queue, method)(*arguments)
        if method == "report" and arguments[2]:
            self.got.set()
        return answer


def test_a_line_sends_soon_in_order_and_hears_of_a_stop() -> None:
    queue = Queue(["a"])
    wire = Wire(queue)
    with Line("one", wire, beat=0.02) as line:
        assert line.claim("one").key == "a"
        line.tell(Event("progress", "a", {"epoch": 1}))
        assert wire.got.wait(10)
        assert not line.should_stop()
        queue.stop()
        for _ in range(500):
            if line.should_stop():
                break
            threading.Event().wait(0.02)
        assert line.should_stop()
        line.tell(Event("progress", "a", {"epoch": 2}))
        line.report("one", "a", [ended("stopped", "a")])
    assert kinds(queue.look().events) == [("claimed", "a"), ("progress", "a"), ("progress", "a"), ("stopped", "a")]


def test_a_line_to_a_queue_that_is_gone_tells_the_lane_to_stop() -> None:
    wire = Wire(Queue(["a", "b"]))
    with Line("one", wire, beat=10) as line:
        assert line.claim("one").key == "a"
        wire.broken = True
        assert line.report("one", "a", [ended("finished", "a")]) is True
        assert line.should_stop()
        assert line.claim("one") == Claim()


def test_what_was_told_last_is_sent_on_leaving() -> None:
    queue = Queue(["a"])
    with Line("one", Wire(queue), beat=60) as line:
        line.claim("one")
        line.tell(Event("lane", "", {"state": "broken"}))
    assert ("lane", "") in kinds(queue.look().events)


def progress(key: str, trained: int) -> Event:
    return Event("progress", key, {"trained": trained})


def test_a_run_that_comes_further_between_deaths_is_never_given_up() -> None:
    queue = Queue(["a"])
    queue.claim("one")
    for trained in range(1, 10):
        queue.report("one", "a", [progress("a", trained)])
        queue.died("one", "signal 9")
        assert queue.claim("one") == Claim("a")
    for _ in range(2):
        queue.died("one", "signal 9")
        claim = queue.claim("one")
    assert "3 times" in claim.lost  # the last that came further, and two that did not


def test_one_death_that_is_told_twice_counts_once() -> None:
    queue = Queue(["a"])
    queue.claim("one")
    for _ in range(5):
        queue.died("one", "signal 9")
    assert queue.claim("one") == Claim("a")


def test_a_lane_that_does_not_come_back_loses_its_run_to_another() -> None:
    clock = Clock()
    queue = Queue(["a", "b"], clock=clock)
    queue.claim("one")
    queue.died("one", "its node is gone")
    clock.now += RELEASE - 1
    assert queue.look().waiting == {1: 1}
    clock.now += 2
    state = queue.look()
    assert state.waiting == {1: 2}
    assert kinds(state.events)[-1] == ("stopped", "a")
    assert queue.claim("two") == Claim("a")  # first of all
    assert queue.claim("one") == Claim("b")  # when it does come back


def test_a_lane_that_breaks_leaves_its_run_to_others() -> None:
    queue = Queue(["a"])
    queue.claim("one")
    queue.report("one", "a", [Event("lane", "", {"lane": "one", "state": "broken", "reason": "no GPU", "code": 6})])
    state = queue.look()
    assert (state.holders, state.waiting) == ([], {1: 1})
    assert kinds(state.events)[-1] == ("stopped", "a")
    assert queue.claim("two") == Claim("a")


def test_the_loss_of_a_node_is_no_fault_of_its_runs() -> None:
    queue = Queue(["a"])
    for number in range(10):
        assert queue.claim(f"lane{number}") == Claim("a")
        queue.died(f"lane{number}", "its node is gone")
        queue.release([f"lane{number}", "unknown"])


def test_a_lane_that_was_given_up_too_early_keeps_what_it_finishes() -> None:
    queue = Queue(["a"])
    queue.claim("one")
    queue.release(["one"])
    queue.report("one", "a", [progress("a", 3)])  # it lives
    assert queue.claim("two") == Claim()
    queue.report("one", "a", [ended("finished", "a")])
    assert queue.look().left == []


def test_lanes_get_runs_of_their_size() -> None:
    clock = Clock()
    queue = Queue(["a", "b", "c"], sizes={"b": 2}, clock=clock)
    assert queue.look().waiting == {1: 2, 2: 1}
    assert queue.claim("big", 2).key == "b"
    assert [queue.claim("one").key, queue.claim("two").key] == ["a", "c"]
    assert queue.claim("bigger", 2) == Claim()
    queue.report("big", "b", [ended("elsewhere", "b")])
    assert queue.claim("three") == Claim()  # it is not waiting for that one
    assert queue.claim("big", 2) == Claim(wait=2.0)
    clock.now += 2
    assert queue.claim("big", 2).key == "b"


def test_a_run_of_which_nothing_is_heard_is_ended_and_tried_once_more() -> None:
    clock = Clock()
    queue = Queue(["a", "b"], stall=60.0, clock=clock)
    for attempt in range(HANGS):
        assert queue.claim("one") == Claim("a"), attempt
        clock.now += 59
        queue.report("one", "a", [progress("a", 1)])
        assert queue.look().hung == []
        queue.report("one", "a", [])  # a beat is no progress
        clock.now += 61
        assert queue.look().hung == []  # the pause before was 59 seconds: this one may be five times as long
        clock.now += 5 * 59
        assert queue.look().hung == ["one"]
        queue.died("one", "nothing was heard of its run for 1 minutes: it was ended", True)
        assert queue.look().hung == []
    claim = queue.claim("one")
    assert (claim.key, claim.kind) == ("a", "hung")
    assert "2 times" in claim.lost
    queue.report("one", "a", [ended("failed", "a")])
    assert queue.claim("one") == Claim("b")
