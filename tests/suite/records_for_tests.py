"""Records and result rows of made-up runs, worked out by hand where tests assert on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.record import FOOTPRINT, RunRecord, TaskRow
from suite.results import result_row

ABOUT = {
    "drift": ("Drift", "floor", ""),
    "anchor": ("Anchor", "single backbone", "ECCV 2020"),
    "widen": ("Widen", "expansion", "CVPR 2021"),
    "prune_it": ("Prune_It", "expansion", "arXiv 2026"),
    "all": ("All", "upper bound", ""),
}


def protocol(name: str) -> dict[str, Any]:
    """The identity of b0i2 (three tasks of two) or b4i2 (four classes, then two)."""
    increments = {"toy-b0i2": [2, 2, 2], "toy-b4i2": [4, 2]}[name]
    budget = {"exemplars": 12, "per": "total"} if name == "toy-b0i2" else {"exemplars": 5, "per": "class"}
    dataset = {"name": "toy", "classes": 6}
    return {"dataset": dataset, "increments": increments, "budget": budget, "backbone": "tiny", "schedule": 1.0}


def record(
    key: int = 1,
    method: str = "widen",
    stream: str = "toy-b0i2",
    *,
    order: int = 1993,
    seed: int = 0,
    right: list[list[int]] | None = None,
    per_class: int = 5,
    readouts: tuple[str, ...] = ("linear",),
    branches: int = 1,
    smoke: bool = False,
    precision: str = "fp32",
    workers: int = 1,
    config: dict[str, Any] | None = None,
    **provenance: Any,
) -> RunRecord:
    """A record whose headline readout has `right[t][j]` right answers on task j after task t; all by default.

    A wrong answer has its label last, or not at all where there are six classes. Further readouts are right nowhere
    in first place and everywhere within the first two. A branch is 1,000,000
    parameters at 4 bytes; memory is 12 images of 2^17 bytes.
    """
    spec = {
        "schema": 1,
        "method": method,
        "config": {"lr": 0.1, "learn": {"epochs": 2}, **(config or {})},
        "protocol": protocol(stream),
        "order_seed": order,
        "train_seed": seed,
        "precision": precision,
        **({"workers": workers} if workers > 1 else {}),
        "smoke": smoke,
    }
    increments = spec["protocol"]["increments"]
    seen = np.cumsum(increments).tolist()
    tasks = []
    for t, total in enumerate(seen):
        labels = np.repeat(np.arange(total), per_class).astype(np.int16)
        ranks = np.stack([(labels + i) % total for i in range(6)], axis=1).astype(np.int16)
        k = min(5, total)
        top, wrong = ranks[:, :k], ranks[:, 1:6] if total > 5 else np.roll(ranks[:, :k], -1, axis=1)
        mask = np.ones(len(labels), bool)
        if right is not None:
            start = 0
            for j, hits in enumerate(right[t]):
                images = increments[j] * per_class
                mask[start + hits : start + images] = False
                start += images
        second = top.copy()
        second[:, [0, 1]] = top[:, [1, 0]]
        predictions = {name: second for name in readouts[1:]}
        predictions = {readouts[0]: np.where(mask[:, None], top, wrong), **predictions}
        own = (branches - 1) * t // max(len(seen) - 1, 1) + 1
        counts = [own * 1_000_000 + 10 * total, own * 1_000_000, 10 * total, 0, 4, 0, own * 4_000_000, 12, 12 * 2**17,
                  own * 5_000]  # fmt: skip
        phase = {"name": "learn", "epochs": 2, "images": 40, "seconds": 0.5, "parameters": 10, "peak_bytes": 0}
        # a teacher beside what is kept: one branch and its head more
        held = {"parameters": (own + 1) * 1_000_000 + 20 * total, "backbone_parameters": (own + 1) * 1_000_000,
                "model_bytes": (own + 1) * 4_000_000, "exemplar_bytes": 12 * 2**17}  # fmt: skip
        tasks.append(
            TaskRow(
                t,
                total - increments[t],
                total,
                dict(zip(FOOTPRINT, counts, strict=True)),
                {"streak": t},
                [{**phase, "losses": {"ce": [1.5, 0.25]}, "held": held}],
                {"learn": 1.0, "remember": 0.25, "evaluate": 0.5},
                labels,
                predictions,
            )
        )
    title, family, reference = ABOUT[method]
    origin = {
        "commit": "0123456789abcdef",
        "dirty": False,
        "version": "0.1.0",
        "torch": "2.15.0",
        "device": "cpu",
        "preset": "",
        "data": f"images-{order}",
        "method": {"title": title, "family": family, "reference": reference},
        **provenance,
    }
    return RunRecord(f"{key:016x}", method, stream, order, seed, smoke, spec, tasks, origin)


def ten_rows() -> list[dict[str, Any]]:
    """Ten runs: a tie for the best, a method with one run fewer, one absent from a protocol, an upper bound."""
    toy: list[tuple[str, str, int, list[list[int]]]] = [
        ("drift", "toy-b0i2", 0, [[10], [0, 10], [0, 0, 10]]),
        ("drift", "toy-b0i2", 1, [[10], [2, 8], [0, 0, 9]]),
        ("anchor", "toy-b0i2", 0, [[9], [8, 8], [8, 8, 8]]),
        ("anchor", "toy-b0i2", 1, [[9], [8, 7], [7, 7, 8]]),
        ("widen", "toy-b0i2", 0, [[10], [9, 9], [9, 8, 9]]),
        ("prune_it", "toy-b0i2", 0, [[10], [9, 9], [9, 9, 9]]),
        ("prune_it", "toy-b0i2", 1, [[10], [9, 9], [9, 7, 9]]),
        ("all", "toy-b0i2", 0, [[10], [10, 10], [10, 10, 10]]),
        ("anchor", "toy-b4i2", 0, [[16], [12, 8]]),
        ("prune_it", "toy-b4i2", 0, [[20], [18, 9]]),
    ]
    branches = {"widen": 3, "prune_it": 2}
    source = {"prune_it": "nearest preset: other-b0i2 (no published setting for this)"}
    return [
        result_row(record(i, method, stream, seed=seed, right=right, branches=branches.get(method, 1),
                          preset=source.get(method, "")))
        for i, (method, stream, seed, right) in enumerate(toy, start=1)
    ]  # fmt: skip
