"""LwF: distil the net of the last task on the new classes, without exemplars (Li and Hoiem, ECCV 2016)."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F

from grace.checks import require
from grace.learner import Learner
from grace.losses import distil
from grace.streams.samples import Batch, Task
from grace.training.beginning import begin
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """LwF's schedules and its distillation."""

    initial: Recipe = Recipe(200, weight_decay=5e-4, milestones=(60, 120, 160))  # PyCIL, lwf
    later: Recipe = Recipe(250, weight_decay=2e-4, milestones=(60, 120, 180, 220))  # PyCIL, lwf
    distillation: float = 3.0  # PyCIL, lwf: weight of distillation (paper: 1)
    temperature: float = 2.0  # T of distillation; paper, section 3, and PyCIL, lwf

    def __post_init__(self) -> None:
        """Refuse values outside their meaning."""
        require(self.distillation >= 0, f"distillation must not be negative, not {self.distillation}")
        require(self.temperature > 0, f"temperature must be above 0, not {self.temperature}")


class LwF(Learner):
    """Learning without Forgetting: cross-entropy over the new classes, distillation over the old.

    Departs from the paper, as PyCIL does: one head for all classes, whose old logits are distilled together instead of
    task by task; no warm-up of the new head; weight 3 instead of 1.
    """

    title = "LwF"
    family = "floor"
    reference = "ECCV 2016"
    uses_memory = False
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Train the whole net on the new classes, its old logits held to those of the net before."""
        if task.known == 0:
            begin(self.net, task, task.train, trainer, self.config.initial)
            return
        teacher = self.net.copied()
        self.net.add_classes(task.size)

        def loss(batch: Batch) -> Losses:
            old, logits = teacher(batch.x), self.net.logits(batch.x)
            kept = distil(logits[:, : task.known], old.logits, self.config.temperature)
            return {
                "ce": F.cross_entropy(logits[:, task.known :], batch.y - task.known),
                "distil": self.config.distillation * kept,
            }

        trainer.fit(Phase(name="learn", trains=[self.net], data=task.train, loss=loss, recipe=self.config.later))
