"""What is measured over made-up records is what real ones would take: they are real but for the answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import scale
from bench.synthetic import specs, written
from grace.methods import METHODS
from suite.cli.results import COLUMNS
from suite.results import FIELDS, result_rows
from suite.store import Store


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("scale") / "results"
    assert written(found, 40) == 40
    return found


def test_the_runs_are_those_of_a_sweep() -> None:
    runs = list(specs(500))
    assert len({spec.key for spec in runs}) == 500
    assert {spec.method for spec in runs} == set(METHODS)
    assert {spec.protocol.alignment for spec in runs} > {"", "auc=1", "mb=12"}
    assert runs[:40] == list(specs(40))


def test_records_are_whole_and_plausible(root: Path) -> None:
    store = Store.open(root)
    assert store.keys() == sorted(spec.key for spec in specs(40))
    rows = result_rows(store.records())
    assert store.damaged == []
    assert len(rows) == 40
    for row in rows:
        assert set(FIELDS) <= set(row)
        assert 0.05 < row["last"] < 1
        assert len(row["curve"]) == row["tasks"]
        assert row["last"] < row["top5_last"] < 1
        assert row["settled"]
        assert row["memory_mb"] >= row["survey_mb"] > 0


def test_they_are_made_once_and_never_in_place_of_others(root: Path, tmp_path: Path) -> None:
    times = [path.stat().st_mtime_ns for path in sorted((root / "records").iterdir())]
    assert written(root, 40) == 40
    assert [path.stat().st_mtime_ns for path in sorted((root / "records").iterdir())] == times
    Store.open(tmp_path, write=True)
    with pytest.raises(SystemExit, match="name another folder"):
        written(tmp_path, 40)


def test_commands_are_measured(root: Path, tmp_path: Path) -> None:
    seconds, memory, code = scale.measured(("results",), root, tmp_path)
    assert code == 0
    assert 0.05 < seconds < 60
    assert 20 < memory < 1024
    assert COLUMNS[0] in (tmp_path / "out").read_text()
    assert scale.measured(("results", "--where", "seed=none"), root, tmp_path)[2] == 8
