"""The index: the same rows with it and without, and nothing in it is believed that a record does not say."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from suite import index as module
from suite.errors import SuiteError
from suite.index import DEFINING, Index, indexed_rows, version
from suite.record import encode
from suite.results import result_row
from suite.store import Store
from tests.suite.records_for_tests import record

# What the modules that say what a row is import besides, and no row changes with.
NOT_DEFINING = {"grace", "grace.checks", "grace.run", "grace.storage.folders", "grace.storage.writing",
                "grace.streams.catalogue", "protocols", "suite.errors", "suite.spec", "suite.store"}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three runs."""
    found = Store.open(tmp_path / "results", write=True)
    found.write(record(1, "widen", right=[[10], [10, 10], [10, 10, 4]], branches=3))
    found.write(record(2, "anchor", readouts=("linear", "nme")))
    found.write(record(3, "drift", smoke=True, data=None))
    return found


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the rows that were made, not loaded."""
    keys: list[str] = []

    def noted(found: Any) -> dict[str, Any]:
        keys.append(found.key[-1])
        return result_row(found)

    monkeypatch.setattr(module, "result_row", noted)
    return keys


def index_files(store: Store) -> list[Path]:
    return sorted((store.root / "index").glob("*"))


def test_rows_are_the_same_made_and_loaded(store: Store, made: list[str]) -> None:
    expected = [result_row(found) for found in store.records()]
    assert indexed_rows(store) == expected
    assert made == ["1", "2", "3"]
    again = indexed_rows(Store.open(store.root))
    assert again == expected
    assert [list(row) for row in again] == [list(row) for row in expected]  # fields come in the same order
    assert made == ["1", "2", "3"]
    assert len(index_files(store)) == 1


def test_only_what_is_new_is_made(store: Store, made: list[str]) -> None:
    indexed_rows(store)
    store.write(record(4, "widen", seed=1))
    made.clear()
    assert [row["key"][-1] for row in indexed_rows(store)] == ["1", "2", "3", "4"]
    assert made == ["4"]


def test_runs_that_come_one_by_one_leave_few_files(store: Store, made: list[str]) -> None:
    for number in range(4, 20):
        store.write(record(number, seed=number))
        indexed_rows(store)
    assert len(made) == 19  # each once
    assert len(index_files(store)) <= 5
    assert len(indexed_rows(store)) == len(made)


def test_what_is_there_twice_or_no_more_is_cleared_away(store: Store, made: list[str]) -> None:
    expected = indexed_rows(store)
    (path,) = index_files(store)
    for copy in ("a", "b"):
        (path.parent / path.name.replace(".jsonl", f"{copy}.jsonl")).write_bytes(path.read_bytes())
    assert indexed_rows(store) == expected
    (path,) = index_files(store)
    for key in (1, 2):
        (store.root / "records" / f"{key:016x}.parquet").unlink()
    size = path.stat().st_size
    assert indexed_rows(store) == expected[2:]
    (path,) = index_files(store)
    assert path.stat().st_size < size
    (store.root / "records" / f"{3:016x}.parquet").unlink()
    assert indexed_rows(store) == []
    assert index_files(store) == []
    assert len(made) == 3


def rewritten(path: Path) -> None:
    """Another record of the same run, as after a change of its files by hand."""
    whole, predictions = encode(record(1, "widen"))
    path.write_bytes(whole)
    (path.parents[1] / "predictions" / path.name).write_bytes(predictions)


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [rewritten, touched])
def test_a_record_that_changed_is_read_again(store: Store, made: list[str], change: Callable[[Path], None]) -> None:
    (before, *_) = indexed_rows(store)
    change(store.root / "records" / f"{1:016x}.parquet")
    made.clear()
    (after, *_) = indexed_rows(store)
    assert made == ["1"]
    assert after["last"] == (1.0 if change is rewritten else before["last"])
    made.clear()
    assert indexed_rows(store)[0] == after
    assert made == []


def test_runs_that_are_gone_are_gone(store: Store) -> None:
    indexed_rows(store)
    (store.root / "records" / f"{1:016x}.parquet").unlink()
    assert [row["key"][-1] for row in indexed_rows(store)] == ["2", "3"]


def test_damage_is_found_in_spite_of_the_index(store: Store) -> None:
    indexed_rows(store)
    path = store.root / "predictions" / f"{2:016x}.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    (store.root / "predictions" / f"{3:016x}.parquet").unlink()
    assert [row["key"][-1] for row in indexed_rows(store)] == ["1"]
    assert [line.partition(":")[0].split()[1][-1] for line in store.damaged] == ["2", "3"]
    assert "set aside" in store.damaged[0]
    assert "predictions are missing" in store.damaged[1]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def digit(path: Path) -> None:
    """One digit of a figure, so that it is still whole JSON."""
    path.write_bytes(path.read_bytes().replace(b'"last": 1.0', b'"last": 0.9'))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 9 + b"\n\n 1 {}\n" + path.read_bytes().replace(b" ", b"\n"))


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, digit, emptied, garbage, a_folder, Path.unlink])
def test_a_damaged_index_is_made_anew(store: Store, made: list[str], damage: Callable[[Path], None]) -> None:
    expected = indexed_rows(store)
    damage(index_files(store)[0])
    made.clear()
    assert indexed_rows(store) == expected
    assert made
    assert store.damaged == []
    made.clear()
    assert indexed_rows(store) == expected
    assert made == []


def test_an_index_that_is_no_folder_is_no_trouble(store: Store) -> None:
    (store.root / "index").write_text("precious")
    assert indexed_rows(store) == indexed_rows(store)
    assert (store.root / "index").read_text() == "precious"


def test_a_root_that_may_only_be_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(module, "place", refused)
    assert len(indexed_rows(store)) == 3
    assert index_files(store) == []


def test_a_root_that_is_not_there_stays_so(tmp_path: Path) -> None:
    assert indexed_rows(Store.open(tmp_path / "none")) == []
    assert list(tmp_path.iterdir()) == []


def test_rows_of_other_code_are_not_taken(store: Store, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    indexed_rows(store)
    (old,) = index_files(store)
    monkeypatch.setattr(module, "version", lambda: "0" * 16)
    made.clear()
    indexed_rows(store)
    assert made == ["1", "2", "3"]
    assert old in index_files(store)  # two versions may share a root
    os.utime(old, (1, 1))
    store.write(record(4))
    indexed_rows(store)
    assert old not in index_files(store)  # but not for ever


def test_the_version_is_of_all_code_that_says_what_a_row_is() -> None:
    assert len(version()) == 16
    for name in DEFINING:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            ours = {each for each in names if each.split(".")[0] in ("grace", "suite", "protocols")}
            other = ours - {*DEFINING} - NOT_DEFINING
            assert not other, f"does {other} change what {name} makes of a record? then DEFINING lacks it"


def test_two_processes_at_once(store: Store) -> None:
    first, second = Index(store.root / "index"), Index(store.root / "index")
    stamps = store.stamps()
    assert first.read(stamps) == second.read(stamps) == {}
    rows = indexed_rows(store)
    (line, *others) = Index(store.root / "index").read(stamps).items()
    index_files(store)[0].unlink()
    first.add(dict([line]))
    second.add(dict(others))
    assert sorted(Index(store.root / "index").read(stamps)) == sorted(stamps)
    assert indexed_rows(store) == rows


def test_a_file_that_another_process_takes_in_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, stamps = indexed_rows(store), store.stamps()
    (path,) = index_files(store)
    read, taken = Path.read_bytes, path.with_name(path.name.replace(".jsonl", "x.jsonl"))

    def vanishing(self: Path) -> bytes:
        if self == path and path.exists():
            path.rename(taken)
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", vanishing)
    assert len(Index(store.root / "index").read(stamps)) == len(rows)


def test_many_are_made_in_processes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, heard = indexed_rows(store), list[int]()
    index_files(store)[0].unlink()
    path = store.root / "predictions" / f"{3:016x}.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    monkeypatch.setattr(module, "MANY", 2)
    monkeypatch.setattr(module, "PART", 1)
    monkeypatch.setattr(module, "processes", lambda: 2)
    assert indexed_rows(store, heard.append) == expected[:2]
    assert heard == [3]
    assert len(store.damaged) == 1
    assert indexed_rows(store, heard.append) == expected[:2]
    assert heard == [3]


class Broken:
    """A pool of processes of which one is killed after the first part."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> Broken:
        return self

    def __exit__(self, *_: Any) -> None: ...

    def shutdown(self, cancel_futures: bool) -> None:
        assert cancel_futures

    def map(self, make: Callable[[Any], Any], parts: list[Any]) -> Iterator[Any]:
        yield make(parts[0])
        raise BrokenProcessPool


