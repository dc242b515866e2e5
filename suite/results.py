"""Result rows: a finished run as one flat row of plain values, every figure recomputed from its predictions."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import protocols
from grace.streams.protocol import Budget
from suite.account import MIB, branches, memory, shared_out
from suite.errors import unknown
from suite.record import RunRecord

UPPER_BOUND = "upper bound"  # the family of methods that are no rivals
READOUT = ("avg", "last", "forgetting", "top5_avg", "top5_last")  # given for every readout, as in nme_avg
ALIASES = {"seed": "train_seed", "order": "order_seed"}
FIELDS = (
    *("key", "method", "protocol", "order_seed", "train_seed"),
    *("avg", "last", "forgetting", "params_final", "params_max", "model_mb", "exemplar_mb", "backbones", "seconds"),
    *("readout", "avg_inc", "avg_task", "last_task", "forget_max", "forget_prev", "forget_diag", "forget_lib", "bwt"),
    *("drop", "top5_avg", "top5_last", "curve", "old", "new", "matrix"),
    *("backbone_params_final", "memory_mb", "survey_mb", "exemplars", "backbones_final", "backbones_max"),
    *("seconds_curve", "gpu_peak_mb_curve", "memory_mb_peak_curve"),
    *("backbones_mean", "seconds_learn", "images_per_second", "gpu_peak_mb", "notes"),
    *("title", "family", "reference", "upper_bound", "dataset", "backbone", "tasks", "classes", "seen", "memory"),
    *("params_peak", "memory_mb_max", "memory_mb_peak", "survey_mb_max", "survey_mb_peak", "flops_eval"),
    *("params_curve", "model_mb_curve", "exemplar_mb_curve", "survey_curve", "head_params_final"),
    *("auxiliary_params_final", "buffer_numbers_final", "state_numbers_final"),
    *("alignment", "base_protocol", "budget_mb", "settled", "copied_from"),
    *("protocol_id", "precision", "workers", "plugin", "smoke", "config", "preset", "tuned_on"),
    *("commit", "dirty", "version", "torch", "device", "host", "started", "finished", "data"),
)


def result_rows(records: Iterable[RunRecord]) -> list[dict[str, Any]]:
    """Return a row per record."""
    return [result_row(record) for record in records]


def result_row(record: RunRecord) -> dict[str, Any]:
    """Return one run as plain values: fractions in [0, 1], MiB, seconds; lists are per task.

    avg, last and the rest are of the headline readout, `forgetting` is `forget_max`; each readout also has its own.
    """
    found = {**_facts(record), **_accuracies(record)}
    return {**{field: found.pop(field) for field in FIELDS}, **found}


def _facts(record: RunRecord) -> dict[str, Any]:
    """Return what a record says without its predictions."""
    stream, origin, tasks = record.spec["protocol"], record.provenance, record.tasks
    method = origin.get("method", {})
    end, share = tasks[-1].footprint, record.spec.get("allocation") or {}
    phases = [phase for task in tasks for phase in task.phases]
    peak = max((phase.get("peak_bytes") or 0 for phase in phases), default=0)
    trained = sum(phase.get("seconds", 0.0) for phase in phases)
    backbones = branches(record)
    return {
        **{name: getattr(record, name) for name in ("key", "method", "protocol", "order_seed", "train_seed", "smoke")},
        **memory(record),
        **shared_out(record),
        "backbone_params_final": end["backbone_parameters"],
        "model_mb": end["model_bytes"] / MIB,
        "exemplar_mb": end["exemplar_bytes"] / MIB,
        "exemplars": end["exemplars"],
        "backbones": backbones,
        "backbones_final": backbones[-1],
        "backbones_max": max(backbones),
        "backbones_mean": sum(backbones) / len(backbones),
        "seconds": sum(sum(task.seconds.values()) for task in tasks),
        "seconds_curve": [sum(task.seconds.values()) for task in tasks],
        "gpu_peak_mb_curve": _peaks(record),
        "seconds_learn": sum(task.seconds["learn"] for task in tasks),
        "images_per_second": sum(phase["images"] for phase in phases) / trained if trained else None,
        "gpu_peak_mb": peak / MIB if peak else None,
        "notes": [task.notes for task in tasks],
        "title": method.get("title") or record.method,
        "family": method.get("family") or "",
        "reference": method.get("reference") or "",
        "upper_bound": method.get("family") == UPPER_BOUND,
        "dataset": stream["dataset"]["name"],
        "backbone": share.get("backbone") or stream["backbone"],
        "tasks": len(stream["increments"]),
        "classes": sum(stream["increments"]),
        "seen": [task.seen for task in tasks],
        "memory": f"{share['size'] / MIB:.4g} MiB" if share else str(Budget(**stream["budget"])),
        "protocol_id": hashlib.blake2b(json.dumps(stream, sort_keys=True).encode(), digest_size=4).hexdigest(),
        "precision": record.spec["precision"],
        "workers": record.spec.get("workers", 1),
        "plugin": record.spec.get("plugin", ""),
        "config": record.spec["config"],
        **{name: origin.get(name) for name in ("preset", "tuned_on", "commit", "dirty", "version", "torch", "device",
                                               "host", "started", "finished", "data")},
    }  # fmt: skip


def _peaks(record: RunRecord) -> list[float] | None:
    """Return the most memory that torch had taken of a GPU in each task, MiB; None where none was measured."""
    peaks = [max((phase.get("peak_bytes") or 0 for phase in task.phases), default=0) for task in record.tasks]
    return [peak / MIB for peak in peaks] if any(peaks) else None


def _accuracies(record: RunRecord) -> dict[str, Any]:
    """Return every metric of the headline readout, and the main ones of each readout that all tasks have."""
    from grace import metrics  # numpy takes longer to import than a filter takes to be refused

    seen, labels = [task.seen for task in record.tasks], [task.labels for task in record.tasks]
    readouts = [name for name in record.tasks[0].predictions if all(name in task.predictions for task in record.tasks)]
    found: dict[str, Any] = {}
    for readout in readouts:
        predictions = [task.predictions[readout] for task in record.tasks]
        scores = metrics.score(seen, labels, predictions)
        wide = metrics.score(seen, labels, predictions, top=5)
        values: dict[str, Any] = {name: metric(scores) for name, metric in metrics.SCALARS.items()}
        values |= {"forgetting": values["forget_max"], "top5_avg": metrics.avg(wide), "top5_last": metrics.last(wide)}
        if not found:
            a = scores.matrix.tolist()
            found = {"readout": readout, **values, "curve": metrics.curve(scores), "old": metrics.old(scores),
                     "new": metrics.new(scores), "matrix": [row[: t + 1] for t, row in enumerate(a)]}  # fmt: skip
        found |= {f"{readout}_{name}": values[name] for name in READOUT}
    return found


@dataclass(frozen=True)
class Where:
    """A filter of rows: every field named must have one of its values."""

    wanted: Mapping[str, list[str]]

    def __call__(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row passes."""
        return all(any(_same(row.get(field), text) for text in texts) for field, texts in self.wanted.items())


