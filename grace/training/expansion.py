"""Expansion, the phase that dynamically expandable methods share: a new branch beside the frozen ones."""

from __future__ import annotations

import torch.nn.functional as F

from grace.losses import auxiliary_targets
from grace.nets.heads import LinearHead
from grace.nets.incremental import IncrementalNet
from grace.streams.samples import Batch, Samples, Task
from grace.training.beginning import begin
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

    The first task is a plain beginning. From the second on the new branch starts as a copy of the newest one, and an
    auxiliary head on it alone tells the new classes from each other and from all old ones together (DER, sec. 3.2); it
    lives only here. A stem that branches share learns along in later tasks if `train_stem`.
    """
    if task.known == 0:
        begin(net, task, data, trainer, recipe)
        return
    branch = net.add_branch(like=net.newest)
    net.add_classes(task.size)
    newest = LinearHead(net.width, task.size + 1)

    def loss(batch: Batch) -> Losses:
        out = net(batch.x)
        scores = newest(out.features[:, -net.width :])
        aux = auxiliary * F.cross_entropy(scores, auxiliary_targets(batch.y, task.known))
        return {"ce": F.cross_entropy(out.logits, batch.y), "aux": aux}

    stem = [net.stem] if net.stem is not None and train_stem else []
    trains = [*stem, branch, net.head, newest]
    trainer.fit(Phase(name="expand", trains=trains, data=data, loss=loss, recipe=recipe))
    net.head.align(task.size)
