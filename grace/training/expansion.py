"""Expansion, the phase that dynamically expandable methods share: a new branch beside the frozen ones."""

from __future__ import annotations

import torch.nn.functional as F

from grace.losses import auxiliary_targets
from grace.nets.heads import LinearHead
from grace.nets.incremental import IncrementalNet
from grace.streams.samples import Batch, Samples, Task
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer


def expand(
    net: IncrementalNet,
    task: Task,
    data: Samples,
    trainer: Trainer,
    recipe: Recipe,
    auxiliary: float = 1.0,
    train_stem: bool = True,
) -> None:
    """Grow a branch and the head for `task`, train both on `data`, and align the head after the first task.

    The new branch starts as a copy of the newest one. From the second task on an auxiliary head on the new branch
    alone tells the new classes from each other and from all old ones together (DER, sec. 3.2); it lives only here.
    A stem that branches share learns along in the first task, and in later ones if `train_stem`.
    """
    branch = net.add_branch(like=net.newest if task.known else None)
    net.add_classes(task.size)
    newest = LinearHead(net.width, task.size + 1) if task.known else None

    def loss(batch: Batch) -> Losses:
        out = net(batch.x)
        terms = {"ce": F.cross_entropy(out.logits, batch.y)}
        if newest is not None:
            scores = newest(out.features[:, -net.width :])
            terms["aux"] = auxiliary * F.cross_entropy(scores, auxiliary_targets(batch.y, task.known))
        return terms

    stem = [net.stem] if net.stem is not None and (train_stem or not task.known) else []
    trains = [*stem, branch, net.head, *([] if newest is None else [newest])]
    name = "expand" if task.known else "initial"
    trainer.fit(Phase(name=name, trains=trains, data=data, loss=loss, recipe=recipe))
    if task.known:
        net.head.align(task.size)