def parse_where(texts: Iterable[str]) -> Where:
    """Return the filter that `FIELD=VALUE` texts describe; one field given twice takes either value.

    `*` stands for anything; protocols may be spelled in any way that names them. Raises SuiteError for other fields.
    """
    wanted: dict[str, list[str]] = {}
    for text in texts:
        field, equals, value = (part.strip() for part in text.partition("="))
        field = ALIASES.get(field, field)
        if field not in FIELDS and not re.fullmatch(rf"[a-z0-9_]+_({'|'.join(READOUT)})", field):
            raise unknown("field", field, [*FIELDS, *ALIASES], see="--where FIELD=VALUE")
        if not equals:
            raise unknown("filter", text, [f"{field}=VALUE"])
        wanted.setdefault(field, []).append(_canonical(value) if field == "protocol" else value)
    return Where(wanted)


def _canonical(name: str) -> str:
    try:
        return protocols.get(name).name
    except ValueError:  # a pattern, or a protocol of the user's own whose file is not at hand
        return name


def _same(value: Any, text: str) -> bool:
    if value is None or isinstance(value, bool):
        return text.lower() == str(value).lower()
    if isinstance(value, int | float):
        try:
            return float(text) == value
        except ValueError:
            return False
    return fnmatchcase(value if isinstance(value, str) else json.dumps(value), text)
