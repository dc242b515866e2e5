"""Files are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grace.storage.writing import place


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
