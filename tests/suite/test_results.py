"""Result rows: every figure from the stored predictions and footprints, and filters of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite.account import MIB
from suite.errors import Exit, SuiteError
from suite.record import decode, encode
from suite.results import FIELDS, READOUT, parse_where, result_row, result_rows
from tests.suite.records_for_tests import record

# ten images a task: 100 %, then 80 and 60 %, then 50, 70 and 90 %
RIGHT = [[10], [8, 6], [5, 7, 9]]


@pytest.fixture(scope="module")
def row() -> dict[str, Any]:
    found = record(11, right=RIGHT, readouts=("linear", "nme"), branches=3, seed=4, device="cpu", host="h")
    return result_row(decode(*encode(found)))


def test_accuracies_by_hand(row: dict[str, Any]) -> None:
    assert row["readout"] == "linear"
    assert row["curve"] == pytest.approx([1.0, 0.7, 0.7])
    assert row["avg"] == pytest.approx(0.8)
    assert row["last"] == pytest.approx(0.7)
    assert row["avg_inc"] == pytest.approx(0.7)
    assert row["matrix"] == [[1.0], [0.8, 0.6], [0.5, 0.7, 0.9]]
    assert row["old"] == [None, 0.8, pytest.approx(0.6)]
    assert row["new"] == [1.0, 0.6, 0.9]
    assert row["forgetting"] == row["forget_max"] == pytest.approx((0.5 + 0.0) / 2)
    assert row["forget_prev"] == row["forget_diag"] == pytest.approx((0.5 - 0.1) / 2)
    assert row["bwt"] == pytest.approx(-0.2)
    assert row["forget_lib"] == pytest.approx(0.5 / 2)
    assert row["drop"] == pytest.approx(0.3)


def test_every_readout_under_its_own_name(row: dict[str, Any]) -> None:
    assert [row[f"linear_{name}"] for name in READOUT] == [row[name] for name in READOUT]
    # the second readout has every label in second place
    assert (row["nme_avg"], row["nme_last"], row["nme_forgetting"]) == (0.0, 0.0, 0.0)
    assert (row["nme_top5_avg"], row["nme_top5_last"]) == (1.0, 1.0)


def test_top5_uses_all_classes_while_there_are_fewer(row: dict[str, Any]) -> None:
    # a wrong answer has its label among the first five unless there are six classes
    assert row["top5_last"] == row["linear_top5_last"] == pytest.approx(0.7)
    assert row["top5_avg"] == pytest.approx((1.0 + 1.0 + 0.7) / 3)


def test_the_headline_is_the_first_readout() -> None:
    found = result_row(record(right=RIGHT, readouts=("nme", "linear")))
    assert found["readout"] == "nme"
    assert found["avg"] == found["nme_avg"] == pytest.approx(0.8)
    assert found["linear_avg"] == 0.0


def test_a_readout_that_some_task_lacks_is_no_column() -> None:
    whole = record(readouts=("linear", "nme"))
    first = replace(whole.tasks[0], predictions={"linear": whole.tasks[0].predictions["linear"]})
    found = result_row(replace(whole, tasks=[first, *whole.tasks[1:]]))
    assert "linear_avg" in found
    assert "nme_avg" not in found


def test_sizes_and_times(row: dict[str, Any]) -> None:
    assert row["backbones"] == [1, 2, 3]  # three times the first one's parameters at the end
    assert (row["backbones_final"], row["backbones_max"], row["backbones_mean"]) == (3, 3, 2.0)
    assert row["params_final"] == row["params_max"] == 3_000_060
    assert row["backbone_params_final"] == 3_000_000
    assert row["model_mb"] == 12_000_000 / 2**20
    assert row["exemplar_mb"] == 1.5
    assert row["memory_mb"] == row["model_mb"] + 1.5
    assert row["survey_mb"] == 4 * 3_000_000 / 2**20 + 1.5
    assert row["exemplars"] == 12
    assert row["seconds"] == pytest.approx(3 * 1.75)
    assert row["seconds_learn"] == 3.0
    assert row["images_per_second"] == pytest.approx(80.0)
    assert row["gpu_peak_mb"] is None


def test_a_method_says_how_many_backbones_it_has_when_sizes_do_not() -> None:
    whole = record(branches=2)
    tasks = [replace(task, notes={"backbones": n}) for task, n in zip(whole.tasks, (1, 3, 2), strict=True)]
    found = result_row(replace(whole, tasks=tasks))
    assert found["backbones"] == [1, 3, 2]
    assert (found["backbones_final"], found["backbones_max"]) == (2, 3)


def test_parameters_at_their_peak_are_not_those_at_the_end() -> None:
    whole = record(branches=3)
    tasks = [whole.tasks[0], replace(whole.tasks[1], footprint=whole.tasks[2].footprint), whole.tasks[1]]
    found = result_row(replace(whole, tasks=[replace(t, known=w.known, seen=w.seen, labels=w.labels,
                       predictions=w.predictions) for t, w in zip(tasks, whole.tasks, strict=True)]))  # fmt: skip
    assert (found["params_final"], found["params_max"]) == (2_000_040, 3_000_060)


def test_gpu_memory_at_its_peak() -> None:
    whole = record()
    phases = [{**whole.tasks[1].phases[0], "peak_bytes": 5 * MIB}]
    tasks = [whole.tasks[0], replace(whole.tasks[1], phases=phases), whole.tasks[2]]
    assert result_row(replace(whole, tasks=tasks))["gpu_peak_mb"] == 5.0


def test_what_a_run_was(row: dict[str, Any]) -> None:
    wanted = {"key": f"{11:016x}", "method": "widen", "title": "Widen", "family": "expansion", "order_seed": 1993,
              "train_seed": 4, "protocol": "toy-b0i2", "tasks": 3, "classes": 6, "backbone": "tiny", "dataset": "toy",
              "memory": "12", "smoke": False, "upper_bound": False, "device": "cpu", "precision": "fp32"}  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted
    assert row["notes"] == [{"streak": 0}, {"streak": 1}, {"streak": 2}]
    assert row["config"]["lr"] == 0.1
    assert result_row(record(method="all"))["upper_bound"] is True
    assert result_row(record(stream="toy-b4i2"))["memory"] == "5/class"
    assert result_row(record(stream="toy-b4i2"))["protocol_id"] != row["protocol_id"]


def test_rows_are_plain_and_named(row: dict[str, Any]) -> None:
    assert tuple(row)[: len(FIELDS)] == FIELDS
    assert set(row) - set(FIELDS) == {f"{readout}_{name}" for readout in ("linear", "nme") for name in READOUT}
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_a_record_that_says_little_has_a_row() -> None:
    found = result_row(replace(record(), provenance={}))
    assert (found["title"], found["family"], found["commit"], found["upper_bound"]) == ("widen", "", None, False)


# Filters


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return result_rows([record(1, "widen", seed=0), record(2, "widen", seed=1), record(3, "drift", smoke=True),
                        record(4, "anchor", "toy-b4i2", order=7, precision="bf16")])  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        ([], [1, 2, 3, 4]),
        (["method=widen"], [1, 2]),
        (["method=widen", "method=drift"], [1, 2, 3]),
        (["method=widen", "seed=1"], [2]),
        (["train_seed=0"], [1, 3, 4]),
        (["order = 7"], [4]),
        (["smoke=true"], [3]),
        (["precision=bf16"], [4]),
        (["precision=fp32", "method=widen"], [1, 2]),
        (["smoke=False", "seed=0"], [1, 4]),
        (["protocol=toy-b4*"], [4]),
        (["protocol=toy-B0I2"], [1, 2, 3]),
        (["avg=1"], [1, 2, 3, 4]),
        (["linear_avg=1.0", "key=*4"], [4]),
        (["nme_avg=1"], []),
        (["gpu_peak_mb=none", "method=drift"], [3]),
        (["backbones=[[]1, 1, 1]"], [1, 2, 3]),
        (["seed=one"], []),
    ],
)
def test_where(rows: list[dict[str, Any]], texts: list[str], numbers: list[int]) -> None:
    where = parse_where(texts)
    assert [int(row["key"], 16) for row in rows if where(row)] == numbers


@pytest.mark.parametrize(
    ("text", "near"),
    [("metod=der", "method"), ("forgeting=0", "forgetting"), ("param_final=1", "params_final"), ("sed=1", "seed")],
)
def test_unknown_fields_are_refused_with_the_nearest(text: str, near: str) -> None:
    with pytest.raises(SuiteError, match=f'did you mean "{near}"') as caught:
        parse_where([text])
    assert caught.value.code is Exit.SPEC


@pytest.mark.parametrize("text", ["method", "=", "", "method widen"])
def test_filters_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(SuiteError, match="unknown"):
        parse_where([text])


def test_importing_costs_no_torch() -> None:
    code = (
        "import sys, suite.results, suite.table, suite.stats, suite.render.markdown, suite.render.csv;"
        "import suite.render.latex, suite.record, suite.store;"
        "heavy = {'torch', 'ray', 'numpy', 'pyarrow', 'rich'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
