"""A whole small GRACE run, by the library and by the usual pipeline: three tasks, two of them compressing."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median
from typing import Any

import torch

import grace.run
from bench.cases import SPEC, images
from bench.machine import device, synchronise
from bench.usual import UsualTrainer
from grace.methods import method
from grace.nets import backbone_factory
from grace.run import TaskRecord, run_stream
from grace.streams.protocol import Budget, Protocol
from grace.training.engine import Engine
from grace.training.phase import Recipe
from suite.execute import exact

BACKBONE, EPOCHS, ROUNDS, IMAGES = "resnet8", 5, 2, 600
PROTOCOL = Protocol(
    name="small", dataset=replace(SPEC, classes=6), base=0, increment=2, budget=Budget(60), backbone=BACKBONE
)
PUBLISHED = {"initial": 200, "expand": 170, "compress": 130}


class Watched(UsualTrainer):
    """The usual pipeline inside a run: the net to look at is the learner's."""

    learner: Any = None

    def fit(self, phase: Any) -> None:
        """Look at the learner's net as it grows."""
        self.evaluated = Watched.learner.net.logits
        super().fit(phase)


def small_runs() -> list[str]:
    """Return the table: seconds by each way, their ratio, and the part of a run that trains nothing."""
    train, test = images(IMAGES, device()), images(IMAGES // 6, device())
    train.y, test.y = torch.arange(IMAGES) % 6, torch.arange(IMAGES // 6) % 6
    taken: dict[str, list[float]] = {"usual": [], "plain": [], "compiled": []}
    records: list[TaskRecord] = []
    _run(train, test, Engine("fp32", "compiled"))  # compilers and caches
    for _ in range(ROUNDS):
        for way in taken:
            if way == "usual":
                seconds, _ = _usual(train, test)
            else:
                seconds, records = _run(train, test, Engine("fp32", way))  # type: ignore[arg-type]
            taken[way].append(seconds)
    lines = [f"{BACKBONE}, {EPOCHS} epochs a phase, 32x32 images, {ROUNDS} rounds.", "",
             "| way | seconds | the usual pipeline's time over it |", "|---|---|---|"]  # fmt: skip
    for way, values in taken.items():
        each = [u / v for u, v in zip(taken["usual"], values, strict=True)]
        lines.append(f"| {way} | {median(values):.1f} | {median(each):.2f} ({min(each):.2f}-{max(each):.2f}) |")
    trained = {name: sum(p["seconds"] for r in records for p in r.phases if p["name"] == name) for name in PUBLISHED}
    other = sum(sum(r.seconds.values()) for r in records) - sum(trained.values())
    whole = sum(seconds * PUBLISHED[name] / EPOCHS for name, seconds in trained.items())
    lines += ["", f"Evaluation, herding and saturation: {100 * other / (other + sum(trained.values())):.1f} % of this "
              f"run; at the published number of epochs {100 * other / (other + whole):.2f} %."]  # fmt: skip
    return lines


def _learner(where: torch.device) -> Any:
    learner_class, config = method("grace")
    recipe = Recipe(EPOCHS, lr=0.01)
    settings = config(initial=recipe, expand=recipe, compress=recipe, threshold=1.1, decay=1.0)
    return learner_class(settings, backbone_factory(BACKBONE), PROTOCOL.budget, where)


def _run(train: Any, test: Any, engine: Engine) -> tuple[float, list[TaskRecord]]:
    where = device()
    exact(torch.get_num_threads(), where, "fp32")
    synchronise()
    start = time.perf_counter()
    records = run_stream(_learner(where), PROTOCOL, train, test, seed=0, device=where, engine=engine)
    synchronise()
    return time.perf_counter() - start, records


def _usual(train: Any, test: Any) -> tuple[float, list[TaskRecord]]:
    where, before = device(), grace.run.Trainer
    Watched.learner = _learner(where)
    grace.run.Trainer = Watched  # type: ignore[misc]
    try:
        synchronise()
        start = time.perf_counter()
        records = run_stream(Watched.learner, PROTOCOL, train, test, seed=0, device=where, engine=Engine(way="plain"))
        synchronise()
        return time.perf_counter() - start, records
    finally:
        grace.run.Trainer = before  # type: ignore[misc]
