"""`table PRESET`: words, filters, formats, and what is said where there is little to show."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from suite.errors import Exit
from suite.record import Failure
from suite.spec import RunSpec
from suite.store import Store
from suite.sweep import resolve, sweep_of
from tests.suite.cli.conftest import Call
from tests.suite.cli.test_bad_input import one_line
from tests.suite.records_for_tests import record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store.open(tmp_path / "results", write=True)
    found.write(record(1, "widen", right=[[10], [10, 10], [10, 10, 10]], branches=3))
    found.write(record(2, "widen", seed=1, right=[[10], [10, 10], [10, 10, 4]], branches=3))
    found.write(record(3, "anchor", right=[[5], [5, 5], [5, 5, 5]]))
    return found


def failed(store: Store, spec: RunSpec, reason: str = "CUDA out of memory") -> None:
    store.fail(Failure(spec.key, spec.label, "oom", reason, "task 2", "", "host", "2026-01-01T00:00:00+00:00"))


def specs(**values: object) -> list[RunSpec]:
    return resolve(sweep_of({"protocols": ["toy-b0i2"], "methods": ["der"], **values}, "here"))


def test_the_first_word_is_the_table(store: Store, call: Call) -> None:
    assert call("table").out == call("table", "benchmark").out
    rows = list(csv.DictReader(io.StringIO(call("table", "pertask", "--to", "csv").out)))
    assert float(next(row for row in rows if row["method"] == "widen")["task_3_mean"]) == pytest.approx(0.9)
    assert "MFLOPs" in call("table", "params").out
    assert "Widen" in call("table", "params", "--to", "html").out
    one_line(call("table", "aligned"), Exit.NOTHING, "3 for table benchmark")


def test_words_that_are_no_table(store: Store, call: Call) -> None:
    one_line(call("table", "bechmark"), Exit.USAGE, 'did you mean "benchmark"')
    one_line(call("table", "params", "one", "two"), Exit.USAGE, "one sweep")
    one_line(call("table", "one", "two"), Exit.USAGE, 'unknown table "one"')
    one_line(call("table", "mine"), Exit.NOTHING, "no sweep")


def test_a_sweep_may_be_called_like_a_table(store: Store, call: Call, tmp_path: Path) -> None:
    store.save_sweep("params", 'methods = ["der"]\nprotocols = ["toy-b0i2"]\n')
    failed(store, specs()[0])
    assert "fail" in call("table", "benchmark", "params").out


def test_html_and_json_by_name_and_by_ending(store: Store, call: Call, tmp_path: Path) -> None:
    for form, mark in (("html", "<table"), ("json", '"headings"')):
        said = call("table", "--to", form)
        assert mark in said.out
        assert call("table", "-o", f"out.{form}").code == Exit.DONE
        assert (tmp_path / f"out.{form}").read_text() == said.out
    assert json.loads(call("table", "--json").out) == json.loads((tmp_path / "out.json").read_text())


def test_columns_are_chosen_and_listed(store: Store, call: Call) -> None:
    rows = list(csv.DictReader(io.StringIO(call("table", "--columns", "last,params_max", "--to", "csv").out)))
    assert [name for name in rows[0] if name.endswith("_mean")] == ["last_mean", "params_max_mean"]
    one_line(call("table", "--columns", "lst"), Exit.USAGE, 'did you mean "last"')
    text = " ".join(call("table", "--help").out.split())
    assert all(name in text for name in ("forget_prev", "survey_mb_peak", "flops_eval", "pertask", "ablation"))


def test_memory_saved_against_a_method(store: Store, call: Call) -> None:
    assert "Saved" not in call("table").out.split("#P")[0]
    rows = list(csv.DictReader(io.StringIO(call("table", "--against", "widen", "--to", "csv").out)))
    # four bytes a parameter of one million, or of three, and 1.5 MiB of exemplars
    one, three = 4e6 / 2**20 + 1.5, 12e6 / 2**20 + 1.5
    anchor = next(row for row in rows if row["method"] == "anchor")
    assert float(anchor["saved_mean"]) == pytest.approx(1 - one / three)


def test_methods_and_protocols_that_are_no_longer_there(store: Store, call: Call) -> None:
    """Records outlive plugins and files of protocols: what they name can be asked for."""
    assert "Widen" in call("table", "-m", "widen").out
    assert "Anchor" not in call("table", "-m", "widen").out
    store.write(replace(record(9, "anchor"), protocol="gone-b0i2"))
    assert "gone-b0i2" in call("table").out
    said = call("table", "-p", "gone-b0i2")
    assert said.code == Exit.DONE
    assert "toy-b0i2" not in said.out
    one_line(call("table", "-m", "widn"), Exit.SPEC, "unknown method")
    one_line(call("table", "-p", "gone-b0i3"), Exit.SPEC, "gone-b0i3")


def test_a_bare_name_means_its_aligned_protocols_to_their_tables(store: Store, call: Call) -> None:
    for key, name in ((5, "toy-b0i2+mb=7"), (6, "toy-b0i2+aa+mb=7"), (7, "toy-b0i2+align=der"), (8, "toy-b0i2+auc=1")):
        store.write(replace(record(key, "anchor"), protocol=name))
    aligned = json.loads(call("table", "aligned", "-p", "toy-b0i2", "--json").out)
    assert [heading["protocol"] for heading in aligned["headings"]] == ["toy-b0i2+align=der", "toy-b0i2+mb=7"]
    bare = json.loads(call("table", "-p", "toy-b0i2", "--json").out)
    assert [heading["protocol"] for heading in bare["headings"]] == ["toy-b0i2"]


def test_published_is_handed_on(store: Store, call: Call) -> None:
    one_line(call("table", "published"), Exit.NOTHING, "published")


def test_all_failed(call: Call, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "results", write=True)
    failed(store, specs()[0])
    one_line(call("table"), Exit.NOTHING, "no finished run", "1 run of DER on toy-b0i2 failed: CUDA out of memory")
    (tmp_path / "sweep.toml").write_text('methods = ["der"]\nprotocols = ["toy-b0i2"]\n')
    said = call("table", "sweep.toml")
    assert said.code == Exit.DONE
    assert "fail: every run failed." in said.out
    assert "CUDA out of memory" in said.out


def test_failures_pass_the_same_filters(store: Store, call: Call) -> None:
    failed(store, specs(seeds=[5])[0])
    for options, there in (
        ((), True),
        (("-m", "widen"), False),
        (("--where", "train_seed=0"), False),
        (("--where", "order_seed=1993"), True),
    ):
        assert ("every run failed" in call("table", *options).out) == there, options


def test_an_empty_store_and_one_run(call: Call, tmp_path: Path) -> None:
    one_line(call("table"), Exit.NOTHING, "no finished run under results")
    one_line(call("table", "ablation"), Exit.NOTHING, "no finished run under results")
    Store.open(tmp_path / "results", write=True).write(record(1))
    for preset in ("benchmark", "pertask", "params"):
        assert "Widen" in call("table", preset).out
    one_line(call("table", "ablation"), Exit.NOTHING, "--set changes a setting")


@pytest.mark.parametrize("place", ["nowhere/out.html", "."])
def test_what_cannot_be_written_is_one_line(store: Store, call: Call, place: str) -> None:
    one_line(call("table", "-o", place), Exit.ENVIRONMENT, place)


def test_budgets_that_cannot_be_met_are_explained(store: Store, call: Call, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text('methods = ["der", "replay"]\nprotocols = ["digits-b0i2+mb=0.5"]\n')
    said = call("table", "aligned", "sweep.toml")
    assert "No DER on digits-b0i2+mb=0.5: its 5 backbones take" in " ".join(said.out.split())


def test_filters_hold_for_what_a_sweep_wants(store: Store, call: Call, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text('methods = ["der", "replay"]\nprotocols = ["toy-b0i2"]\nseeds = [0, 1, 2]\n')
    options = ("table", "sweep.toml", "--to", "csv", "-m", "der", "--where", "train_seed=1", "--where", "train_seed=2")
    rows = list(csv.DictReader(io.StringIO(call(*options).out)))
    assert [(row["method"], row["missing"]) for row in rows] == []
    spec = specs(seeds=[1])[0]
    failed(store, spec)
    rows = list(csv.DictReader(io.StringIO(call(*options).out)))
    assert [(row["method"], row["missing"], row["failed"]) for row in rows] == [("der", "2", "1")]
