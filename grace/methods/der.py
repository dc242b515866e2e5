"""DER: one frozen branch per task beside a new one with an auxiliary head (Yan et al., CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass

from grace.learner import Learner
from grace.streams.samples import Task
from grace.training.expansion import expand
from grace.training.phase import Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """DER's schedules and the weight of its auxiliary loss."""

    initial: Recipe = Recipe(200, weight_decay=5e-4, milestones=(60, 120, 170))  # PyCIL, der
    expand: Recipe = Recipe(170, weight_decay=2e-4, milestones=(80, 120, 150))  # PyCIL, der
    auxiliary: float = 1.0  # PyCIL, der: weight of the auxiliary loss


class DER(Learner):
    """Dynamically Expandable Representation (not Dark Experience Replay): every task adds a branch for good.

    Departs from the paper, as PyCIL does: no channel masks or pruning, and weight alignment instead of retraining
    the classifier on balanced data.
    """

    title = "DER"
    family = "expansion"
    reference = "CVPR 2021"
    growth = "per-task"
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Grow, train the newest branch and the head, align."""
        recipe = self.config.expand if task.known else self.config.initial
        expand(self.net, task, self.replayed(task), trainer, recipe, self.config.auxiliary)
        trainer.note(backbones=len(self.net.branches))
