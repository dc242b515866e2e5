"""Files are there whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import IO

import pytest

from grace.storage.writing import YOUNG, abandoned, place, probe
from grace.training import checkpoint


def test_a_file_takes_the_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"first", b"second", b""):
        place(path, data)
        assert path.read_bytes() == data
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_trouble_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "file"
    place(path, b"precious")

    def refused(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, refused)
    with pytest.raises(OSError, match="No space left"):
        place(path, b"other")
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_what_writes_a_file_may_be_given_in_place_of_the_bytes(tmp_path: Path) -> None:
    place(tmp_path / "file", lambda file: [file.write(b"one "), file.write(b"two")])
    assert (tmp_path / "file").read_bytes() == b"one two"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_exception_in_the_middle_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def halves(file: IO[bytes]) -> None:
        file.write(b"half")
        raise error

    with pytest.raises(error):
        place(tmp_path / "file", halves)
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_file_that_is_taken_away_is_written_again(tmp_path: Path) -> None:
    """Where a disk knows no locks, or in the moment before the lock, it may be taken for left behind."""
    times = []

    def halves(file: IO[bytes]) -> None:
        file.write(b"whole")
        times.append(1)
        if len(times) == 1:
            (left,) = tmp_path.glob("*.tmp-*")
            left.unlink()

    place(tmp_path / "file", halves)
    assert len(times) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_a_folder_that_is_gone_is_no_reason_to_try_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        place(tmp_path / "gone" / "file", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_probe_leaves_nothing(tmp_path: Path) -> None:
    probe(tmp_path / "file", b"x")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        probe(tmp_path / "gone" / "file", b"x")


@pytest.mark.parametrize("hours", [-5, 0, 5])
def test_what_nobody_writes_is_told_from_what_is_being_written_by_no_clock(tmp_path: Path, hours: int) -> None:
    """A file of our naming without its lock is left behind; one that is held is not, in the past or the future."""
    left = tmp_path / "a" / "file.tmp-0123abcd"
    left.parent.mkdir()
    left.write_bytes(b"half")
    found: list[list[str]] = []

    def halves(file: IO[bytes]) -> None:
        for path in tmp_path.rglob("*.tmp-*"):
            os.utime(path, (time.time() + 3600 * hours,) * 2)
        found.append([path.name for path in abandoned(tmp_path)])

    place(tmp_path / "file", halves)
    assert found == [[left.name]]


def test_without_locks_the_age_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    place(tmp_path / "file", b"written all the same")
    old, young = tmp_path / "old.tmp-0123abcd", tmp_path / "young.tmp-0123abcd"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - YOUNG - 60,) * 2)
    assert list(abandoned(tmp_path)) == [old]


def test_a_checkpoint_is_not_taken_for_missing_while_all_of_its_root_is(tmp_path: Path) -> None:
    path = tmp_path / "root" / "work" / "key" / "stream.pt"
    path.parents[1].mkdir(parents=True)
    assert checkpoint.load(path) is None  # of a run that has not begun
    checkpoint.save(path, {"records": [1]})
    path.parents[2].rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        checkpoint.load(path)
    (tmp_path / "away").rename(path.parents[2])
    assert checkpoint.load(path) == {"records": [1]}
