"""Replay: cross-entropy on the new classes and the herded exemplars together."""

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
    """Replay's schedules."""

    initial: Recipe = Recipe(200, weight_decay=5e-4, milestones=(60, 120, 170))  # PyCIL, replay
    later: Recipe = Recipe(70, weight_decay=2e-4, milestones=(30, 50))  # PyCIL, replay


class Replay(Learner):
    """Cross-entropy over all classes seen, each exemplar once per epoch.

    No departures from PyCIL's version.
    """

    title = "Replay"
    family = "single backbone"
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Train the whole net on the new classes and the exemplars."""
        if task.known == 0:
            begin(self.net, task, task.train, trainer, self.config.initial)
            return
        self.net.add_classes(task.size)

        def loss(batch: Batch) -> Losses:
            return {"ce": F.cross_entropy(self.net.logits(batch.x), batch.y)}

        trainer.fit(
            Phase(name="learn", trains=[self.net], data=self.replayed(task), loss=loss, recipe=self.config.later)
        )
