"""Records: from a finished run to two Parquet files and back, and no changed byte goes unseen."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from grace.footprint import Footprint
from grace.run import TaskRecord
from grace.streams.catalogue import DatasetSpec
from grace.streams.protocol import Budget, Protocol
from suite import record as module
from suite.errors import Exit, SuiteError
from suite.record import COLUMNS, Damaged, Failure, RunRecord, decode, encode, jsonable
from suite.spec import SCHEMA, RunSpec
from tests.suite.records_for_tests import record

DATASET = DatasetSpec(name="toy", kind="toy", classes=5, size=8, mean=(0.5,) * 3, std=(0.5,) * 3)
PROTOCOL = Protocol(name="toy-b3i2", dataset=DATASET, base=3, increment=2, budget=Budget(4), backbone="tiny")
SPEC = RunSpec(
    method="widen",
    config={"lr": 0.1, "learn": {"milestones": (1, 2)}},
    protocol=PROTOCOL,
    order_seed=1993,
    train_seed=2,
)
FOOT = Footprint(110, 100, 10, 7, 4, 0, 456, 4, 768)


def finished() -> list[TaskRecord]:
    """Two tasks as the engine leaves them, tensors and all."""
    first = TaskRecord(
        task=0,
        known=0,
        seen=3,
        labels=torch.tensor([0, 1, 2, 2], dtype=torch.int16),
        predictions={
            "nme": torch.tensor([[0, 1, 2], [2, 1, 0], [2, 0, 1], [0, 1, 2]], dtype=torch.int16),
            "linear": torch.tensor([[1, 0, 2], [1, 0, 2], [1, 0, 2], [1, 0, 2]], dtype=torch.int16),
        },
        footprint=FOOT,
        notes={"saturation": torch.tensor(0.5), "classes": (3,), "rank": np.float32(2.5), "undefined": float("nan")},
        phases=[{"name": "learn", "epochs": 1, "images": 9, "seconds": 0.1, "parameters": 110, "peak_bytes": 7,
                 "losses": {"ce": [float("inf")]}}],
        seconds={"learn": 0.1, "remember": 0.2, "evaluate": 0.3},
    )  # fmt: skip
    best = torch.tensor([[4, 3, 2, 1, 0]] * 5, dtype=torch.int16)
    labels = torch.tensor([0, 1, 2, 3, 4], dtype=torch.int16)
    return [
        first,
        replace(first, task=1, known=3, seen=5, labels=labels, predictions={"nme": best, "linear": best.flip(1)}),
    ]


def test_a_record_from_before_auxiliary_modules_were_counted_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(module, "COLUMNS", {n: kind for n, kind in COLUMNS.items() if n != "auxiliary_parameters"})
        files = encode(RunRecord.of(SPEC, finished(), {}))
    assert decode(*encode(RunRecord.of(SPEC, finished(), {}))).tasks[0].footprint["auxiliary_parameters"] == 7
    assert decode(*files).tasks[0].footprint == asdict(FOOT) | {"auxiliary_parameters": 0}


def test_a_finished_run_becomes_plain_values() -> None:
    found = RunRecord.of(SPEC, finished(), {"host": "here", "threads": 2})
    assert (found.key, found.method, found.protocol) == (SPEC.key, "widen", "toy-b3i2")
    assert (found.order_seed, found.train_seed, found.smoke) == (1993, 2, False)
    assert found.spec["config"] == {"lr": 0.1, "learn": {"milestones": [1, 2]}}
    assert found.spec["protocol"]["increments"] == [3, 2]
    task = found.tasks[0]
    assert task.notes == {"saturation": 0.5, "classes": [3], "rank": 2.5, "undefined": None}
    assert task.phases[0]["losses"] == {"ce": [None]}
    assert task.footprint == asdict(FOOT)
    assert task.labels.dtype == np.int16
    assert isinstance(task.labels, np.ndarray)
    assert list(task.predictions) == ["nme", "linear"]
    json.dumps([found.spec, found.provenance, task.notes, task.phases], allow_nan=False)


def test_there_and_back() -> None:
    before = RunRecord.of(SPEC, finished(), {"host": "here", "data": "f00"})
    after = decode(*encode(before))
    assert after.result() == before.result()
    assert after.digest() == before.digest()
    assert after.provenance == before.provenance
    for ours, theirs in zip(after.tasks, before.tasks, strict=True):
        assert ours.seconds == theirs.seconds
        assert list(ours.predictions) == list(theirs.predictions)  # the first readout is the headline
        for name, best in theirs.predictions.items():
            assert ours.predictions[name].dtype == np.int16
            np.testing.assert_array_equal(ours.predictions[name], best)
        np.testing.assert_array_equal(ours.labels, theirs.labels)


def test_writing_is_a_function_of_the_record() -> None:
    assert encode(record(readouts=("linear", "nme"))) == encode(record(readouts=("linear", "nme")))


def test_without_arrays_the_rest_is_there() -> None:
    found = decode(*encode(record()), arrays=False)
    assert [task.seen for task in found.tasks] == [2, 4, 6]
    assert [len(task.labels) for task in found.tasks] == [0, 0, 0]
    assert [task.predictions for task in found.tasks] == [{}, {}, {}]


def test_files_are_read_without_us() -> None:
    whole, predictions = encode(record(7, readouts=("linear", "nme"), commit="abc"))
    file = pq.ParquetFile(pa.BufferReader(whole))
    table = file.read()
    assert table.column_names == list(COLUMNS)
    assert table.column("method").to_pylist() == ["widen"] * 3
    assert table.column("seen").to_pylist() == [2, 4, 6]
    assert table.column("exemplar_bytes").to_pylist() == [12 * 2**17] * 3
    assert json.loads(table.column("phases")[0].as_py())[0]["losses"] == {"ce": [1.5, 0.25]}
    metadata = file.metadata.metadata
    assert json.loads(metadata[b"spec"])["protocol"]["increments"] == [2, 2, 2]
    assert json.loads(metadata[b"provenance"])["commit"] == "abc"
    assert int(metadata[b"schema"]) == SCHEMA
    rows = pq.ParquetFile(pa.BufferReader(predictions)).read().to_pylist()
    assert len(rows) == 2 * (10 + 20 + 30)
    assert rows[0] == {"task": 0, "readout": "linear", "image": 0, "label": 0, "top1": 0, "top2": 1, "top3": None,
                       "top4": None, "top5": None}  # fmt: skip
    assert rows[19]["readout"] == "nme"
    assert [rows[-1][name] for name in ("task", "image", "label")] == [2, 29, 5]
    assert None not in rows[-1].values()
    for chunk in (
        pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(0) for data in (whole, predictions)
    ):
        assert chunk.compression == "ZSTD"


def test_results_of_runs_that_differ_in_times_and_places_are_equal() -> None:
    one, other = record(host="a", data="d"), record(host="b", data="d", started="later", torch="other")
    slow = [
        replace(t, seconds={"learn": 9.0}, phases=[{**t.phases[0], "seconds": 9.0, "peak_bytes": 5, "way": "eager"}])
        for t in other.tasks
    ]
    other = replace(other, tasks=slow)
    assert one.result() == other.result()
    assert one.digest() == other.digest()


@pytest.mark.parametrize("what", ["labels", "predictions", "notes", "losses", "footprint", "data", "key"])
def test_results_that_differ_are_not_equal(what: str) -> None:
    one = record()
    task = one.tasks[1]
    labels, best = task.labels.copy(), task.predictions["linear"].copy()
    labels[3] += 1
    best[7, 3] += 1
    changes: dict[str, dict[str, Any]] = {
        "labels": {"labels": labels},
        "predictions": {"predictions": {"linear": best}},
        "notes": {"notes": {"streak": 5}},
        "losses": {"phases": [{**task.phases[0], "losses": {"ce": [1.5, 0.26]}}]},
        "footprint": {"footprint": {**task.footprint, "exemplars": 11}},
    }
    other = replace(one, tasks=[one.tasks[0], replace(task, **changes.get(what, {})), one.tasks[2]])
    if what == "data":
        other = replace(one, provenance={**one.provenance, "data": "other images"})
    if what == "key":
        other = record(2)
    assert one.result() != other.result()
    assert one.digest() != other.digest()


def same(record: bytes, predictions: bytes, original: RunRecord) -> bool:
    """Whether files are taken for the original's; a SuiteError says that they claim to be of a newer version."""
    try:
        found = decode(record, predictions)
    except (Damaged, SuiteError):
        return False
    assert found.result() == original.result(), "a changed file was read as another result"
    assert found.provenance == original.provenance
    return True


