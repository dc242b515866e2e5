"""BiC: distil the net of the last task, then fit a bias correction of the new logits (Wu et al., CVPR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch.nn.functional as F

from grace.checks import require
from grace.learner import Learner
from grace.losses import retained
from grace.nets.heads import CorrectedHead
from grace.streams.samples import Batch, Samples, Task
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """BiC's schedules, its distillation, whose weight is the share of old classes, and its hold-out."""

    learn: Recipe = Recipe(170, weight_decay=2e-4, milestones=(60, 100, 140))  # PyCIL, bic: every task, first included
    correct: Recipe = Recipe(170, weight_decay=2e-4, milestones=(60, 100, 140))  # PyCIL, bic: the newest alpha and beta
    temperature: float = 2.0  # T of distillation; paper and PyCIL, bic
    held_out: float = 0.1  # part of an old class's exemplars, and as many new images; paper and PyCIL, bic
    double_softmax: bool = False  # True as PyCIL, bic: the correction's cross-entropy takes probabilities for logits
    drifting_statistics: bool = False  # True as PyCIL, bic: batch norms' statistics follow the hold-out

    def __post_init__(self) -> None:
        """Refuse values outside their meaning."""
        require(self.temperature > 0, f"temperature must be above 0, not {self.temperature}")
        require(0 < self.held_out < 1, f"held_out must lie in (0, 1), not {self.held_out}")


class BiC(Learner):
    """Bias Correction: two numbers per task, fitted on a balanced hold-out, undo the preference for new classes.

    Departs from PyCIL: correcting minimises the cross-entropy of logits (not of probabilities), with batch norms at
    rest; `double_softmax` and `drifting_statistics` bring PyCIL's behaviour back. At least one image per class is held
    out where classes have two exemplars or more; with fewer there is no correction. Departs from the paper, as PyCIL
    does: corrections of earlier tasks stay in force, and the memory includes the hold-out.
    """

    title = "BiC"
    family = "single backbone"
    reference = "CVPR 2019"
    head = CorrectedHead
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Train backbone and linear layer on all but the hold-out, then the newest correction on the hold-out."""
        teacher = self.net.copied() if task.known else None
        if task.known == 0:
            self.net.add_branch()
        self.net.add_classes(task.size)
        head = cast(CorrectedHead, self.net.head)
        share = task.known / task.seen  # lambda

        def loss(batch: Batch) -> Losses:
            old = None if teacher is None else teacher(batch.x)
            logits = self.net.logits(batch.x)
            return retained(logits, batch.y, None if old is None else old.logits, share, self.config.temperature)

        def correction(batch: Batch) -> Losses:
            logits = self.net.logits(batch.x)
            return {"ce": F.cross_entropy(logits.softmax(1) if self.config.double_softmax else logits, batch.y)}

        data, held_out = self._divided(task, trainer)
        trains, name = [self.net.newest, head.linear], "learn" if task.known else "initial"
        trainer.fit(Phase(name=name, trains=trains, data=data, loss=loss, recipe=self.config.learn))
        if len(held_out):
            newest, adapts = [head.corrections[-1]], [self.net.newest] if self.config.drifting_statistics else []
            recipe = self.config.correct
            trainer.fit(
                Phase(name="correct", trains=newest, data=held_out, loss=correction, recipe=recipe, adapts=adapts)
            )
        trainer.note(held_out=len(held_out))

    def _divided(self, task: Task, trainer: Trainer) -> tuple[Samples, Samples]:
        """Return what is learned from, and the hold-out: as many images of every class, none in the first task."""
        exemplars = self.memory.budget.share(task.known) if task.known else 0
        count = max(1, int(self.config.held_out * exemplars)) if exemplars > 1 else 0
        return self.replayed(task).split(count, trainer.generator("hold-out"))
