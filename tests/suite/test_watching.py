"""Watching from outside: one process, several, none, clocks that differ, and what the store says."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from suite.ledger import SILENCE, process
from suite.picture import Failed, Picture, Working
from suite.record import Failure
from suite.store import Store
from suite.watching import Watcher
from tests.suite.records_for_tests import record
from tests.suite.runs_for_tests import Clock

AWAY = {"host": "n01", "pid": 7, "born": "1", "space": "elsewhere"}


def tell(root: Path, name: str, picture: Picture, *, ago: float = 0.0, end: str = "", who: Any = AWAY) -> None:
    folder = root / "live" / "s"
    folder.mkdir(parents=True, exist_ok=True)
    plain = {"schema": 1, "process": who, "time": time.time() - ago, "end": end, "picture": picture.plain()}
    (folder / f"{name}.json").write_text(json.dumps(plain))


def runs(root: Path, *keys: str) -> None:
    (root / "live" / "s").mkdir(parents=True, exist_ok=True)
    (root / "live" / "s" / "runs.txt").write_text("\n".join(keys))


def failure(key: str, reason: str) -> Failure:
    return Failure(key, f"run {key}", "error", reason, "", "", "n01", "")


def test_one_process_at_work_is_shown_as_it_tells(tmp_path: Path) -> None:
    work = (Working("k", "run k", task=1, tasks=5),)
    tell(tmp_path, "a", Picture(total=9, done=2, running=1, waiting=6, elapsed=10.0, left=30.0, working=work), ago=5)
    view = Watcher(tmp_path, "s").look()
    assert (view.state, view.process, view.over) == ("working", "process 7 on n01", False)
    found = view.picture
    assert (found.total, found.done, found.running, found.waiting, found.working) == (9, 2, 1, 6, work)
    assert found.elapsed == pytest.approx(15, abs=2)  # time goes on between news
    assert found.left == pytest.approx(25, abs=2)


def test_without_a_process_the_store_counts(tmp_path: Path) -> None:
    store, one = Store.open(tmp_path, write=True), record()
    store.write(one)
    store.fail(failure("f" * 16, "it broke"))
    store.fail(failure("e" * 16, "of another sweep"))
    runs(tmp_path, one.key, "f" * 16, "0" * 16)
    old = Picture(total=3, running=2, waiting=1, working=(Working("0" * 16, "run 0"),))
    tell(tmp_path, "a", old, who={**process(), "born": "0"})  # its number belongs to another process by now
    view = Watcher(tmp_path, "s").look()
    assert (view.state, view.over) == ("dead", True)
    found = view.picture
    assert (found.total, found.done, found.failed, found.waiting, found.running) == (3, 1, 1, 1, 0)
    assert found.failures == (Failed("f" * 16, f"run {'f' * 16}", "error", "it broke"),)
    assert found.working == ()


def test_a_sweep_of_which_nobody_told(tmp_path: Path) -> None:
    view = Watcher(tmp_path, "s").look()
    assert (view.state, view.picture, view.news) == ("unknown", Picture(), None)


def test_two_processes_are_one_picture(tmp_path: Path) -> None:
    store, one = Store.open(tmp_path, write=True), record()
    store.write(one)
    runs(tmp_path, one.key, *(letter * 16 for letter in "abcd"))
    bad = Failed("c" * 16, "run c", "oom", "too big")
    work = [Working(letter * 16, f"run {letter}") for letter in "ab"]
    tell(
        tmp_path,
        "p",
        Picture(total=5, running=1, elsewhere=1, waiting=2, failed=1, failures=(bad,), working=(work[0],)),
    )
    tell(tmp_path, "q", Picture(total=5, done=1, running=1, elsewhere=1, waiting=2, working=(work[1],)), ago=1)
    tell(tmp_path, "r", Picture(total=5, done=1), ago=50, end="stopped")
    view = Watcher(tmp_path, "s").look()
    assert view.process == "process 7 on n01, process 7 on n01"
    found = view.picture
    counts = (found.total, found.done, found.running, found.failed, found.waiting, found.elsewhere)
    assert counts == (5, 1, 2, 1, 1, 0)
    assert set(found.working) == set(work)


def test_silence_is_told_from_news_by_this_machine_s_clock(tmp_path: Path) -> None:
    clock = Clock()
    watcher, seen = Watcher(tmp_path, "s", clock), Picture(total=1, running=1)
    tell(tmp_path, "a", seen, ago=SILENCE + 100)  # its clock is behind, or it is dead
    assert watcher.look().state == "silent"
    clock.now += 2
    tell(tmp_path, "a", seen, ago=SILENCE + 99)  # it is behind
    view = watcher.look()
    assert (view.state, view.news) == ("working", 0)
    clock.now += SILENCE + 1
    assert watcher.look().state == "silent"
    assert not watcher.look().over  # it may come back


def test_a_clock_that_is_ahead_hides_no_silence(tmp_path: Path) -> None:
    clock = Clock()
    watcher = Watcher(tmp_path, "s", clock)
    tell(tmp_path, "a", Picture(total=1, running=1), ago=-3600)
    assert watcher.look().state == "working"
    clock.now += SILENCE + 1
    assert watcher.look().state == "silent"


@pytest.mark.parametrize("end", ["done", "stopped", "the disk is full"])
def test_an_end_is_told(tmp_path: Path, end: str) -> None:
    tell(tmp_path, "a", Picture(total=2, done=1, failed=1), end=end, ago=60)
    view = Watcher(tmp_path, "s").look()
    assert (view.state, view.end, view.over) == ("ended", end, True)
    assert view.news == pytest.approx(60, abs=5)


def test_watching_writes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "none"
    Watcher(root, "s").look()
    assert not root.exists()


def test_one_that_may_be_dead_is_not_counted_beside_one_at_work(tmp_path: Path) -> None:
    work = [Working(letter * 16, f"run {letter}") for letter in "ab"]
    tell(tmp_path, "p", Picture(total=5, running=1, waiting=4, working=(work[0],)), ago=2 * SILENCE)
    tell(tmp_path, "q", Picture(total=5, running=1, waiting=4, working=(work[1],)))
    view = Watcher(tmp_path, "s").look()
    assert (view.state, view.picture.working) == ("working", (work[1],))
