"""Results roots in an object store: what holds for a folder on a disk holds there, too, by the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from grace.storage.folders import Folder, folder, names
from grace.storage.objects import ObjectPath
from grace.storage.writing import place
from suite.errors import Exit, SuiteError
from suite.index import indexed_rows
from suite.launch import LaunchOptions
from suite.ledger import Ledger, told
from suite.picture import Picture
from suite.record import Failure
from suite.stopping import Asked, ask
from suite.store import Store
from tests.suite.cli.conftest import Call, call  # noqa: F401  # a fixture
from tests.suite.records_for_tests import record

TOP = Path(__file__).parents[2]
KEY = f"{1:016x}"
RUN = ("-m", "finetune", "-p", "digits-b0i2", "--limit-epochs", "1", "--address", "none")

pytestmark = pytest.mark.xdist_group("s3")


@pytest.fixture
def root(bucket: str) -> str:
    return f"{bucket}/results"


@pytest.fixture
def store(root: str) -> Store:
    return Store.open(root, write=True)


def objects(place_: str | Folder) -> set[str]:
    """Every object below, by its way from there."""
    from pyarrow.fs import FileSelector

    at = folder(place_)
    assert isinstance(at, ObjectPath)
    with at._asking() as there:
        infos = there.get_file_info(FileSelector(at.path, recursive=True, allow_not_found=True))
    return {info.path.removeprefix(f"{at.path}/") for info in infos if info.is_file}


# --- the store


def test_records_are_written_read_and_listed(store: Store, root: str) -> None:
    assert store.exists
    assert not store.done(KEY)
    store.write(record(readouts=("linear", "nme")))
    store.fail(Failure(f"{2:016x}", "widen toy", "error", "it broke", "", "", "host", "2026-01-01"))
    store.save_sweep("mine", "methods = []\n")
    assert objects(root) == {"store.json", f"records/{KEY}.parquet", f"predictions/{KEY}.parquet",
                             f"failed/{2:016x}.json", "sweeps/mine.toml"}  # fmt: skip
    again = Store.open(root)
    assert again.keys() == [KEY]
    assert again.done(KEY)
    assert again.finished([KEY, "0" * 16]) == {KEY}
    assert again.read(KEY).result() == record(readouts=("linear", "nme")).result()
    assert list(again.failures()) == [f"{2:016x}"]
    assert list(again.sweeps()) == ["mine"]
    assert again.newest() == folder(root) / "sweeps" / "mine.toml"
    assert again.stamps()[KEY]
    assert again.damaged == []


def test_nothing_is_written_by_reading(root: str) -> None:
    store = Store.open(root)
    assert not store.exists
    assert store.keys() == []
    assert store.stamps() == {}
    assert store.newest() is None
    assert indexed_rows(store) == []
    assert objects(root) == set()


def test_damage_is_set_aside(store: Store, root: str) -> None:
    store.write(record())
    place(folder(root) / "records" / f"{KEY}.parquet", b"half")
    assert not store.done(KEY)
    assert store.damaged[0].startswith(f"record {KEY} set aside as {root}/damaged/{KEY}.1.*")
    assert {name for name in objects(root) if KEY in name} == {f"damaged/{KEY}.1.{kind}.parquet"
                                                              for kind in ("records", "predictions")}  # fmt: skip


def test_rows_are_kept_beside_the_records(store: Store, root: str) -> None:
    for number in range(1, 21):
        store.write(record(number, seed=number))
    made = indexed_rows(Store.open(root))
    assert [row["train_seed"] for row in made] == list(range(1, 21))
    assert sum(name.startswith("index/rows-") for name in objects(root)) == 1
    assert [r.train_seed for r in Store.open(root).records()] == list(range(1, 21))


def test_rows_that_are_kept_cost_a_few_requests(store: Store, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 21):
        store.write(record(number, seed=number))
    before, asked, asking = indexed_rows(store), list[str](), ObjectPath._asking
    monkeypatch.setattr(ObjectPath, "_asking", lambda self: asked.append(self.path) or asking(self))  # type: ignore[func-returns-value]
    assert indexed_rows(Store(folder(root))) == before
    assert len(asked) <= 6  # lists of records, predictions and index, the one file there, what is forgotten


def test_a_reader_never_sees_half_a_record(store: Store, root: str) -> None:
    command = f"from tests.suite.writers_for_tests import write; write({root!r}, 1, 8)"
    with subprocess.Popen([sys.executable, "-c", command], cwd=TOP, stdout=subprocess.DEVNULL) as writer:
        while writer.poll() is None:
            for found in store.records():
                assert found.digest() == record(int(found.key, 16)).digest()
    assert writer.returncode == 0
    assert len(store.keys()) == 8
    assert store.damaged == []


def test_whether_it_is_away_is_said_in_a_line(
    store: Store, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.away() == ""
    (folder(root) / "store.json").unlink()
    assert store.away() == f"results root {root} is away: store.json: No such file or directory"
    monkeypatch.setattr("grace.storage.objects.ATTEMPTS", 1)
    far = "s3://bucket/results?scheme=http&endpoint_override=127.0.0.1:9&region=here"
    assert "connect" in Store(folder(far)).away()
    with pytest.raises(SuiteError, match=r"cannot be opened: .*connect") as caught:
        Store.open(far)
    assert caught.value.code is Exit.ENVIRONMENT
    assert "\n" not in str(caught.value)
    disk = Store.open(tmp_path / "disk", write=True)
    assert disk.away() == ""
    (disk.root / "store.json").write_text("half of {")  # type: ignore[union-attr]
    assert "does not say which version" in disk.away()
    shutil.rmtree(tmp_path / "disk")
    assert "No such file" in disk.away()


def test_launch_options_leave_a_uri_as_it_is(root: str) -> None:
    options = LaunchOptions(root=folder(root), data=Path("data"))
    assert str(options.root) == root
    assert options.scratch.is_absolute()
    assert LaunchOptions(root=Path("results"), data=Path("data")).scratch == Path.cwd() / "results" / "ray"


def test_processes_are_told_of_and_asked_to_stop(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.stopping.EVERY", 0.0)
    at = folder(root)
    ask(at, "s")
    asked = Asked(at, "s")
    assert not asked()  # a wish of an earlier day
    ask(at, "s")
    assert asked()
    with Ledger(at, "s", lambda: Picture(total=2), pytest.fail, pace=0.05) as book:
        book.expect(["a", "b"])
        until = time.monotonic() + 20
        while "runs.txt" not in names(at / "live" / "s") or not told(at, "s"):
            assert time.monotonic() < until
            time.sleep(0.05)
    assert [(each.end, each.picture.total) for each in told(at, "s")] == [("done", 2)]


# --- the command line


def killed_in_the_middle(root: str) -> None:
    """Start the run and kill its process when the first task is over."""
    command = [sys.executable, "run_suite.py", "run", *RUN, "--checkpoint-seconds", "0", "--root", root]
    with subprocess.Popen(command, cwd=TOP, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 120
        while not any(name.endswith("stream.pt") for name in objects(root)):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)


def test_a_run_killed_in_the_middle_goes_on_to_the_same_result(
    call: Call,  # noqa: F811
    root: str,
    tmp_path: Path,
) -> None:
    killed_in_the_middle(root)
    left = objects(root)
    (claim,) = (name for name in left if name.startswith("locks/"))
    assert not any(name.startswith("records/") for name in left)
    assert "1 to run" in call("plan", *RUN[:6], "--root", root).out
    said = call("watch", "--once", "--root", root)
    assert "is dead" in said.out
    said = call("run", *RUN, "--root", root)  # the claim of a process that died here holds up nobody
    assert said.code == Exit.DONE, said.err
    assert "1 run finished" in said.err
    assert claim not in objects(root)
    assert call("run", *RUN).code == Exit.DONE  # on a disk, without disturbance
    there, here = Store.open(root), Store.open("results")
    assert there.keys() == here.keys()
    (key,) = here.keys()
    assert there.read(key).digest() == here.read(key).digest()
    assert not {name for name in objects(root) if name.startswith(("work/", "locks/")) or ".tmp-" in name}

    # and what there is to see of it
    rows = call("results", "--json", "--root", root).json
    assert [row["key"] for row in rows] == [key]
    assert "FineTune" in call("table", "--smoke", "--root", root).out
    assert call("table", "--smoke", "-o", tmp_path / "t.csv", "--to", "csv", "--root", root).code == Exit.DONE
    assert "finetune" in (tmp_path / "t.csv").read_text().lower()
    assert call("report", "--smoke", "-o", tmp_path / "r.html", "--root", root).code == Exit.DONE
    assert "1 done, 0 to run" in call("plan", *RUN[:6], "--root", root).out
    assert json.loads(call("watch", "--json", "--root", root).out)["state"] == "ended"
    sweep = json.loads(call("watch", "--json", "--root", root).out)["sweep"]
    assert "nobody seems to be at work" in call("stop", sweep, "--root", root).err
    assert "nothing to do" in call("resume", "--root", root).err


def test_folders_and_stores_are_merged_both_ways(call: Call, bucket: str) -> None:  # noqa: F811
    one = Store.open("one", write=True)
    for number in (1, 2):
        one.write(record(number, seed=number))
    one.save_sweep("mine", "methods = []\n")
    two = Store.open(f"{bucket}/two", write=True)
    two.write(record(3, seed=3))
    two.write(record(1, seed=1, right=[[9], [9, 9], [9, 9, 9]]))
    said = call("merge", "one", f"{bucket}/two", "--root", f"{bucket}/all", "--json")
    assert said.code == Exit.DIFFERS
    assert [len(each["taken"]) for each in said.json] == [2, 1]
    assert [len(each["unlike"]) for each in said.json] == [0, 1]
    said = call("merge", f"{bucket}/all", "--root", "back")
    assert said.code == Exit.DONE
    back, all_ = Store.open("back"), Store.open(f"{bucket}/all")
    assert back.keys() == all_.keys() == [f"{number:016x}" for number in (1, 2, 3)]
    for kind in ("records", "predictions"):
        for path in (back.root / kind).iterdir():
            assert (all_.root / kind / path.name).read_bytes() == path.read_bytes()
    assert list(back.sweeps()) == ["mine"]
    said = call("merge", f"{bucket}/all", "--root", f"{bucket}/all/")
    assert "that all are merged into" in said.err


def test_gc_removes_what_nobody_needs(call: Call, root: str, store: Store) -> None:  # noqa: F811
    store.write(record())
    done, open_, held, gone = KEY, "d" * 16, "e" * 16, "f" * 16
    for key in (done, open_, held):
        place(store.work(key) / "stream.pt", b"12345")
    lock = store.lock(held)
    lock.acquire(timeout=0)
    dead = {"host": "n02", "pid": 1, "born": "1", "space": "another"}
    process = json.loads((folder(root) / "locks" / names(folder(root) / "locks")[0]).read_bytes())
    place(folder(root) / "locks" / f"{gone}.0123", json.dumps({**process, "born": "0"}).encode())
    place(folder(root) / "locks" / f"{open_}.0123", json.dumps(dead).encode())  # may live on another machine
    tried = call("gc", "--dry-run", "--json", "--root", root)
    assert {each["path"] for each in tried.json} == {f"{root}/work/{done}", f"{root}/locks/{gone}.0123"}
    assert f"work/{done}/stream.pt" in objects(root)
    assert "removed" in call("gc", "--unfinished", "--root", root).err
    assert {name for name in objects(root) if name.startswith("work/")} == {f"work/{open_}/stream.pt",
                                                                           f"work/{held}/stream.pt"}  # fmt: skip
    lock.release()
    assert store.done(done)
    assert not {name for name in objects(root) if name.startswith(("locks/e", "locks/f"))}


@pytest.mark.parametrize(
    ("place_", "words", "code"),
    [
        ("hdfs://host/x", "a folder, s3:// or gs:// is wanted", Exit.USAGE),
        ("s3://k:s@bucket/x", "put them in the environment", Exit.USAGE),
        ("s3://none-of-ours/x", "no finished run under s3://none-of-ours/x", Exit.NOTHING),
    ],
)
def test_places_that_cannot_be_get_one_line(call: Call, root: str, place_: str, words: str, code: Exit) -> None:  # noqa: F811
    said = call("results", "--root", place_)
    assert said.code == code
    assert words in said.err
    assert len(said.err.splitlines()) == 1


# --- disks: what a killed writer leaves


def started(call_: str) -> subprocess.Popen[str]:
    code = f"from tests.suite.writers_for_tests import halfway; halfway({call_!r})"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], cwd=TOP, **pipes)


@pytest.mark.parametrize("clean", ["gc", "clean"])
def test_what_a_killed_writer_leaves_goes_and_what_is_being_written_stays(
    call: Call,  # noqa: F811
    tmp_path: Path,
    clean: str,
) -> None:
    store = Store.open(tmp_path / "results", write=True)
    assert isinstance(store.root, Path)
    store.write(record(9))
    files = [store.root / name for name in (f"records/{KEY}.parquet", f"work/{KEY}/stream.pt", "live/s/a.json")]
    files = files if clean == "gc" else files[:1]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)

    def remove() -> None:
        if clean == "gc":
            assert call("gc", "--root", store.root).code == Exit.DONE
        else:
            store.clean(KEY)

    def left() -> list[Path]:
        return sorted(path for path in Path(store.root).rglob("*.tmp-*"))

    writers = [started(str(file)) for file in files]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "half\n"
        for path in left():
            os.utime(path, (time.time() - 86400,) * 2)  # and a clock was set
        assert len(left()) == len(files)
        remove()
        assert len(left()) == len(files)  # they are being written
        writers[0].communicate("\n", timeout=60)
        assert files[0].read_bytes() == b"half and half"
        for writer in writers[1:]:
            writer.kill()
            writer.wait()
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    with started(str(files[0])) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.kill()
    for path in left():
        os.utime(path, (time.time() + 86400,) * 2)
    assert len(left()) == len(files)
    remove()
    assert left() == []
    assert files[0].read_bytes() == b"half and half"
