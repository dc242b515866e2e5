"""iCaRL: replay, distil the net of the last task, and classify by nearest class means (Rebuffi et al., CVPR 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from grace.checks import require
from grace.learner import Learner
from grace.losses import distil
from grace.streams.samples import Batch, Task
from grace.training.beginning import begin
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """iCaRL's schedules and its loss."""

    initial: Recipe = Recipe(200, weight_decay=5e-4, milestones=(60, 120, 170))  # PyCIL, icarl
    later: Recipe = Recipe(170, weight_decay=2e-4, milestones=(80, 120))  # PyCIL, icarl
    distillation: float = 1.0  # PyCIL, icarl: weight of distillation; paper, alg. 3
    temperature: float = 2.0  # PyCIL, icarl: T of distillation; of no meaning for "bce"
    loss: Literal["ce", "bce"] = "ce"  # PyCIL, icarl: softmax cross-entropies; "bce": sigmoids, as the paper's alg. 3

    def __post_init__(self) -> None:
        """Refuse values outside their meaning."""
        require(self.distillation >= 0, f"distillation must not be negative, not {self.distillation}")
        require(self.temperature > 0, f"temperature must be above 0, not {self.temperature}")
        require(self.loss in ("ce", "bce"), f"loss must be ce or bce, not {self.loss}")


class ICaRL(Learner):
    """Incremental Classifier and Representation Learning: its own prediction is the nearest mean of exemplars.

    Departs from the paper, as PyCIL does: softmax cross-entropies over all classes and, at T = 2, over the old ones
    instead of sigmoids (`loss = "bce"` has the paper's); the schedules are PyCIL's.
    """

    title = "iCaRL"
    family = "single backbone"
    reference = "CVPR 2017"
    headline = "nme"
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Train the whole net on the new classes and the exemplars, its old logits held to those of the net before."""
        if task.known == 0 and self.config.loss == "ce":
            begin(self.net, task, task.train, trainer, self.config.initial)
            return
        teacher = self.net.copied() if task.known else None
        if task.known == 0:
            self.net.add_branch()
        self.net.add_classes(task.size)

        def loss(batch: Batch) -> Losses:
            old = None if teacher is None else teacher(batch.x)
            logits = self.net.logits(batch.x)
            return self._terms(logits, None if old is None else old.logits, batch.y, task.known)

        recipe = self.config.later if task.known else self.config.initial
        name = "learn" if task.known else "initial"
        trainer.fit(Phase(name=name, trains=[self.net], data=self.replayed(task), loss=loss, recipe=recipe))

    def _terms(self, logits: Tensor, old: Tensor | None, y: Tensor, known: int) -> Losses:
        """Return the terms for logits [B, seen], the teacher's [B, known] and labels y [B]."""
        if self.config.loss == "bce":  # the new classes' outputs follow the labels, the old ones' the teacher alone
            labels = F.one_hot(y, logits.shape[1])[:, known:].to(logits.dtype)
            terms = {"bce": _binary(logits[:, known:], labels)}
            distilled = None if old is None else _binary(logits[:, :known], torch.sigmoid(old))
        else:
            terms = {"ce": F.cross_entropy(logits, y)}
            distilled = None if old is None else distil(logits[:, :known], old, self.config.temperature)
        return terms if distilled is None else {**terms, "distil": self.config.distillation * distilled}


def _binary(logits: Tensor, targets: Tensor) -> Tensor:
    """Return binary cross-entropies [B, C], summed over classes and averaged over the batch."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(logits)