def test_processes_that_are_killed_cost_only_time(
    store: Store, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concurrent.futures.process.ProcessPoolExecutor", Broken)
    monkeypatch.setattr(module, "MANY", 2)
    monkeypatch.setattr(module, "PART", 1)
    monkeypatch.setattr(module, "processes", lambda: 2)
    assert indexed_rows(store) == [result_row(found) for found in store.records()]
    assert made == ["1", "2", "3"]


def test_what_was_made_before_an_interruption_stays(
    store: Store, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(found: Any) -> dict[str, Any]:
        if found.key.endswith("3"):
            raise KeyboardInterrupt
        return result_row(found)

    monkeypatch.setattr(module, "PART", 1)
    with monkeypatch.context() as patch:
        patch.setattr(module, "result_row", interrupted)
        with pytest.raises(KeyboardInterrupt):
            indexed_rows(store)
    assert len(indexed_rows(store)) == 3
    assert made == ["3"]


def test_a_record_without_sense_is_named_and_left_out(store: Store) -> None:
    whole = record(4)
    store.write(replace(whole, spec={name: value for name, value in whole.spec.items() if name != "protocol"}))
    assert [row["key"][-1] for row in indexed_rows(store)] == ["1", "2", "3"]
    (line,) = store.damaged
    assert f"{4:016x}" in line
    assert "protocol" in line
    assert len(store.keys()) == 4  # it stays: it may make sense to another version


def test_a_record_of_a_newer_version_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.record.SCHEMA", 99)
    store.write(record(4))
    monkeypatch.undo()
    with pytest.raises(SuiteError, match=r"schema 99.*upgrade"):
        indexed_rows(store)


def test_numbers_that_are_none_are_none(store: Store) -> None:
    store.write(record(4, config={"lr": float("nan")}))
    assert [row["config"]["lr"] for row in indexed_rows(store)][-1] is None
    assert [row["config"]["lr"] for row in indexed_rows(Store.open(store.root))][-1] is None
