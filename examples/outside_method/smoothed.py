"""Smoothed: replay whose labels are smoothed, as a method that lives outside the suite."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from grace import Batch, Learner, Phase, Recipe, Task, Trainer


@dataclass(frozen=True)
class Config:
    """Hyper-parameters, each with its source."""

    initial: Recipe = Recipe(200, weight_decay=5e-4, milestones=(60, 120, 170))  # PyCIL, replay
    later: Recipe = Recipe(70, weight_decay=2e-4, milestones=(30, 50))  # PyCIL, replay
    smoothing: float = 0.1  # Szegedy et al. 2016, sec. 7


class Smoothed(Learner):
    """Cross-entropy with label smoothing on the new classes and the exemplars.

    An example, and no published method.
    """

    title = "Smoothed"
    family = "single backbone"
    reference = ""
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Train the whole net on the new classes and the exemplars."""
        if task.known == 0:
            self.net.add_branch()
        self.net.add_classes(task.size)

        def loss(batch: Batch) -> dict[str, Tensor]:
            logits = self.net.logits(batch.x)
            return {"ce": F.cross_entropy(logits, batch.y, label_smoothing=self.config.smoothing)}

        recipe = self.config.later if task.known else self.config.initial
        trainer.fit(Phase(name="learn", trains=[self.net], data=self.replayed(task), loss=loss, recipe=recipe))
