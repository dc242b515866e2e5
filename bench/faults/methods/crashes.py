"""Crashes: its process ends by a signal in every second task, as a library with a bug would have it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from grace import Batch, Learner, Phase, Recipe, Task, Trainer


@dataclass(frozen=True)
class Config:
    """One short recipe."""

    recipe: Recipe = Recipe(2, lr=0.05, batch_size=64)


class Crashes(Learner):
    """Fine-tuning, until it crashes."""

    title = "Crashes"
    family = "floor"
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Learn one task, and none after it."""
        if task.known:
            os.kill(os.getpid(), signal.SIGSEGV)
        self.net.add_branch()
        self.net.add_classes(task.size)

        def loss(batch: Batch) -> dict[str, torch.Tensor]:
            return {"ce": F.cross_entropy(self.net.logits(batch.x), batch.y)}

        trainer.fit(Phase(name="learn", trains=[self.net], data=task.train, loss=loss, recipe=self.config.recipe))
