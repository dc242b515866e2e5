"""PODNet: distil pooled maps of every stage, classify by several proxies per class (Douillard et al., ECCV 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal, cast

import torch
import torch.nn.functional as F

from grace.learner import Learner
from grace.losses import nca, pod_spatial
from grace.nets.heads import CosineHead
from grace.streams.samples import Batch, Samples, Task
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """PODNet's schedules and the weights of its terms."""

    learn: Recipe = Recipe(160, weight_decay=5e-4)  # PyCIL, podnet: every task, cosine
    balance: Recipe = Recipe(20, lr=0.005, weight_decay=5e-4)  # PyCIL, podnet: fine-tuning on as many of every class
    flat: float = 1.0  # PyCIL, podnet: weight of the distillation of features
    spatial: float = 5.0  # PyCIL, podnet: weight of the distillation of maps
    delta: float = 0.6  # paper and PyCIL, podnet: margin of the true class's score
    margin: Literal["true class", "all"] = "true class"  # paper; "all" as PyCIL, podnet: the margin cancels


class PODNet(Learner):
    """Pooled Outputs Distillation: maps keep their sums over rows and columns, old proxies stay as they are.

    The classification loss is the paper's: -log of exp(z_y - delta) over the sum of exp(z_c) of the other classes, cut
    off at zero, z being similarities times the learned scale of the head. As in PyCIL delta is not scaled: were it, as
    the paper has it, a scale of zero or less would do for two classes. PyCIL subtracts delta from every class, where it
    cancels, and lets the true class count in the sum as if it had the largest score, so that its loss is cross-entropy
    wherever the true class wins: that is `margin = "all"`.

    Departs from the paper, as PyCIL does: new proxies are drawn at random (not imprinted from features), the weights of
    distillation are PyCIL's, maps are compared after the last ReLU of a stage, and the headline is the nearest mean.
    """

    title = "PODNet"
    family = "single backbone"
    reference = "ECCV 2020"
    head = CosineHead
    signed = True
    headline = "nme"
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Train all but the old proxies, held to the net before; then again on as many images of every class."""
        config, teacher = self.config, self.net.copied() if task.known else None
        if task.known == 0:
            self.net.add_branch()
        self.net.add_classes(task.size)
        head, factor = cast(CosineHead, self.net.head), sqrt(task.seen / task.size)

        def loss(batch: Batch) -> Losses:
            old = None if teacher is None else teacher(batch.x)
            out = self.net(batch.x)
            if config.margin == "all":
                terms = {"nca": nca(out.logits, batch.y, whole=True)}
            else:
                terms = {"nca": nca(out.logits, batch.y, config.delta)}
            if old is not None:
                flat = 1 - F.cosine_similarity(out.features, old.features).mean()
                terms["flat"] = factor * config.flat * flat
                terms["spatial"] = factor * config.spatial * pod_spatial(out.maps, old.maps)
            return terms

        trains, name = [self.net.newest, head.blocks[-1], head.scale], "learn" if task.known else "initial"
        trainer.fit(Phase(name=name, trains=trains, data=self.replayed(task), loss=loss, recipe=config.learn))
        balanced = self._balanced(task, trainer)
        if len(balanced):
            trainer.fit(Phase(name="balance", trains=trains, data=balanced, loss=loss, recipe=config.balance))

    def _balanced(self, task: Task, trainer: Trainer) -> Samples:
        """Return the exemplars and as many herded images of each new class; nothing where there are no exemplars."""
        held = self.memory.samples(task.train.source)
        if len(held) == 0:
            return held
        new = self.herded(task, trainer, self.memory.budget.share(task.known))
        return held + Samples(task.train.source, torch.cat([new[label] for label in sorted(new)]))
