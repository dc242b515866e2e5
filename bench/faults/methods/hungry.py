"""Hungry: runs out of memory in its second task, unless that happened once before: then it has more room."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from grace import Batch, Learner, Phase, Recipe, Task, Trainer


@dataclass(frozen=True)
class Config:
    """One short recipe."""

    recipe: Recipe = Recipe(2, lr=0.05, batch_size=64)


class Hungry(Learner):
    """Replay that wants more memory than there is, once."""

    title = "Hungry"
    family = "single backbone"
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Learn a task."""
        fed = Path(os.environ["GRACE_FAULTS"]) / "fed"
        if task.known and not fed.exists():
            fed.touch()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
                                         "capacity of 23.68 GiB of which 1.12 GiB is free.")  # fmt: skip
        if not task.known:
            self.net.add_branch()
        self.net.add_classes(task.size)

        def loss(batch: Batch) -> dict[str, torch.Tensor]:
            return {"ce": F.cross_entropy(self.net.logits(batch.x), batch.y)}

        recipe = self.config.recipe
        trainer.fit(Phase(name="learn", trains=[self.net], data=self.replayed(task), loss=loss, recipe=recipe))
