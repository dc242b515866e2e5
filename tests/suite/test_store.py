"""The store: whole files or none, damage set aside and named, copies merged, two writers, trouble with the disk."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import Timeout

from suite.errors import Exit, SuiteError
from suite.record import Failure
from suite.spec import SCHEMA
from suite.store import Store
from tests.suite.records_for_tests import record

KEY = f"{1:016x}"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "results", write=True)


def failure(number: int = 1) -> Failure:
    return Failure(f"{number:016x}", "widen toy", "error", "it broke", "task 1", "Traceback ...", "host", "2026-01-01")


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_written_and_read(store: Store) -> None:
    assert not store.done(KEY)
    store.write(record(readouts=("linear", "nme")))
    assert store.done(KEY)
    assert store.keys() == [KEY]
    assert store.read(KEY).result() == record(readouts=("linear", "nme")).result()
    assert store.read(KEY, predictions=False).tasks[0].predictions == {}
    assert tree(store.root) == {f"records/{KEY}.parquet", f"predictions/{KEY}.parquet", "store.json"}
    assert json.loads((store.root / "store.json").read_text()) == {"schema": SCHEMA}
    assert store.damaged == []


def test_no_record_is_one_line(store: Store) -> None:
    with pytest.raises(SuiteError, match=f"no record of run {KEY}") as caught:
        store.read(KEY)
    assert caught.value.code is Exit.NOTHING


def test_records_come_in_order(store: Store) -> None:
    for number in (3, 1, 2):
        store.write(record(number, seed=number))
    assert [r.train_seed for r in store.records()] == [1, 2, 3]
    assert [r.train_seed for r in store.records([f"{3:016x}", f"{1:016x}"])] == [3, 1]


def test_reading_creates_nothing(tmp_path: Path) -> None:
    root = tmp_path / "none"
    store = Store.open(root)
    assert not store.exists
    assert store.keys() == []
    assert not store.done(KEY)
    assert store.failures() == {}
    assert store.sweeps() == {}
    assert list(store.records()) == []
    assert store.work(KEY) == root / "work" / KEY
    assert not root.exists()


def test_an_empty_folder_is_no_store(tmp_path: Path) -> None:
    assert not Store.open(tmp_path).exists
    assert Store.open(tmp_path, write=True).exists


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x10
    path.write_bytes(bytes(data))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip, empty, Path.unlink])
@pytest.mark.parametrize("kind", ["records", "predictions"])
def test_damage_is_set_aside_named_and_made_good(store: Store, kind: str, damage: Callable[[Path], None]) -> None:
    store.write(record())
    damage(store.root / kind / f"{KEY}.parquet")
    if (kind, damage) == ("records", Path.unlink):  # no record, no run: nothing is damaged
        assert not store.done(KEY)
        assert store.damaged == []
        return
    assert not store.done(KEY)
    assert store.keys() == []
    assert len(store.damaged) == 1
    assert store.damaged[0].startswith(f"record {KEY} set aside")
    assert str(store.root / "damaged") in store.damaged[0]
    kept = {name for name in tree(store.root) if name.startswith("damaged/")}
    expected = {f"damaged/{KEY}.1.records.parquet", f"damaged/{KEY}.1.predictions.parquet"}
    assert kept == expected - ({f"damaged/{KEY}.1.predictions.parquet"} if damage is Path.unlink else set())
    assert not store.done(KEY)
    assert len(store.damaged) == 1  # named once
    store.write(record())
    assert store.done(KEY)


def test_damage_twice_keeps_both(store: Store) -> None:
    for _ in range(2):
        store.write(record())
        cut(store.root / "records" / f"{KEY}.parquet")
        assert not store.done(KEY)
    names = {name for name in tree(store.root) if name.startswith("damaged/")}
    assert {name.split(".")[1] for name in names} == {"1", "2"}
    assert len(names) == 4


def test_damage_does_not_hide_the_others(store: Store) -> None:
    for number in (1, 2, 3):
        store.write(record(number))
    flip(store.root / "predictions" / f"{2:016x}.parquet")
    assert [r.key for r in store.records()] == [f"{1:016x}", f"{3:016x}"]
    assert len(store.damaged) == 1
    with pytest.raises(SuiteError, match="no record of run"):
        store.read(f"{2:016x}")


def test_reading_a_damaged_record_says_what_became_of_it(store: Store) -> None:
    store.write(record())
    cut(store.root / "records" / f"{KEY}.parquet")
    with pytest.raises(SuiteError, match=r"set aside as .*damaged"):
        store.read(KEY)


def test_a_record_under_another_runs_name_is_damaged(store: Store) -> None:
    store.write(record(2))
    for kind in ("records", "predictions"):
        (store.root / kind / f"{2:016x}.parquet").rename(store.root / kind / f"{KEY}.parquet")
    assert not store.done(KEY)
    assert f"it holds run {2:016x}" in store.damaged[0]


def test_damage_that_cannot_be_moved_is_named_and_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(record())
    cut(store.root / "records" / f"{KEY}.parquet")

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "rename", refuse)
    assert not store.done(KEY)
    assert "Read-only file system" in store.damaged[0]
    assert store.keys() == [KEY]


def test_what_is_no_record_is_passed_over(store: Store) -> None:
    store.write(record())
    folder = store.root / "records"
    for name in (f"{KEY}.parquet.tmp-1234", f".{KEY}.parquet.Xy12", "notes.txt", f"._{KEY}.parquet", KEY):
        (folder / name).write_bytes(b"half")
    assert store.keys() == [KEY]
    assert [r.key for r in store.records()] == [KEY]
    assert store.damaged == []


def test_predictions_without_a_record_are_an_unfinished_write(store: Store) -> None:
    store.write(record())
    (store.root / "records" / f"{KEY}.parquet").unlink()
    (store.root / "predictions" / f"{KEY}.parquet").write_bytes(b"half of another")
    assert not store.done(KEY)
    assert store.damaged == []
    store.write(record())
    assert store.done(KEY)


def test_writing_again_changes_nothing(store: Store) -> None:
    store.write(record(host="one"))
    store.write(record(host="two"))
    assert store.read(KEY).provenance["host"] == "one"


# Merging, and what another version or nobody wrote


@pytest.mark.parametrize("copy", ["cp", "python"])
def test_copying_two_roots_together_merges_them(tmp_path: Path, copy: str) -> None:
    one, two = (Store.open(tmp_path / name, write=True) for name in ("one", "two"))
    for root, numbers in ((one, (1, 2)), (two, (2, 3))):
        for number in numbers:
            root.write(record(number))
    one.fail(failure(3))
    two.fail(failure(4))
    one.save_sweep("a", "methods = []")
    two.save_sweep("b", "methods = []")
    if copy == "cp":
        subprocess.run(["cp", "-r", f"{two.root}/.", str(one.root)], check=True)
    else:
        shutil.copytree(two.root, one.root, dirs_exist_ok=True)
    merged = Store.open(one.root, write=True)
    assert merged.keys() == [f"{number:016x}" for number in (1, 2, 3)]
    assert all(map(merged.done, [f"{number:016x}" for number in (1, 2, 3)]))
    assert [r.result() for r in merged.records()] == [record(n).result() for n in (1, 2, 3)]
    assert list(merged.failures()) == [f"{4:016x}"]  # run 3 has a record by now
    assert list(merged.sweeps()) == ["a", "b"]
    assert merged.damaged == []


def test_a_store_of_a_newer_version_is_refused(store: Store) -> None:
    (store.root / "store.json").write_text(json.dumps({"schema": SCHEMA + 1}))
    for write in (False, True):
        with pytest.raises(SuiteError, match="upgrade grace-suite") as caught:
            Store.open(store.root, write=write)
        assert caught.value.code is Exit.ENVIRONMENT
        assert str(store.root) in str(caught.value)


def test_a_record_of_a_newer_version_is_refused_and_not_damaged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.record.SCHEMA", SCHEMA + 1)
    store.write(record())
    monkeypatch.undo()
    for ask in (store.done, store.read, lambda key: list(store.records())):
        with pytest.raises(SuiteError, match=f"{KEY}.*upgrade grace-suite") as caught:
            ask(KEY)
        assert caught.value.code is Exit.ENVIRONMENT
    assert store.keys() == [KEY]
    assert store.damaged == []


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema": "x"}', "half of {"])
def test_a_store_that_does_not_say_its_version_is_refused(store: Store, text: str) -> None:
    (store.root / "store.json").write_text(text)
    with pytest.raises(SuiteError, match="does not say which version") as caught:
        Store.open(store.root)
    assert caught.value.code is Exit.ENVIRONMENT


def test_a_store_without_its_mark_gets_one(store: Store) -> None:
    store.write(record())
    (store.root / "store.json").unlink()
    assert Store.open(store.root).done(KEY)
    assert Store.open(store.root, write=True).done(KEY)
    assert (store.root / "store.json").exists()


# Trouble with the disk: a line, exit 6, nothing half written


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SuiteError, match="results root") as caught:
            Store.open(root, write=True)
        assert caught.value.code is Exit.ENVIRONMENT
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_takes_nothing_more(store: Store, monkeypatch: pytest.MonkeyPatch, number: int, call: str) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)
    for write in (
        lambda: store.write(record()),
        lambda: store.fail(failure()),
        lambda: store.save_sweep("s", "x = 1"),
    ):
        with pytest.raises(SuiteError, match=os.strerror(number)) as caught:
            write()
        assert caught.value.code is Exit.ENVIRONMENT
        assert str(store.root) in str(caught.value)
    if call == "fsync":
        with pytest.raises(SuiteError, match=os.strerror(number)):
            Store.open(store.root, write=True)
        assert tree(store.root) == {"store.json"}  # no temporary file is left on a full disk
    monkeypatch.undo()
    assert not store.done(KEY)
    store.write(record())
    assert store.done(KEY)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_root_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(SuiteError, match="Permission denied"):
            Store.open(tmp_path / "results", write=True)
    finally:
        tmp_path.chmod(0o700)


# Failures, sweeps, work folders


def test_failures_are_kept_until_the_run_succeeds(store: Store) -> None:
    store.fail(failure())
    store.fail(failure(2))
    assert store.failures() == {KEY: failure(), f"{2:016x}": failure(2)}
    store.write(record())
    assert list(store.failures()) == [f"{2:016x}"]
    assert not (store.root / "failed" / f"{KEY}.json").exists()


def test_a_failure_cut_short_is_passed_over(store: Store) -> None:
    store.fail(failure())
    (store.root / "failed" / f"{KEY}.json").write_text('{"key": "0')
    (store.root / "failed" / f"{2:016x}.json").write_text("{}")
    assert store.failures() == {}


def test_sweeps_are_kept_by_name(store: Store) -> None:
    store.save_sweep("grace-1.0", 'methods = ["a"]')
    path = store.save_sweep("grace-1.0", '{"methods": []}', "json")
    assert store.sweeps() == {"grace-1.0": path}
    assert path.read_text() == '{"methods": []}'
    with pytest.raises(SuiteError, match="sweep name"):
        store.save_sweep("../elsewhere", "x")


def test_cleaning_removes_checkpoints_and_leftovers_of_that_run_only(store: Store) -> None:
    store.write(record())
    for key in (KEY, f"{2:016x}"):
        store.work(key).mkdir()
        (store.work(key) / "stream.pt").write_bytes(b"x")
        (store.root / "predictions" / f"{key}.parquet.tmp-0abc").write_bytes(b"x")
    store.clean(KEY)
    other = f"{2:016x}"
    assert not store.work(KEY).exists()
    assert tree(store.root) == {f"records/{KEY}.parquet", f"predictions/{KEY}.parquet", "store.json",
                                f"work/{other}/stream.pt", f"predictions/{other}.parquet.tmp-0abc"}  # fmt: skip
    store.clean(KEY)  # nothing to do is no error
    assert store.done(KEY)


# Two at once


def started(call: str) -> subprocess.Popen[str]:
    code = f"from tests.suite.writers_for_tests import hold, write; {call}"
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_lock_is_held_by_one_and_freed_by_kill(store: Store) -> None:
    with started(f"hold({str(store.root)!r}, {KEY!r})") as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Timeout):
            store.lock(KEY).acquire(timeout=0)
        with store.lock(f"{2:016x}").acquire(timeout=0):  # another run is free
            pass
        holder.kill()
    with store.lock(KEY).acquire(timeout=0):
        pass
    assert store.keys() == []


def test_two_writers_and_a_reader_lose_nothing(store: Store) -> None:
    calls = [f"write({str(store.root)!r}, 1, 12)", f"write({str(store.root)!r}, 1, 12)"]
    writers = [started(call) for call in calls]
    while any(writer.poll() is None for writer in writers):
        for found in store.records():
            assert found.digest() == record(int(found.key, 16)).digest()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    keys = store.keys()
    assert keys == [f"{number:016x}" for number in range(1, 13)]
    assert all(map(store.done, keys))
    assert store.damaged == []
    assert not [name for name in tree(store.root) if ".tmp-" in name]


def test_killed_at_any_moment_every_record_is_whole(store: Store) -> None:
    for lines in (1, 2, 5):
        with started(f"write({str(store.root)!r}, {10 * lines}, 10_000)") as writer:
            assert writer.stdout is not None
            for _ in range(lines):
                writer.stdout.readline()
            writer.kill()
        keys = store.keys()
        assert len(keys) >= lines
        assert all(map(store.done, keys))
        assert store.damaged == []


# What plan needs


def test_asking_is_cheap(store: Store) -> None:
    store.write(record(per_class=60))
    best = min(_timed(store.done, KEY) for _ in range(10))
    assert best < 0.02  # about 2 ms; the bound is for busy machines


def _timed(function: Callable[..., Any], *arguments: Any) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def test_an_empty_store_is_asked_without_parquet(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from suite.store import Store;"
        f"s = Store.open(Path({str(tmp_path)!r})); assert not s.done('{KEY}') and s.keys() == [];"
        "heavy = {'torch', 'ray', 'numpy', 'pyarrow', 'pandas', 'rich', 'filelock'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
