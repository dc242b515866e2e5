"""Joint training, the upper bound: after every task, a new net on all images of all classes seen."""

from __future__ import annotations

from dataclasses import dataclass

from grace.learner import Learner
from grace.streams.samples import Task
from grace.training.beginning import begin
from grace.training.phase import Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """The schedule of every task."""

    initial: Recipe = Recipe(200, weight_decay=5e-4, milestones=(60, 120, 170))  # the family's first-task recipe


class Joint(Learner):
    """Cross-entropy from scratch on everything; it breaks the memory budget by design and is marked in tables.

    Not in PyCIL; defined here as in the field's habit of retraining per step.
    """

    title = "Joint"
    family = "upper bound"
    uses_memory = False
    cumulative = True
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Train a fresh net on every class seen."""
        self.net = self.net.blank()
        begin(self.net, task, task.train, trainer, self.config.initial)
