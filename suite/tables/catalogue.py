"""The columns that tables may have, by id: what each shows, how, and what it is in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, Literal, NamedTuple

from suite.errors import Exit, unknown
from suite.grouping import Row
from suite.results import READOUT
from suite.table import Column

OLD = "mean over earlier tasks of the"
KEPT = "kept after the last task"
FULL = "2^20 bytes by the convention full (parameters, buffers, heads, auxiliary networks, extra state, exemplars)"
SURVEY = "2^20 bytes by the convention survey (4 bytes per backbone parameter and the exemplars, no more)"
EVERY = "the largest after any task"
PEAK = "the largest while training (with teachers, students and networks being expanded; optimiser and activations not)"


class Kind(NamedTuple):
    """How one column is made. `digits` is how many, or by what rule: of percentages, of MiB, of millions."""

    title: str
    about: str
    scale: float
    digits: int | Literal["percent", "mb", "mega"]
    best: Literal["", "high", "low"] = ""
    field: str = ""  # of rows, where it is not the id
    id: str = ""  # in results, where that has another name by tradition


def _accuracy(title: str, about: str) -> Kind:
    return Kind(title, f"{about}, in %", 100, "percent", "high")


def _points(title: str, about: str, best: Literal["high", "low"] = "low") -> Kind:
    return Kind(title, f"{about}, in points; {'lower' if best == 'low' else 'higher'} is better", 100, "percent", best)


def _millions(title: str, about: str) -> Kind:
    return Kind(title, f"{about}, in millions", 1e-6, "mega")


def _mb(title: str, about: str) -> Kind:
    return Kind(title, about, 1, "mb")


CATALOGUE = {
    "avg": _accuracy("Avg", "mean over tasks of the top-1 accuracy on all classes seen, first task included"),
    "avg_inc": _accuracy("Avg inc.", "mean over tasks of the top-1 accuracy on all classes seen, first task left out"),
    "last": _accuracy("Last", "top-1 accuracy on all classes after the last task"),
    "avg_task": _accuracy("Avg task", "mean over tasks of the unweighted mean of the accuracies on each task seen"),
    "last_task": _accuracy("Last task", "unweighted mean of the accuracies on each task after the last task"),
    "forget_max": _points("Forgetting", f"{OLD} best accuracy reached (last task included) minus the final one")
    ._replace(field="forgetting", id="forgetting"),
    "forget_prev": _points("Forget prev", f"{OLD} best accuracy before the last task minus the last (forget_prev)"),
    "forget_diag": _points("Forget diag", f"{OLD} accuracy right after its task minus the last (forget_diag)"),
    "forget_lib": _points("Forget lib", "as forget_diag, but the task before the last counts as none (forget_lib)"),
    "bwt": _points("BWT", f"backward transfer, {OLD} final accuracy minus that right after its task", "high"),
    "drop": _points("Drop", "accuracy after the first task minus that after the last"),
    "top5_avg": _accuracy("Avg top-5", "as Avg, right if the label is among the five best"),
    "top5_last": _accuracy("Last top-5", "as Last, right if the label is among the five best"),
    "params_final": _millions("#P (M)", f"parameters {KEPT}")._replace(id="params"),
    "params_max": _millions("#P max", f"parameters kept, {EVERY}"),
    "params_peak": _millions("#P peak", f"parameters held, {PEAK}"),
    "backbone_params_final": _millions("Backbone", f"parameters of the backbones {KEPT}"),
    "head_params_final": _millions("Heads", f"parameters of the classifier heads {KEPT}"),
    "auxiliary_params_final": _millions("Aux.", f"parameters of auxiliary heads and networks {KEPT}"),
    "buffer_numbers_final": _millions("Buffers", f"numbers in buffers (of normalisation) {KEPT}"),
    "state_numbers_final": _millions("State", f"numbers of extra state (Fisher, prototypes, proxies, ...) {KEPT}"),
    "memory_mb": _mb("MB full", f"{FULL} {KEPT}")._replace(id="mb"),
    "memory_mb_max": _mb("full max", f"MB full, {EVERY}"),
    "memory_mb_peak": _mb("full peak", f"MB full, {PEAK}"),
    "survey_mb": _mb("MB survey", f"{SURVEY} {KEPT}"),
    "survey_mb_max": _mb("survey max", f"MB survey, {EVERY}"),
    "survey_mb_peak": _mb("survey peak", f"MB survey, {PEAK}"),
    "model_mb": _mb("Model MB", f"2^20 bytes of everything but exemplars {KEPT}"),
    "exemplar_mb": _mb("Exemplar MB", f"2^20 bytes of exemplars {KEPT}"),
    "exemplars": Kind("Exemplars", f"images {KEPT}", 1, 0),
    "saved": Kind("Saved", "MB full saved against {reference} on the same protocol, in %", 100, 1),
    "saved_survey": Kind("Saved survey", "MB survey saved against {reference} on the same protocol, in %", 100, 1),
    "saved_params": Kind("Saved #P", "parameters saved against {reference} on the same protocol, in %", 100, 1),
    "flops_eval": Kind("MFLOPs", "millions of floating-point operations per image at evaluation after the last task, "
                       "two for each multiply-add", 1e-6, "mega"),
    "backbones_final": Kind("Nets", f"backbones {KEPT}", 1, 1),
    "backbones_max": Kind("Nets max", f"backbones kept, {EVERY}", 1, 1),
    "backbones_mean": Kind("Nets mean", "backbones kept, mean over tasks", 1, 1),
    "seconds": Kind("Time (s)", "seconds of the whole run, evaluation included", 1, 0),
    "seconds_learn": Kind("Learn (s)", "seconds spent learning", 1, 0),
    "images_per_second": Kind("Images/s", "training images per second", 1, 0),
    "gpu_peak_mb": Kind("GPU MB", "2^20 bytes on the GPU, the most in any phase, as measured", 1, 0),
}  # fmt: skip
SAVED = {"saved": "memory_mb", "saved_survey": "survey_mb", "saved_params": "params_final"}
OTHER_NAMES = {"forgetting": "forget_max", "params": "params_final", "mb": "memory_mb", "survey": "survey_mb"}
OF_READOUT = re.compile(rf"([a-z][a-z0-9_]*)_({'|'.join(READOUT)})")  # nme_avg
KNOWN = (*CATALOGUE, "nme_avg", "nme_last", "nme_forgetting")


def kind_of(name: str, readouts: Iterable[str]) -> Kind:
    """Return a column by its id; raises SuiteError with the nearest id. `readouts` are those that the runs have."""
    name = OTHER_NAMES.get(name, name)
    if name in CATALOGUE:
        return CATALOGUE[name]
    found = OF_READOUT.fullmatch(name)
    if not found or found[1] not in {"nme", *readouts}:
        own = [f"{readout}_{metric}" for readout in readouts for metric in READOUT]
        error = unknown("column", name, sorted({*KNOWN, *OTHER_NAMES, *own}), see="table --help lists them")
        error.code = Exit.USAGE
        raise error
    base = CATALOGUE[OTHER_NAMES.get(found[2], found[2])]
    return base._replace(title=f"{base.title} {found[1]}", about=f"by the {found[1]} readout: {base.about}", field=name,
                         id=name)  # fmt: skip


def columns_of(names: Sequence[str], rows: Sequence[Row], digits: int, **words: str) -> tuple[Column, ...]:
    """Return columns by id; `digits` is of percentages, and `words` fill the gaps in what columns are."""
    readouts = {key.removesuffix("_avg") for key in (rows[0] if rows else ()) if key.endswith("_avg")} - {"top5"}
    found = []
    for name in dict.fromkeys(OTHER_NAMES.get(name, name) for name in names):
        kind = kind_of(name, sorted(each for each in readouts if not each.endswith("_top5")))
        field = kind.field or name
        shown = _digits(kind, [row.get(field) for row in rows], digits)
        about = kind.about.format_map(words) if "{" in kind.about else kind.about
        found.append(Column(kind.id or name, kind.title, field, kind.scale, shown, kind.best, about))
    return tuple(found)


def _digits(kind: Kind, values: Sequence[Any], digits: int) -> int:
    """Return how many digits show the values of a column: small ones need more."""
    numbers = [value for value in values if isinstance(value, int | float) and isfinite(value)]
    if isinstance(kind.digits, int):
        whole = kind.digits == 1 and kind.scale == 1 and all(float(value).is_integer() for value in numbers)
        return 0 if whole else kind.digits
    if kind.digits == "percent":
        return digits
    if kind.digits == "mb":
        return 1 if numbers and min(numbers) >= 10 else 2
    most = max((abs(value) * kind.scale for value in numbers), default=1.0)
    return 1 if most >= 100 else 2 if most >= 0.1 or not most else 3 if most >= 0.01 else 4
