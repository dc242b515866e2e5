"""The command line called in this process, in an empty folder, with what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from grace.methods import METHODS
from grace.streams.registry import DATASETS
from protocols.registry import REGISTERED, USUAL
from suite.cli.main import main
from suite.plugins import REGISTERED as PLUGINS


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Said]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    tables: list[dict[str, Any]] = [DATASETS, USUAL, REGISTERED, METHODS, PLUGINS]
    before = [dict(table) for table in tables]

    def called(*args: str | Path) -> Said:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    yield called
    for table, saved in zip(tables, before, strict=True):  # what is a user's own is registered for good
        table.clear()
        table.update(saved)
