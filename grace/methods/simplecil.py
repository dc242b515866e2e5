"""SimpleCIL: learn once, then classify by class means as cosine proxies (Zhou et al., IJCV 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F

from grace.learner import Learner
from grace.nets.heads import CosineHead
from grace.streams.samples import Batch, Task
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """The schedule of the first task."""

    initial: Recipe = Recipe(200, lr=0.01, weight_decay=5e-4)  # PyCIL, simplecil from scratch: cosine


class SimpleCIL(Learner):
    """Prototypes on a frozen backbone: only the first task trains; every class's proxy is the mean of its features.

    Departs from the paper, as PyCIL does for backbones without pretraining: the first task trains the net, since there
    is nothing else that its features could come from.
    """

    title = "SimpleCIL"
    family = "single backbone"
    reference = "IJCV 2024"
    uses_memory = False
    head = partial(CosineHead, 1)
    signed = True
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Train the whole net in the first task; then put the new classes' proxies on the means of their features."""
        if task.known == 0:
            self.net.add_branch()
        self.net.add_classes(task.size)

        def loss(batch: Batch) -> Losses:
            return {"ce": F.cross_entropy(self.net.logits(batch.x), batch.y)}

        if task.known == 0:
            recipe = self.config.initial
            trainer.fit(Phase(name="initial", trains=[self.net], data=task.train, loss=loss, recipe=recipe))
        features = trainer.map(self.embed, task.train)  # not normalised
        labels, proxies = task.train.y.to(features.device), cast(CosineHead, self.net.head).blocks[-1]
        with torch.no_grad():
            for position, label in enumerate(range(task.known, task.seen)):
                proxies[position] = features[labels == label].double().mean(0)
