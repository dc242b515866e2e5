"""RunRecord: what one run produced, and its two Parquet files, which can be read without us.

The record: one row per task; the spec, the provenance, the digest of the predictions file and a checksum of all this in
its key-value metadata. The predictions: one row per task, readout and test image, with the label and the best classes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from suite.errors import Exit, SuiteError
from suite.spec import SCHEMA, RunSpec

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from grace.run import TaskRecord

    Labels = NDArray[np.int16]

HEADER = {"key": "string", "method": "string", "protocol": "string", "order_seed": "int64", "train_seed": "int64",
          "smoke": "bool"}  # fmt: skip
FOOTPRINT = ("parameters", "backbone_parameters", "head_parameters", "auxiliary_parameters", "buffer_numbers",
             "state_numbers", "model_bytes", "exemplars", "exemplar_bytes", "evaluation_flops")  # fmt: skip
SECONDS = ("learn", "remember", "evaluate")
COLUMNS = {**HEADER, "task": "int32", "known": "int32", "seen": "int32", "test_images": "int64",
           **dict.fromkeys(FOOTPRINT, "int64"), **{f"seconds_{name}": "float64" for name in SECONDS},
           "notes": "string", "phases": "string"}  # fmt: skip
TOP = ("top1", "top2", "top3", "top4", "top5")
MEASURED = {"seconds", "images_per_second", "peak_bytes", "way", "shared"}  # of a phase: differ by machine and chance


class Damaged(Exception):
    """Bytes that are not the whole of what was written; the message says how that shows."""


@dataclass(frozen=True, eq=False)
class TaskRow:
    """One task of a run. Labels and predictions are empty when a record is read without them."""

    task: int
    known: int  # classes before it
    seen: int  # classes after it
    footprint: dict[str, int]  # numbers and bytes, named as in FOOTPRINT
    notes: dict[str, Any]  # the method's own trace
    phases: list[dict[str, Any]]  # name, way, epochs, images, seconds, parameters, peak_bytes, losses, shared (by whom)
    seconds: dict[str, float]  # named as in SECONDS
    labels: Labels  # int16 [n], stream order, of the test images of every class seen
    predictions: dict[str, Labels]  # readout -> int16 [n, min(5, seen)], best first; the first readout is the headline


@dataclass(frozen=True, eq=False)
class RunRecord:
    """What one run produced: every metric is computed from it. Everything but the arrays is plain JSON."""

    key: str
    method: str
    protocol: str  # its canonical name; its value is in `spec`
    order_seed: int
    train_seed: int
    smoke: bool
    spec: dict[str, Any]  # RunSpec.identity(): the key is its hash
    tasks: list[TaskRow]
    provenance: dict[str, Any] = field(default_factory=dict)  # commit, versions, device, times, data, method, preset

    @classmethod
    def of(cls, spec: RunSpec, tasks: Iterable[TaskRecord], provenance: Mapping[str, Any]) -> RunRecord:
        """Return the record of a finished run, its tensors turned into arrays."""
        rows = []
        for t in tasks:
            best = {name: tensor.numpy().astype("int16") for name, tensor in t.predictions.items()}
            rows.append(TaskRow(t.task, t.known, t.seen, asdict(t.footprint), jsonable(t.notes), jsonable(t.phases),
                                jsonable(t.seconds), t.labels.numpy().astype("int16"), best))  # fmt: skip
        return cls(spec.key, spec.method, spec.protocol.name, spec.order_seed, spec.train_seed, spec.smoke,
                   jsonable(spec.identity()), rows, jsonable(provenance))  # fmt: skip

    def result(self) -> dict[str, Any]:
        """Return what must be equal however often the run was interrupted: all but times, memory peaks and places."""
        tasks = [
            {"task": t.task, "known": t.known, "seen": t.seen, "footprint": t.footprint, "notes": t.notes,
             "phases": [{k: v for k, v in phase.items() if k not in MEASURED} for phase in t.phases],
             "labels": t.labels.tolist(), "predictions": {name: p.tolist() for name, p in t.predictions.items()}}
            for t in self.tasks
        ]  # fmt: skip
        return {"key": self.key, "spec": self.spec, "data": self.provenance.get("data"), "tasks": tasks}

    def digest(self) -> str:
        """Hash of `result()`, 32 hexadecimal digits."""
        return _hash(json.dumps(self.result(), sort_keys=True).encode())


@dataclass(frozen=True)
class Failure:
    """Why a run ended without a record."""

    key: str
    label: str
    kind: Literal["error", "oom", "non-finite", "data", "crashed", "hung"]
    reason: str  # one line
    where: str  # task, phase and epoch, or file and line
    traceback: str
    host: str
    time: str  # ISO 8601, with time zone
    size: int = 1  # of the slot that it ran in, in slots of the usual size


def jsonable(value: Any) -> Any:
    """Return `value` as JSON holds it: lists for tuples, arrays and tensors; None for a number that is not finite."""
    if isinstance(value, Mapping):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def encode(record: RunRecord) -> tuple[bytes, bytes]:
    """Return the bytes of the record file and of the predictions file."""
    import pyarrow as pa

    header = {name: getattr(record, name) for name in HEADER}
    rows = [
        {**header, "task": t.task, "known": t.known, "seen": t.seen, "test_images": len(t.labels), **t.footprint,
         **{f"seconds_{n}": t.seconds[n] for n in SECONDS}, "notes": json.dumps(t.notes),
         "phases": json.dumps(t.phases)} for t in record.tasks
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, pa.schema(list(COLUMNS.items())))
    predictions = _parquet(_predictions_table(record.tasks), {}, {"image": "DELTA_BINARY_PACKED"})
    metadata = {"schema": str(SCHEMA), "spec": json.dumps(record.spec), "provenance": json.dumps(record.provenance),
                "predictions": _hash(predictions)}  # fmt: skip
    metadata["checksum"] = _checksum(metadata, table.to_pylist())
    return _parquet(table, metadata, {}), predictions


def decode(record: bytes, predictions: bytes, arrays: bool = True) -> RunRecord:
    """Return what `encode` was given; without `arrays` the predictions are verified but not parsed.

    Raises Damaged when a byte that matters has changed, and SuiteError for files of a newer version.
    """
    import numpy as np

    try:
        metadata, table = _read(record)
        newer(int(metadata["schema"]), "a record")
        rows = table.to_pylist()
        if metadata.pop("checksum") != _checksum(metadata, rows):
            raise Damaged("it does not match its checksum")
        if metadata["predictions"] != _hash(predictions):
            raise Damaged("its predictions are not those that it was written with")
        found = _arrays(_read(predictions, ["readout"])[1]) if arrays else {}
        nothing: tuple[Labels, dict[str, Labels]] = (np.empty(0, np.int16), {})
        told = {name: rows[0][name] for name in HEADER} | {n: json.loads(metadata[n]) for n in ("spec", "provenance")}
        return RunRecord(**told, tasks=[_task_row(row, *found.get(row["task"], nothing)) for row in rows])
    except (Damaged, SuiteError):
        raise
    except Exception as error:  # whatever a parser says of bytes that are not its own
        raise Damaged(str(error).partition("\n")[0] or type(error).__name__) from error


def newer(schema: int, what: str) -> None:
    """Raise SuiteError when `what` was written by a version of ours that knew more."""
    if schema > SCHEMA:
        message = f"{what} has schema {schema}, this version reads up to {SCHEMA}: upgrade grace-suite"
        raise SuiteError(message, Exit.ENVIRONMENT)


def _task_row(row: dict[str, Any], labels: Labels, predictions: dict[str, Labels]) -> TaskRow:
    footprint, seconds = {n: row.get(n, 0) for n in FOOTPRINT}, {n: row[f"seconds_{n}"] for n in SECONDS}
    return TaskRow(row["task"], row["known"], row["seen"], footprint, json.loads(row["notes"]),
                   json.loads(row["phases"]), seconds, labels, predictions)  # fmt: skip


def _predictions_table(tasks: list[TaskRow]) -> pa.Table:
    """Columns task, readout, image (its place among the task's test images), label, top1 .. top5 (null past k)."""
    import numpy as np
    import pyarrow as pa

    blocks = [(t, name, best) for t in tasks for name, best in t.predictions.items()]
    names = list(dict.fromkeys(name for _, name, _ in blocks))
    sizes = [len(best) for _, _, best in blocks]
    # -1 is where a task had fewer classes than columns
    top = np.concatenate([np.pad(b, ((0, 0), (0, 5 - b.shape[1])), constant_values=-1) for _, _, b in blocks])
    readout = np.repeat(np.array([names.index(name) for _, name, _ in blocks], np.int8), sizes)
    return pa.table({
        "task": pa.array(np.repeat(np.array([t.task for t, _, _ in blocks], np.int16), sizes)),
        "readout": pa.DictionaryArray.from_arrays(readout, names),
        "image": pa.array(np.concatenate([np.arange(n, dtype=np.int32) for n in sizes])),
        "label": pa.array(np.concatenate([t.labels for t, _, _ in blocks])),
        **{name: pa.array(top[:, i], mask=top[:, i] < 0) for i, name in enumerate(TOP)},
    })  # fmt: skip


def _arrays(table: pa.Table) -> dict[int, tuple[Labels, dict[str, Labels]]]:
    """Return per task its labels, and its predictions by readout: the inverse of `_predictions_table`."""
    import numpy as np

    from suite.columns import column

    readout = table["readout"].combine_chunks()
    names, codes = readout.dictionary.to_pylist(), column(readout.indices)
    task, label = column(table["task"]), column(table["label"])
    top = np.stack([column(table[name]) for name in TOP], axis=1)
    edges = [0, *(np.flatnonzero(np.diff(task) | np.diff(codes)) + 1).tolist(), len(task)]
    found: dict[int, tuple[Labels, dict[str, Labels]]] = {}
    for start, end in pairwise(edges):
        _, predictions = found.setdefault(int(task[start]), (label[start:end], {}))
        predictions[names[codes[start]]] = top[start:end, : (top[start] >= 0).sum()]
    return found


def _parquet(table: pa.Table, metadata: dict[str, str], encodings: dict[str, str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    dictionary = [name for name in table.column_names if name not in encodings]
    options = {"compression": "zstd", "use_dictionary": dictionary, "column_encoding": encodings or None,
               "write_page_checksum": True, "store_schema": False}  # fmt: skip
    with pq.ParquetWriter(buffer, table.schema, **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)
    return bytes(buffer.getvalue())


def _read(data: bytes, dictionary: list[str] | None = None) -> tuple[dict[str, str], pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(pa.BufferReader(data), read_dictionary=dictionary, page_checksum_verification=True) as file:
        metadata = {name.decode(): value.decode() for name, value in (file.metadata.metadata or {}).items()}
        return metadata, file.read(use_threads=False)


def _checksum(metadata: Mapping[str, str], rows: list[dict[str, Any]]) -> str:
    return _hash(json.dumps([sorted(metadata.items()), rows]).encode())


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
