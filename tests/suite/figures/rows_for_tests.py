"""Result rows made up of the fields that figures read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from suite.declared import declared

NUMBERS = count(1)


def row(
    method: str = "der",
    /,
    protocol: str = "mine-b0i2",
    curve: Sequence[float] = (0.9, 0.8, 0.7),
    *,
    seed: int = 0,
    alignment: str = "",
    parameters: Sequence[int] = (1_000_000, 2_000_000, 3_000_000),
    **more: Any,
) -> dict[str, Any]:
    """A run whose accuracy on every task after task t is the overall one."""
    about = declared(method)
    name = f"{protocol}+{alignment}" if alignment else protocol
    return {
        "key": f"{next(NUMBERS):016x}", "method": method, "protocol": name, "protocol_id": name, "train_seed": seed,
        "order_seed": 1993, "title": about.title, "family": about.family, "reference": about.reference, "config": {},
        "precision": "fp32", "workers": 1, "smoke": False, "plugin": "", "curve": list(curve),
        "avg": sum(curve) / len(curve), "last": curve[-1], "tasks": len(curve), "classes": 2 * len(curve),
        "notes": [{}] * len(curve), "matrix": [[value] * (t + 1) for t, value in enumerate(curve)],
        "params_curve": list(parameters), "params_final": parameters[-1], "exemplar_mb": 2.0,
        "survey_mb": 6.0, "memory_mb": 7.5, "alignment": alignment,
        "base_protocol": protocol, "budget_mb": None, "settled": True, **more,
    }  # fmt: skip


def many(protocols: int, *, seeds: int = 2, tasks: int = 5) -> list[dict[str, Any]]:
    """Runs of all our methods on many protocols, with a trace of saturation."""
    from grace.methods import BUILT_IN

    notes = [{"saturation": 0.5 + 0.01 * t, "threshold": 0.6 - 0.02 * t, "compress_next": t < 3} for t in range(tasks)]
    return [
        row(
            method,
            f"dataset-b0i{p}+net=resnet18",
            [0.95 - (0.01 + 0.007 * m) * t - 0.002 * seed for t in range(tasks)],
            seed=seed,
            parameters=[400_000 * (t + 1 if m % 3 == 0 else 1) + m for t in range(tasks)],
            notes=notes,
            memory_mb=7.0 + m,
        )
        for p in range(1, protocols + 1)
        for m, method in enumerate(sorted(BUILT_IN))
        for seed in range(seeds)
    ]
