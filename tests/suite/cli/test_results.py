"""`results` and `table` over made-up records."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from suite.errors import Exit
from suite.store import Store
from tests.suite.cli.conftest import Call
from tests.suite.cli.test_bad_input import one_line
from tests.suite.records_for_tests import record

NEEDED = ("key", "method", "protocol", "order_seed", "train_seed", "avg", "last", "forgetting", "params_final",
          "params_max", "model_mb", "exemplar_mb", "backbones", "seconds")  # fmt: skip


@pytest.fixture(autouse=True)
def records(tmp_path: Path) -> None:
    """Two runs of a method whose last task goes worse and worse, one of another, and a smoke run."""
    store = Store.open(tmp_path / "results", write=True)
    store.write(record(1, "widen", right=[[10], [10, 10], [10, 10, 10]], branches=3))
    store.write(record(2, "widen", seed=1, right=[[10], [10, 10], [10, 10, 4]], branches=3))
    store.write(record(3, "anchor", right=[[5], [5, 5], [5, 5, 5]]))
    store.write(record(4, "drift", smoke=True))


def test_results_have_a_row_for_every_finished_run(call: Call) -> None:
    rows = call("results", "--json").json
    assert [(row["method"], row["train_seed"]) for row in rows] == [
        ("anchor", 0),
        ("drift", 0),
        ("widen", 0),
        ("widen", 1),
    ]
    assert [name for name in NEEDED if name not in rows[0]] == []
    assert rows[3]["last"] == pytest.approx(24 / 30)
    assert rows[3]["backbones"] == [1, 2, 3]
    said = call("results")
    assert "80.00" in said.out
    assert "drift (smoke)" in said.out


def test_runs_of_another_precision_are_told_apart(call: Call, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "results", write=True)
    store.write(record(5, "widen", precision="bf16"))
    store.write(record(6, "drift", precision="bf16", smoke=True))
    said = call("results", "--where", "precision=bf16")
    assert "widen (bf16)" in said.out
    assert "drift (smoke, bf16)" in said.out
    assert "anchor" not in said.out
    assert [row["precision"] for row in call("results", "--json").json].count("bf16") == 2
    rows = list(csv.DictReader(io.StringIO(call("table", "--to", "csv").out)))
    assert [(row["method"], row["variant"], row["n"]) for row in rows] == [
        ("anchor", "", "1"),
        ("widen", 'precision="bf16"', "1"),
        ("widen", 'precision="fp32"', "2"),
    ]


@pytest.mark.parametrize(
    ("where", "count"),
    [(["method=widen"], 2), (["method=widen", "seed=1"], 1), (["method=widen", "method=anchor"], 3), (["method=*"], 4)],
)
def test_results_are_filtered(call: Call, where: list[str], count: int) -> None:
    assert len(call("results", "--where", *where, "--json").json) == count


def test_nothing_that_matches(call: Call) -> None:
    one_line(call("results", "--where", "train_seed=9"), Exit.NOTHING, "none of 4 finished runs", "train_seed=9")
    one_line(call("table", "--where", "train_seed=9"), Exit.NOTHING, "train_seed=9")
    one_line(call("table", "--where", "method=drift"), Exit.NOTHING, "smoke")


def test_a_narrow_terminal_loses_columns_not_letters(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = call("results")
    assert "0000000000000003"[:8] in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    assert "backbones" not in said.out


def test_the_table_in_every_format(call: Call, tmp_path: Path) -> None:
    printed = call("table")
    assert "Widen" in printed.out
    assert "Drift" not in printed.out
    for form, mark in (("md", "|"), ("tex", r"\begin{tabular}"), ("csv", "family,")):
        said = call("table", "--to", form)
        assert mark in said.out
        assert call("table", "-o", f"out.{form}").code == Exit.DONE  # by its ending
        assert (tmp_path / f"out.{form}").read_text() == said.out
    call("table", "-o", "out.txt")
    assert "Widen" in (tmp_path / "out.txt").read_text()
    rows = list(csv.DictReader(io.StringIO(call("table", "--to", "csv", "--smoke").out)))
    assert {row["method"] for row in rows} == {"widen", "anchor", "drift"}
    assert "Widen" in str(call("table", "--json").json)


def test_digits_are_of_percentages(call: Call) -> None:
    # last is 100 % and 80 %: mean 90, sample deviation 14.142
    assert "90.000 \N{PLUS-MINUS SIGN} 14.142" in call("table", "--digits", "3").out


def test_a_table_of_a_sweep_counts_what_is_missing(call: Call, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text('methods = ["der", "replay"]\nprotocols = ["toy-b0i2"]\nseeds = [0, 1]\n')
    rows = list(csv.DictReader(io.StringIO(call("table", "sweep.toml", "--to", "csv").out)))
    assert [(row["method"], row["n"], row["missing"]) for row in rows] == [("replay", "0", "2"), ("der", "0", "2")]
    one_line(call("table", "sweep"), Exit.NOTHING, "no sweep")


def test_a_table_that_cannot_be_written(call: Call) -> None:
    one_line(call("table", "-o", "nowhere/out.md"), Exit.ENVIRONMENT, "nowhere/out.md")
