"""WA: distil the net of the last task, then align the head's new rows to its old (Zhao et al., CVPR 2020)."""

from __future__ import annotations

from dataclasses import dataclass

from grace.checks import require
from grace.learner import Learner
from grace.losses import retained
from grace.streams.samples import Batch, Task
from grace.training.beginning import begin
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """WA's schedules and its distillation, whose weight is the share of old classes."""

    initial: Recipe = Recipe(200, weight_decay=5e-4, milestones=(60, 120, 170))  # PyCIL, wa
    later: Recipe = Recipe(170, weight_decay=2e-4, milestones=(60, 100, 140))  # PyCIL, wa
    temperature: float = 2.0  # T of distillation; PyCIL, wa

    def __post_init__(self) -> None:
        """Refuse values outside their meaning."""
        require(self.temperature > 0, f"temperature must be above 0, not {self.temperature}")


class WA(Learner):
    """Weight aligning: distillation keeps old classes apart from each other, alignment keeps them fair to the new.

    Departs from the paper, as PyCIL does: the head's weights are not clipped to be positive, and it has biases, which
    are not aligned.
    """

    title = "WA"
    family = "single backbone"
    reference = "CVPR 2020"
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Train the whole net on the new classes and the exemplars, its old logits held to the net before; align."""
        if task.known == 0:
            begin(self.net, task, task.train, trainer, self.config.initial)
            return
        teacher = self.net.copied()
        self.net.add_classes(task.size)
        share = task.known / task.seen  # lambda

        def loss(batch: Batch) -> Losses:
            old, logits = teacher(batch.x), self.net.logits(batch.x)
            return retained(logits, batch.y, old.logits, share, self.config.temperature)

        trainer.fit(
            Phase(name="learn", trains=[self.net], data=self.replayed(task), loss=loss, recipe=self.config.later)
        )
        self.net.head.align(task.size)
