"""Made-up records in the real format, as many as wanted: what tables and reports over thousands of runs are tried on.

    python -m bench.synthetic DIR [--runs 300]

Every method on several protocols, over class orders and seeds; keys, settings, footprints and files are as of real
runs, the answers are drawn so that accuracies look plausible. They say nothing about any method.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from itertools import islice, product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from grace.methods import METHODS
from grace.nets import BACKBONES
from suite.declared import declared
from suite.record import FOOTPRINT, RunRecord, TaskRow, encode, jsonable
from suite.spec import RunSpec
from suite.store import Store
from suite.sweep import resolve, sweep_of

PROTOCOLS = (
    *(f"cifar100-b0i{size}" for size in (2, 5, 10, 20)),
    *(f"cifar100-b50i{size}" for size in (2, 5, 10, 25)),
    *(f"imagenet100-b0i{size}" for size in (5, 10, 20)),
    *(f"imagenet100-b50i{size}" for size in (5, 10)),
    *(f"cifar100-b0i10+m={exemplars}" for exemplars in (500, 1000, 3000)),
    *("cifar100-b0i10+auc", "cifar100-b0i10+mb=12"),
)  # fmt: skip
ORDERS, SEEDS = (1993, 1994, 1995, 1996, 1997), range(100)
PER_CLASS = 5  # test images: few, since a row reads each
EPOCHS = 10  # in the log
MARK = "synthetic"  # file that says that a store may be replaced


def specs(count: int) -> Iterator[RunSpec]:
    """Yield the first runs of the sweep of everything, all methods and protocols before the next seed."""
    sweep = sweep_of({"methods": list(METHODS), "protocols": list(PROTOCOLS), "orders": [0], "seeds": [0]}, "")
    each = [spec for spec in resolve(sweep) if spec.order_seed == 0 and spec.train_seed == 0]
    runs = (replace(spec, order_seed=order, train_seed=seed) for seed, order, spec in product(SEEDS, ORDERS, each))
    return islice(runs, count)


def record(spec: RunSpec) -> RunRecord:
    """Return the record of a run that never was; the same one for the same spec."""
    draw = np.random.default_rng(int(spec.key, 16))
    about = declared(spec.method)
    skill = np.random.default_rng(len(spec.method) * 100 + ord(spec.method[0])).uniform(0.45, 0.9)
    keeps = 0.995 if about.cumulative else skill**0.25  # of what is known, from task to task
    increments, backbone = spec.protocol.increments, BACKBONES[spec.stream.backbone]
    tasks = []
    for t, seen in enumerate(np.cumsum(increments).tolist()):
        age = t - np.repeat(np.arange(t + 1), np.multiply(increments[: t + 1], PER_CLASS))
        right = draw.random(len(age)) < skill * keeps**age * draw.normal(1, 0.01)
        best = _answers(seen)[np.where(right, 0, draw.integers(1, 6, len(age))), np.arange(len(age))]
        own = _branches(spec, about.growth, t, len(increments))
        kept = spec.stream.budget.share(seen) * seen if about.uses_memory else 0
        size = backbone.parameters + (own - 1) * (backbone.last_stage if about.shared_stem else backbone.parameters)
        head = own * backbone.width * seen
        counts = dict.fromkeys(FOOTPRINT, 0) | {
            "parameters": size + head, "backbone_parameters": size, "head_parameters": head,
            "model_bytes": 4 * (size + head), "exemplars": kept,
            "exemplar_bytes": kept * spec.protocol.dataset.bytes_per_image, "evaluation_flops": 300 * size,
        }  # fmt: skip
        notes: dict[str, Any] = {"backbones": own}
        if about.growth == "data":
            notes |= {"compressed": t % 3 > 0, "saturation": draw.uniform(0.3, 0.7), "threshold": 0.6, "streak": t % 3,
                      "compress_next": t % 3 < 2, "branch_classes": [seen]}  # fmt: skip
        losses = {"ce": (draw.random(EPOCHS) / (1 + np.arange(EPOCHS))).tolist()}
        held = {name: number for name, number in counts.items() if name != "evaluation_flops"}
        phase = {"name": "learn", "way": "compiled", "epochs": EPOCHS, "images": 50_000, "seconds": 60.0 + 9 * own,
                 "parameters": counts["parameters"], "peak_bytes": 2**30, "losses": losses, "held": held}  # fmt: skip
        seconds = {"learn": 60.0 + 9 * own, "remember": 1.0, "evaluate": 2.0}
        tasks.append(TaskRow(t, seen - increments[t], seen, counts, notes, [phase], seconds, _answers(seen)[0][:, 0],
                             {"linear": best}))  # fmt: skip
    return RunRecord(spec.key, spec.method, spec.protocol.name, spec.order_seed, spec.train_seed, spec.smoke,
                     jsonable(spec.identity()), tasks, _origin(spec))  # fmt: skip


def _branches(spec: RunSpec, growth: str, task: int, tasks: int) -> int:
    """Return how many a method has after a task; where the images decide, as many at the end as were reckoned with."""
    if growth != "data":
        return task + 1 if growth == "per-task" else 1
    final = (spec.allocation.branches if spec.allocation else None) or 1 + tasks // 4
    return 1 + (final - 1) * task // max(tasks - 1, 1)


@cache
def _answers(seen: int) -> Any:
    """Return int16 [6, n, k]: the classes best first, the label in first to fifth place or, in the last, not at all."""
    labels = np.repeat(np.arange(seen), PER_CLASS)
    others = np.stack([(labels + i) % seen for i in range(1, min(6, seen))], axis=1)
    places = [np.insert(others, min(place, others.shape[1]), labels, axis=1)[:, :5] for place in range(5)]
    return np.stack([*places, others if seen > 5 else places[-1]]).astype(np.int16)


def _origin(spec: RunSpec) -> dict[str, Any]:
    about = declared(spec.method)
    return {
        "version": "0.1.0", "commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False, "preset": "",
        "python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6", "device": "Made-up GPU", "threads": 1, "host": "none",
        "method": {"title": about.title, "family": about.family, "reference": about.reference},
        "data": f"{spec.protocol.dataset.name}-{spec.order_seed}",
        "started": "2026-01-01T00:00:00Z", "finished": "2026-01-01T00:10:00Z",
    }  # fmt: skip


def _written(root: Path, runs: list[RunSpec]) -> None:
    """Write records without waiting for the disk, as the store does after hours of work: these can be made again."""
    for spec in runs:
        whole, predictions = encode(record(spec))
        (root / "predictions" / f"{spec.key}.parquet").write_bytes(predictions)
        (root / "records" / f"{spec.key}.parquet").write_bytes(whole)


def written(root: Path, count: int) -> int:
    """Make a store of that many records, unless it is there already; return how many it has."""
    mark, made = root / MARK, f"{count} {hashlib.blake2b(Path(__file__).read_bytes(), digest_size=8).hexdigest()}\n"
    if root.exists() and not mark.exists():
        raise SystemExit(f"{root} is there and was not made by this: name another folder")
    store = Store(root)
    if not mark.exists() or mark.read_text() != made:
        shutil.rmtree(root, ignore_errors=True)
        runs = list(specs(count))
        store = Store.open(root, write=True)
        parts = [runs[start : start + 100] for start in range(0, len(runs), 100)]
        with ProcessPoolExecutor(min(8, os.cpu_count() or 1), get_context("spawn")) as pool:
            write = partial(_written, root)
            list(map(write, parts) if len(parts) == 1 else pool.map(write, parts))
        mark.write_text(made)
    return len(store.keys())


def main() -> None:
    """Make the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DIR", help="a new results folder, or one of an earlier call")
    parser.add_argument("--runs", type=int, default=300)
    options = parser.parse_args()
    print(f"{written(options.root, options.runs)} records under {options.root}")


if __name__ == "__main__":
    main()
