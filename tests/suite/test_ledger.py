"""The ledger: what it keeps, when, and that no trouble with it reaches the sweep."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite import ledger
from suite.ledger import Ledger, expected, told
from suite.picture import Picture
from suite.store import Store

PACE = 0.02


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(PACE / 2)


def test_it_keeps_what_is_seen_and_how_it_ended(tmp_path: Path) -> None:
    seen = [Picture(total=3, running=1, waiting=2)]
    with Ledger(tmp_path, "a.b", lambda: seen[-1], pytest.fail, pace=PACE) as book:
        book.expect(["k2", "k1"])
        until(lambda: expected(tmp_path, "a.b") == ["k1", "k2"])
        (entry,) = told(tmp_path, "a.b")
        assert (entry.picture, entry.end, entry.state(0)) == (seen[0], "", "working")
        assert entry.process["host"] == socket.gethostname()
        assert entry.process["pid"] == os.getpid()
        seen.append(Picture(total=3, done=1, running=1, waiting=1))
        book.touch()
        until(lambda: told(tmp_path, "a.b")[0].picture.done == 1)
        book.expect(["k3"])
        until(lambda: len(expected(tmp_path, "a.b")) == 3)
        seen.append(Picture(total=3, done=2, failed=1))
    (entry,) = told(tmp_path, "a.b")
    assert (entry.picture, entry.end, entry.state(0)) == (seen[-1], "done", "ended")
    assert sorted(path.name for path in (tmp_path / "live" / "a.b").iterdir()) == [f"{entry.id}.json", "runs.txt"]


@pytest.mark.parametrize(
    ("error", "left", "end"),
    [
        (None, 0, "done"),
        (None, 1, "stopped"),
        (KeyboardInterrupt(), 1, "stopped"),
        (RuntimeError("the disk\nis full"), 1, "the disk is full"),
    ],
)
def test_the_end_says_why(tmp_path: Path, error: BaseException | None, left: int, end: str) -> None:
    book = Ledger(tmp_path, "s", lambda: Picture(total=1, waiting=left), pytest.fail, pace=PACE)
    book.__enter__()
    book.__exit__(type(error), error, None)
    assert [entry.end for entry in told(tmp_path, "s")] == [end]


def test_nothing_new_is_written_seldom(tmp_path: Path) -> None:
    looks = []
    with Ledger(tmp_path, "s", lambda: looks.append(1) or Picture(), pytest.fail, pace=0.001):  # type: ignore[func-returns-value]
        time.sleep(0.2)
        assert len(looks) == 1


def test_trouble_is_said_once_and_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "live").write_text("in the way")
    with Ledger(tmp_path, "s", Picture, said.append, pace=PACE):
        time.sleep(10 * PACE)
        assert len(said) == 1
        assert said[0].startswith(f"watch will not see this sweep for now: {tmp_path}/live/s: ")
        assert told(tmp_path, "s") == []
        (tmp_path / "live").unlink()
        until(lambda: told(tmp_path, "s"))
    assert said[1:] == ["watch sees this sweep again"]
    assert [entry.end for entry in told(tmp_path, "s")] == ["done"]


def test_a_disk_that_does_not_answer_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "place", lambda *_, **__: time.sleep(60))
    monkeypatch.setattr(ledger, "PARTING", 0.1)
    before = time.monotonic()
    with Ledger(tmp_path, "s", Picture, pytest.fail) as book:
        book.touch()
    assert time.monotonic() - before < 2


def test_a_process_that_was_killed_is_known_as_dead_and_its_file_goes_with_the_next(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path;"
        "from suite.ledger import Ledger; from suite.picture import Picture;"
        "book = Ledger(Path(sys.argv[1]), 's', Picture, print, pace=0.02).__enter__();"
        "time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=Path(__file__).parents[2])
    until(lambda: told(tmp_path, "s"))
    (entry,) = told(tmp_path, "s")
    assert (entry.process["pid"], entry.state(1e6)) == (process.pid, "working")  # seen from here, whatever the clock
    process.kill()
    process.wait()
    assert entry.state(0) == "dead"
    (tmp_path / "live" / "s" / "x.json.tmp-1").write_text("")
    os.utime(tmp_path / "live" / "s" / "x.json.tmp-1", (0, 0))
    with Ledger(tmp_path, "s", Picture, pytest.fail, pace=PACE):
        until(lambda: [each.process["pid"] for each in told(tmp_path, "s")] == [os.getpid()])
    assert not list((tmp_path / "live" / "s").glob("*.tmp-*"))


def test_another_machine_s_process_is_silent_only_after_a_while(tmp_path: Path) -> None:
    with Ledger(tmp_path, "s", Picture, pytest.fail, pace=PACE):
        until(lambda: told(tmp_path, "s"))
    (path,) = (tmp_path / "live" / "s").glob("*.json")
    plain = {**json.loads(path.read_text()), "end": ""}
    plain["process"] = {"host": "n01", "pid": 1, "born": "1", "space": "elsewhere"}
    path.write_text(json.dumps(plain))
    (entry,) = told(tmp_path, "s")
    assert [entry.state(age) for age in (0, ledger.SILENCE - 1, ledger.SILENCE + 1)] == ["working", "working", "silent"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"process": {}, "time": 1, "end": "", "picture": []}', "\xff"])
def test_files_that_are_no_ledger_are_left_out(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "live" / "s"
    folder.mkdir(parents=True)
    (folder / "x.json").write_bytes(text.encode("latin-1"))
    assert told(tmp_path, "s") == []


def test_it_is_no_sweep_and_no_run(tmp_path: Path) -> None:
    store = Store.open(tmp_path, write=True)
    store.save_sweep("s", "")
    with Ledger(tmp_path, "s", Picture, pytest.fail, pace=PACE) as book:
        book.expect(["0" * 16])
        until(lambda: expected(tmp_path, "s"))
        facts: list[Any] = [list(store.sweeps()), store.keys(), store.failures()]
        assert facts == [["s"], [], {}]
