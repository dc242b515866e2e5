"""Pictures: what a tally comes to, and that a file holds all of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from suite.events import Event
from suite.picture import KEPT, Failed, Picture, Working, picture, restored
from suite.tally import Run, Tally


def played() -> Tally:
    tally = Tally({key: Run(f"run {key}", 10) for key in "abcde"})
    tally.before, tally.later = 3, 1
    task = {"task": 1, "tasks": 5, "work": 4, "accuracy": float("nan"), "backbones": 2, "memory_bytes": 7, "old": 0.5}
    for event in (
        Event("lane", "", {"lane": "l", "state": "ready", "host": "n01", "device": "cpu"}),
        *(Event("claimed", key, {"lane": "l", "attempt": 1}) for key in "abcd"),
        Event("task", "a", task),
        Event("failed", "b", {"kind": "oom", "reason": "too <big>"}),
        Event("finished", "c", {"seconds": 1.0}),
        Event("elsewhere", "d"),
    ):
        tally.add(event)
    return tally


def test_counts_add_up() -> None:
    seen = picture(played(), "note", "said", [("done", "run c", "1 s")])
    assert (seen.total, seen.done, seen.running, seen.failed, seen.waiting, seen.elsewhere) == (9, 4, 1, 1, 2, 1)
    assert seen.failures == (Failed("b", "run b", "oom", "too <big>"),)
    assert seen.working == (Working("a", "run a", "n01", "cpu", task=1, tasks=5, backbones=2, memory_bytes=7),)
    assert seen.head.startswith("4/9 done, 1 running, 1 failed, 2 waiting, 1 elsewhere, ")


def test_a_file_holds_all_of_it() -> None:
    seen = picture(played(), "note", "said", [("done", "run c", "1 s")])
    text = json.dumps(seen.plain(), allow_nan=False)
    assert restored(json.loads(text)) == seen


def test_a_later_version_may_tell_more() -> None:
    plain: dict[str, Any] = {"total": 2, "mood": "good", "working": [{"key": "a", "label": "run a", "smell": 1}]}
    assert restored(plain) == Picture(total=2, working=(Working("a", "run a"),))


@pytest.mark.parametrize("bad", [{"working": [{}]}, {"working": 3}, {"ended": [["done"]]}])
def test_what_is_no_picture_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)):
        restored(bad)


def test_a_picture_of_a_thousand_runs_stays_small() -> None:
    tally = Tally({str(i): Run(f"run {i}", 10) for i in range(1000)})
    for i in range(1000):
        tally.add(Event("claimed", str(i), {"lane": "l", "attempt": 1}))
    seen = picture(tally)
    assert (seen.running, len(seen.working)) == (1000, KEPT)
