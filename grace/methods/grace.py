"""GRACE: grow a branch, assess its effective rank, compress while it is not saturated (arXiv 2603.08426)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F

from grace.checks import require
from grace.learner import Learner
from grace.losses import effective_rank, mixing_weight, soft_kl
from grace.nets.heads import LinearHead
from grace.nets.incremental import IncrementalNet
from grace.streams.samples import Batch, Task
from grace.training.expansion import expand
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """GRACE's hyper-parameters; the defaults are the authors' for CIFAR-100 B0I10, presets hold the others."""

    initial: Recipe = Recipe(200, weight_decay=5e-4, milestones=(60, 120, 170))  # first task, as DER
    expand: Recipe = Recipe(170, weight_decay=2e-4, milestones=(80, 120, 150))  # every later task, as DER
    compress: Recipe = Recipe(130, weight_decay=2e-4)  # distillation into the merged branch, cosine
    threshold: float = 0.6  # tau_1 (t_base): saturation below it lets the next task compress
    decay: float = 0.96  # rho (t_decay): the threshold shrinks by it per consecutive compression
    preservation: float = 5.0  # exponent p of the power mean that weighs the two branches
    logit_weight: float = 0.4  # c_kd: weight of logit distillation
    feature_weight: float = 1.6  # c_pred: weight of feature prediction
    temperature: float = 2.0  # T of logit distillation
    assess_view: Literal["train", "test"] = "train"  # the authors assess on augmented images

    def __post_init__(self) -> None:
        """Refuse values outside their meaning."""
        for name in ("threshold", "logit_weight", "feature_weight"):
            require(getattr(self, name) >= 0, f"{name} must not be negative, not {getattr(self, name)}")
        for name in ("preservation", "temperature"):
            require(getattr(self, name) > 0, f"{name} must be above 0, not {getattr(self, name)}")
        require(0 < self.decay <= 1, f"decay must lie in (0, 1], not {self.decay}")


@dataclass
class State:
    """What the next task needs to know."""

    compress_next: bool = False
    streak: int = 0  # compressions in a row
    branch_classes: list[int] = field(default_factory=list)  # classes that each branch has absorbed


class GRACE(Learner):
    """Grow, Assess, Compress: the number of branches follows the data, between one and one per task.

    Departs from the authors' code where docs/fidelity.md says so; none of it changes the algorithm.
    """

    title = "GRACE"
    family = "expansion"
    reference = "arXiv 2026"
    growth = "data"
    keeps = State
    config: Config
    state: State

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Expand as DER does, merge the two newest branches if the last assessment said so, and assess anew."""
        recipe = self.config.expand if task.known else self.config.initial
        expand(self.net, task, self.replayed(task), trainer, recipe)
        self.state.branch_classes = [*self.state.branch_classes, task.size]
        compress = task.known > 0 and self.state.compress_next
        trainer.note(compressed=compress, mixing_weight=None)
        if compress:
            self.net = self._compress(self.net, task, trainer)
        self.state.streak = self.state.streak + 1 if compress else 0
        trainer.note(backbones=len(self.net.branches))
        self._assess(task, trainer)

    def _compress(self, teacher: IncrementalNet, task: Task, trainer: Trainer) -> IncrementalNet:
        """Return a student whose last branch merges the teacher's two newest, distilled from the aligned teacher."""
        config, width = self.config, teacher.width
        *classes, before, after = self.state.branch_classes
        new, old = len(task.train) // task.size, len(self.memory) // task.known  # images and exemplars per class
        weight = mixing_weight(before / (before + after), new / (new + old), config.preservation)
        student = teacher.merged(weight)
        predictor = LinearHead(width, 2 * width)
        share = task.known / task.seen  # lambda

        def loss(batch: Batch) -> Losses:
            target, newest = teacher(batch.x), student.newest.features(batch.x)
            # the student's other branches are the teacher's: their features are already there
            logits = student.head(torch.cat([target.features[:, : -2 * width], newest], dim=1))
            features = F.mse_loss(predictor(newest), target.features[:, -2 * width :])
            return {
                "ce": (1 - share) * F.cross_entropy(logits, batch.y),
                "logits": share * config.logit_weight * soft_kl(logits, target.logits, config.temperature),
                "features": share * config.feature_weight * features,
            }

        data, trains = self.replayed(task), [student.newest, student.head, predictor]
        trainer.fit(Phase(name="compress", trains=trains, data=data, loss=loss, recipe=config.compress))
        student.head.align(task.size)
        self.state.branch_classes = [*classes, before + after]
        trainer.note(mixing_weight=weight)
        return student

    def _assess(self, task: Task, trainer: Trainer) -> None:
        """Decide on this task's images and exemplars whether the next task compresses: the rank below the threshold."""
        features = trainer.map(self.net.newest.features, self.replayed(task), self.config.assess_view, "assess")
        saturation = effective_rank(features)
        threshold = self.config.threshold * self.config.decay**self.state.streak
        self.state.compress_next = saturation < threshold
        trainer.note(saturation=saturation, threshold=threshold, streak=self.state.streak)
        trainer.note(compress_next=self.state.compress_next, branch_classes=list(self.state.branch_classes))
