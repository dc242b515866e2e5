"""What a run held: after its last task, at most after any task, and at most while training; by both conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from suite.record import RunRecord, TaskRow

MIB = 2**20


def survey_bytes(held: Mapping[str, int]) -> int:
    """Return bytes as the field's survey charges them: 4 a backbone parameter and the exemplars' pixels, no more.

    `held` is a footprint, or what a phase held. (Zhou et al., Class-Incremental Learning: A Survey, TPAMI 2024; MEMO,
    ICLR 2023.)
    """
    return 4 * held["backbone_parameters"] + held["exemplar_bytes"]


def full_bytes(held: Mapping[str, int]) -> int:
    """Return all bytes: parameters, buffers, heads, auxiliary networks, a method's own state, and exemplars."""
    return held["model_bytes"] + held["exemplar_bytes"]


def branches(record: RunRecord) -> list[int]:
    """Return how many branches a method held after each task: as it noted, or as many as the first one's size fits."""
    sizes = [task.footprint["backbone_parameters"] for task in record.tasks]
    return [
        int(task.notes.get("backbones") or max(1, round(size / max(sizes[0], 1))))
        for task, size in zip(record.tasks, sizes, strict=True)
    ]


def memory(record: RunRecord) -> dict[str, Any]:
    """Return what was held after the last task, at most after any task, and at most while training.

    While training: teachers, students and networks being expanded count; optimiser state, gradients and activations do
    not. None in records from before that was measured.
    """
    kept = [task.footprint for task in record.tasks]
    training = [phase["held"] for task in record.tasks for phase in task.phases if "held" in phase]
    measured = len(training) == sum(len(task.phases) for task in record.tasks)
    found: dict[str, Any] = {
        "params_curve": [each["parameters"] for each in kept],
        "model_mb_curve": [each["model_bytes"] / MIB for each in kept],
        "exemplar_mb_curve": [each["exemplar_bytes"] / MIB for each in kept],
        "survey_curve": [survey_bytes(each) / MIB for each in kept],
        "memory_mb_peak_curve": [_peak(task) / MIB for task in record.tasks] if measured else None,
        "head_params_final": kept[-1]["head_parameters"],
        "auxiliary_params_final": kept[-1]["auxiliary_parameters"],
        "buffer_numbers_final": kept[-1]["buffer_numbers"],
        "state_numbers_final": kept[-1]["state_numbers"],
        "flops_eval": kept[-1]["evaluation_flops"] or None,
    }
    for name, size in (("memory_mb", full_bytes), ("survey_mb", survey_bytes)):
        most, peak = _extremes([size(each) / MIB for each in kept], [size(each) / MIB for each in training])
        found |= {name: size(kept[-1]) / MIB, f"{name}_max": most, f"{name}_peak": peak if measured else None}
    most, peak = _extremes(*([each["parameters"] for each in held] for held in (kept, training)))
    return found | {"params_final": kept[-1]["parameters"], "params_max": most,
                    "params_peak": peak if measured else None}  # fmt: skip


def _peak(task: TaskRow) -> int:
    """Return the most bytes held at any time of a task."""
    return max(map(full_bytes, [task.footprint, *(phase["held"] for phase in task.phases)]))


def _extremes(after: Sequence[float], during: Sequence[float]) -> tuple[float, float]:
    """Return the most after any task, and the most at any time."""
    return max(after), max([*after, *during])


def shared_out(record: RunRecord) -> dict[str, Any]:
    """Return how a run's memory was aligned with that of others, see suite.alignment."""
    aligned, share = record.spec["protocol"].get("alignment", ""), record.spec.get("allocation") or {}
    solved = share.get("branches")
    return {
        "alignment": aligned,
        "base_protocol": record.protocol.removesuffix(f"+{aligned}") if aligned else record.protocol,
        "budget_mb": share["size"] / MIB if share else None,
        "settled": solved is None or branches(record)[-1] == solved,
        "copied_from": record.provenance.get("copied_from", ""),
    }
