"""Fine-tuning, the floor: train on the new classes only and keep nothing of the old ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F

from grace.learner import Learner
from grace.streams.samples import Batch, Task
from grace.training.beginning import begin
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """Fine-tuning's schedules."""

    initial: Recipe = Recipe(200, weight_decay=5e-4, milestones=(60, 120, 170))  # PyCIL, finetune
    later: Recipe = Recipe(80, weight_decay=2e-4, milestones=(40, 70))  # PyCIL, finetune


class FineTune(Learner):
    """Cross-entropy over the new classes' logits; old columns only decay.

    No departures from PyCIL's version.
    """

    title = "FineTune"
    family = "floor"
    uses_memory = False
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Train the whole net on the new classes."""
        if task.known == 0:
            begin(self.net, task, task.train, trainer, self.config.initial)
            return
        self.net.add_classes(task.size)

        def loss(batch: Batch) -> Losses:
            logits = self.net.logits(batch.x)[:, task.known :]
            return {"ce": F.cross_entropy(logits, batch.y - task.known)}

        trainer.fit(Phase(name="learn", trains=[self.net], data=task.train, loss=loss, recipe=self.config.later))
