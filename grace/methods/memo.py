"""MEMO: branches are last stages on one shared stem, a new one per task (Zhou et al., ICLR 2023)."""

from __future__ import annotations

from dataclasses import dataclass

from grace.learner import Learner
from grace.streams.samples import Task
from grace.training.expansion import expand
from grace.training.phase import Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """MEMO's schedules, the weight of its auxiliary loss, and what becomes of the stem after the first task."""

    initial: Recipe = Recipe(200, weight_decay=5e-4, milestones=(60, 120, 170))  # PyCIL, memo
    expand: Recipe = Recipe(170, weight_decay=2e-4, milestones=(80, 120, 150))  # PyCIL, memo
    auxiliary: float = 1.0  # PyCIL, memo: weight of the auxiliary loss
    train_base: bool = True  # PyCIL, memo: the stem (the paper's generalised blocks) learns in later tasks too


class MEMO(Learner):
    """Memory-efficient Expandable Model: DER whose branches are specialised blocks, the last stage of the backbone.

    With `train_base` the stem goes on learning in train mode while the older branches rest, so what they are given
    drifts away from what they were trained on, and nothing makes up for it; without, the stem is that of the first
    task for good, batch-norm statistics included.

    No departures from PyCIL's version, whose option of training older branches too (off there) is left out. Its
    ResNet-18 has the 7x7 stem whatever the first task: `+net=resnet18` on protocols that start from a base.
    """

    title = "MEMO"
    family = "expansion"
    reference = "ICLR 2023"
    growth = "per-task"
    shared_stem = True
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Grow, train the newest branch, the head and perhaps the stem, align."""
        config = self.config
        recipe = config.expand if task.known else config.initial
        expand(self.net, task, self.replayed(task), trainer, recipe, config.auxiliary, config.train_base)
        trainer.note(backbones=len(self.net.branches))
