"""The passes of a task that train nothing: evaluation, herding and saturation, and their part of a run."""

from __future__ import annotations

import time

import torch

from bench.cases import CASES, SPEC, images, ours, task_of
from bench.machine import device, synchronise
from bench.usual import UsualTrainer
from grace.losses import effective_rank
from grace.methods import method
from grace.nets import backbone_factory
from grace.nets.arithmetic import computing
from grace.run import evaluate
from grace.streams.protocol import Budget
from grace.streams.samples import Samples, Task
from grace.training.engine import Engine
from grace.training.steps import arithmetic
from grace.training.trainer import Trainer
from suite.execute import exact

NEW, KEPT, TESTED, BRANCHES = 1000, 1000, 1000, 4
REAL = {"train": 5000, "kept": 2000, "tested": 5000}  # of B0I10's fifth task
EPOCHS = 170  # of its expansion


def passes(backbone: str) -> list[str]:
    """Return the table: seconds of each pass at B0I10's fifth task, against its training and the usual pipeline."""
    where, engine = device(), Engine("fp32", "compiled")
    exact(torch.get_num_threads(), where, "fp32")
    learner_class, config = method("grace")
    source, test = images(NEW + KEPT, where), images(TESTED, where)
    source.y += 40
    test.y += 40
    task = Task(4, 40, 50, Samples(source, torch.arange(NEW)), Samples(test, torch.arange(TESTED)))
    seen = Samples(source, torch.arange(NEW + KEPT))
    with computing(arithmetic(engine, where)):
        learner = learner_class(config(), backbone_factory(backbone), Budget(2000), where)
        for branch in range(BRANCHES):
            learner.net.add_branch(like=learner.net.newest if branch else None)
        learner.net.add_classes(50)
        trainer = Trainer(task, seed=0, device=where, engine=engine)
        readout = learner.readouts(task, trainer)
        evaluate(readout, task, trainer)
        tested = _timed(lambda: evaluate(readout, task, trainer)) * REAL["tested"] / TESTED
        embedded = _timed(lambda: trainer.map(learner.embed, task.train)) * REAL["train"] / NEW
        learner.remember(task, trainer)
        herded = _timed(lambda: learner.remember(task, trainer)) - embedded * NEW / REAL["train"]
        looked = _timed(lambda: trainer.map(learner.net.newest.features, seen, "train", "x"))
        looked *= (REAL["train"] + REAL["kept"]) / (NEW + KEPT)
        ranked = _timed(lambda: effective_rank(torch.rand(7000, 64, device=where)))
    usual = UsualTrainer(task, seed=0, device=where)
    slow = _timed(lambda: usual.accuracy(learner.net.logits, task.test)) * REAL["tested"] / TESTED
    exact(torch.get_num_threads(), where, "fp32")
    case = CASES[2]  # four frozen branches
    rate = ours(case, backbone, engine, where, 512 if where.type == "cpu" else 5000, epochs=1)
    training = EPOCHS * (REAL["train"] + REAL["kept"]) / rate
    rows = {
        "evaluation of 5,000 images": tested,
        "features of 5,000 images for herding": embedded,
        "herding 40 of 100 images in 10 classes": herded,
        "features of 7,000 images for saturation": looked,
        "effective rank of 7,000 x 64": ranked,
    }
    total = sum(rows.values())
    return [
        f"{BRANCHES} branches, {SPEC.size}x{SPEC.size} images; rates measured on fewer images. The task's training at "
        f"the published recipe takes {training:,.0f} s at the rate of (b).", "",
        "| pass | seconds | part of the task |", "|---|---|---|",
        *(f"| {name} | {value:.3f} | {100 * value / (training + total):.3f} % |" for name, value in rows.items()),
        f"| all | {total:.3f} | {100 * total / (training + total):.3f} % |", "",
        f"Evaluation by the usual pipeline: {slow:.2f} s, {slow / tested:.2f} times ours.",
    ]  # fmt: skip


def _timed(work: object) -> float:
    synchronise()
    start = time.perf_counter()
    work()  # type: ignore[operator]
    synchronise()
    return time.perf_counter() - start


__all__ = ["passes", "task_of"]
