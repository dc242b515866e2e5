"""`merge`, `gc` and `stop`: results folders joined and cleared, and sweeps asked to stop from outside."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from suite.errors import Exit
from suite.stopping import Asked, ask
from suite.store import Store
from tests.suite.cli.conftest import Call
from tests.suite.records_for_tests import record

TWO = ("run", "-m", "finetune", "-p", "toy-b0i5", "--seeds", "0,1", "--address", "none", "--limit-epochs", "1")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def filled(root: str, *seeds: int, **changes: Any) -> Store:
    store = Store.open(Path(root), write=True)
    for seed in seeds:
        store.write(record(seed + 1, seed=seed, **changes))
    return store


# --- merge


def test_what_is_not_there_is_taken_byte_for_byte(call: Call) -> None:
    one, two = filled("one", 0, 1), filled("two", 1, 2)
    one.save_sweep("mine", "methods = []\n")
    said = call("merge", "one", "two", "--root", "all", "--json")
    assert said.code == Exit.DONE
    assert [len(each["taken"]) for each in said.json] == [2, 1]
    assert [len(each["there"]) for each in said.json] == [0, 1]
    into = Store.open(Path("all"))
    assert into.keys() == sorted({*one.keys(), *two.keys()})
    assert list(into.sweeps()) == ["mine"]
    for kind in ("records", "predictions"):
        for source in (one, two):
            for path in (source.root / kind).iterdir():
                assert (into.root / kind / path.name).read_bytes() == path.read_bytes()
    again = call("merge", "one", "two", "--root", "all")
    assert "one: 0 records taken, 2 there already" in again.err


def test_another_result_is_named_and_nothing_is_overwritten(call: Call) -> None:
    filled("one", 0)
    kept = filled("all", 0, right=[[9], [9, 9], [9, 9, 9]]).read(f"{1:016x}").digest()
    said = call("merge", "one", "--root", "all")
    assert said.code == Exit.DIFFERS
    assert f"run {1:016x}: one holds another result than all, which stays" in said.err
    assert Store.open(Path("all")).read(f"{1:016x}").digest() == kept


def test_damaged_records_are_left_behind_and_named(call: Call) -> None:
    filled("one", 0, 1)
    (Path("one/predictions") / f"{1:016x}.parquet").write_bytes(b"half")
    said = call("merge", "one", "--root", "all")
    assert said.code == Exit.DONE
    assert "set aside" in said.err
    assert Store.open(Path("all")).keys() == [f"{2:016x}"]


@pytest.mark.parametrize(("source", "words"), [("nowhere", "has no records"), ("all", "that all are merged into")])
def test_what_cannot_be_merged_gets_one_line(call: Call, source: str, words: str) -> None:
    filled("all", 0)
    said = call("merge", source, "--root", "all")
    assert said.code != Exit.DONE
    assert words in said.err
    assert len(said.err.splitlines()) == 1


# --- gc


def test_what_killed_writers_left_goes_and_results_stay(call: Call) -> None:
    store = filled("results", 0, 1)
    done, open_ = f"{1:016x}", "f" * 16
    for key in (done, open_):
        store.work(key).mkdir(parents=True)
        (store.work(key) / "stream.pt").write_bytes(b"12345")
    left = store.root / "records" / f"{done}.parquet.tmp-0badcafe"
    old, young = (store.root / "live" / f"{name}.tmp-123" for name in ("old", "young"))  # of those who hold no locks
    young.parent.mkdir()
    for path in (left, old, young):
        path.write_bytes(b"x")
    os.utime(left, (time.time() + 7200,) * 2)  # a clock was set back meanwhile
    os.utime(old, (time.time() - 7200,) * 2)
    tried = call("gc", "--dry-run", "--json")
    assert {Path(each["path"]).name for each in tried.json} == {done, f"{done}.lock", f"{open_}.lock", left.name,
                                                            old.name}  # fmt: skip
    assert left.exists()
    said = call("gc")
    assert said.code == Exit.DONE
    assert not left.exists()
    assert not old.exists()
    assert young.exists()
    assert not store.work(done).exists()
    assert (store.work(open_) / "stream.pt").exists()
    assert len(store.keys()) == 2
    assert [record.key for record in store.records()] == store.keys()
    assert "nothing to remove" not in call("gc", "--unfinished").err
    assert not store.work(open_).exists()
    assert "nothing to remove" in call("gc", "--unfinished").err


def test_what_somebody_works_on_stays(call: Call) -> None:
    store = filled("results", 0)
    store.work("e" * 16).mkdir(parents=True)
    lock = store.lock("e" * 16)
    with lock:
        call("gc", "--unfinished")
        assert store.work("e" * 16).is_dir()
    call("gc", "--unfinished")
    assert not store.work("e" * 16).exists()


def test_there_is_nothing_to_clear_where_there_is_no_store(call: Call) -> None:
    assert call("gc").code == Exit.NOTHING
    assert not Path("results").exists()


# --- stop


def test_a_wish_of_an_earlier_day_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.stopping.EVERY", 0.0)
    ask(tmp_path, "mine")
    asked = Asked(tmp_path, "mine")
    assert not asked()
    ask(tmp_path, "other")
    assert not asked()
    ask(tmp_path, "mine")
    assert asked()
    shutil.rmtree(tmp_path / "live")
    assert asked()


def test_a_sweep_stops_when_asked_and_goes_on(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from suite.live import Live

    shown = Live.observe

    def observe(self: Any, event: Any) -> None:
        shown(self, event)
        if event.kind == "task":
            ask(Path("results"), "mine")

    monkeypatch.setattr("suite.stopping.EVERY", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(Live, "observe", observe)
        said = call(*TWO, "--name", "mine")
    assert said.code == Exit.RESUMABLE
    assert "asked to stop: runs save at their next safe point" in said.err
    assert "2 left" in said.err
    assert "resume mine" in said.err
    assert call("resume", "mine").code == Exit.DONE
    told = call("stop", "mine")
    assert told.code == Exit.DONE
    assert "nobody seems to be at work on it" in told.err
    assert call("resume", "mine").code == Exit.DONE
    assert 'did you mean "mine"' in call("stop", "mime").err