def test_no_changed_byte_changes_a_result() -> None:
    original = record(readouts=("linear", "nme"))
    whole, predictions = encode(original)
    assert same(whole, predictions, original)
    draw = random.Random(0)
    for _ in range(120):
        place, bit = draw.randrange(len(whole)), 1 << draw.randrange(8)
        same(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :], predictions, original)
    for _ in range(40):
        place, bit = draw.randrange(len(predictions)), 1 << draw.randrange(8)
        changed = predictions[:place] + bytes([predictions[place] ^ bit]) + predictions[place + 1 :]
        assert not same(whole, changed, original)


def test_no_part_of_a_file_is_taken_for_the_whole() -> None:
    original = record()
    whole, predictions = encode(original)
    for end in {*range(0, len(whole), 97), len(whole) - 1}:
        assert not same(whole[:end], predictions, original)
    for end in {*range(0, len(predictions), 97), len(predictions) - 1}:
        assert not same(whole, predictions[:end], original)
    assert not same(b"\0" * len(whole), predictions, original)


def test_predictions_of_another_run_are_refused() -> None:
    whole, _ = encode(record())
    _, others = encode(record(right=[[10], [9, 10], [9, 9, 10]]))
    with pytest.raises(Damaged, match="predictions"):
        decode(whole, others)


def test_a_newer_version_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCHEMA", SCHEMA + 1)
    files = encode(record())
    monkeypatch.undo()
    with pytest.raises(SuiteError, match=f"has schema {SCHEMA + 1}, .*upgrade") as caught:
        decode(*files)
    assert caught.value.code is Exit.ENVIRONMENT


def test_a_failure_is_plain() -> None:
    failure = Failure("0" * 16, "widen toy-b0i2 o1993 s0", "oom", "no memory", "task 1", "Traceback", "host", "now")
    assert Failure(**json.loads(json.dumps(asdict(failure)))) == failure


def test_jsonable() -> None:
    value = {1: (np.int16(3), np.bool_(True)), "a": [None, "x", float("-inf"), 2**40], "b": np.eye(2), "c": object}
    found = jsonable(value)
    assert found["1"] == [3, True]
    assert found["a"] == [None, "x", None, 2**40]
    assert found["b"] == [[1.0, 0.0], [0.0, 1.0]]
    assert isinstance(found["c"], str)
