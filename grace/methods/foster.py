"""FOSTER: boost the net with a second branch, then distil both into one (Wang et al., ECCV 2022)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast

import torch.nn.functional as F
from torch import Tensor

from grace.checks import require
from grace.learner import Learner
from grace.losses import balanced_distil, balanced_weights, distil
from grace.memory import herd
from grace.nets.heads import LinearHead
from grace.nets.incremental import IncrementalNet
from grace.streams.samples import Batch, Samples, Task
from grace.training.expansion import expand
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """FOSTER's hyper-parameters as PyCIL has them; presets hold the authors' and the survey's per protocol."""

    initial: Recipe = Recipe(200, weight_decay=5e-4)  # PyCIL, foster: cosine, as all three
    boost: Recipe = Recipe(170, weight_decay=5e-4)  # PyCIL, foster (boosting_epochs)
    compress: Recipe = Recipe(130, weight_decay=0.0)  # PyCIL, foster (compression_epochs): its optimiser has no decay
    beta1: tuple[float, ...] = (0.96,)  # PyCIL, foster: balance of boosting; one per later task, the last one repeats
    beta2: float = 0.97  # PyCIL, foster: balance of compression
    lambda_okd: float = 1.0  # PyCIL, foster: weight of distilling the old classes' logits while boosting
    temperature: float = 2.0  # PyCIL, foster (T): of both distillations
    new_on_old: Literal["ft", "az"] = "ft"  # PyCIL, foster (oofc): new classes' weights on old features learn, or are 0
    herd_with: Literal["teacher", "student"] = "teacher"  # PyCIL, foster: whose features choose the exemplars

    def __post_init__(self) -> None:
        """Refuse values outside their meaning."""
        betas = len(self.beta1) > 0 and all(0 <= beta < 1 for beta in (*self.beta1, self.beta2))
        require(betas, f"beta1 (at least one) and beta2 must lie in [0, 1), not {list(self.beta1)} and {self.beta2}")
        require(self.lambda_okd >= 0, f"lambda_okd must not be negative, not {self.lambda_okd}")
        require(self.temperature > 0, f"temperature must be above 0, not {self.temperature}")


class FOSTER(Learner):
    """Feature boosting and compression: two branches while a task is learned, one between tasks.

    The headline is the student, the one net that is kept and counted. The net of two branches that it was distilled
    from is the readout `teacher`, with its size noted; PyCIL and the authors evaluate that one as FOSTER (FOSTER-B4
    where the two are told apart) while the memory they charge is the student's.

    Departs from PyCIL's version in counting the images of every class instead of deriving them from the budget (the
    same on CIFAR-100 with 2,000 exemplars), and leaves out its two options of weight alignment (off there).
    """

    title = "FOSTER"
    family = "expansion"
    reference = "ECCV 2022"
    growth = "fixed"
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Train plainly in the first task; later boost a copy of the net, and distil it into the net."""
        data, teacher = self.replayed(task), self.net
        if task.known == 0:
            expand(self.net, task, data, trainer, self.config.initial)
        else:
            counts = data.y.bincount(minlength=task.seen)  # images and exemplars
            first = balanced_weights(counts, self.config.beta1[min(task.index, len(self.config.beta1)) - 1])
            then = balanced_weights(counts, self.config.beta2)
            teacher = self._boost(task, data, first.to(self.net.device), trainer)
            self._compress(teacher, task, data, then.to(self.net.device), trainer)
        trainer.offer("teacher", teacher)  # the net itself while there is one, so that the teacher's curve is whole

    def _boost(self, task: Task, data: Samples, weights: Tensor, trainer: Trainer) -> IncrementalNet:
        """Return a copy of the net with a second branch that makes up for what the old features lack."""
        config, old, known, width = self.config, self.net.head, task.known, self.net.width
        teacher = self.net.copied()
        branch = teacher.add_branch(like=teacher.newest)
        teacher.add_classes(task.size)
        boosted, matrix = LinearHead(width, task.seen), cast(LinearHead, teacher.head).weight

        def loss(batch: Batch) -> Losses:
            out = teacher(batch.x)
            kept = distil(out.logits[:, :known], old(out.features[:, :width]), config.temperature)
            return {
                "ce": F.cross_entropy(out.logits / weights, batch.y),
                "boost": F.cross_entropy(boosted(out.features[:, width:]), batch.y),
                "kd": config.lambda_okd * kept,
            }

        def keep_zero() -> None:
            if matrix.grad is not None:
                matrix.grad[known:, :width] = 0

        zero = config.new_on_old == "az"
        if zero:
            matrix[known:, :width] = 0
        phase = Phase(name="boost", trains=[branch, teacher.head, boosted], data=data, loss=loss, recipe=config.boost)
        trainer.fit(replace(phase, after_backward=keep_zero) if zero else phase)
        return teacher

    def _compress(self, teacher: IncrementalNet, task: Task, data: Samples, weights: Tensor, trainer: Trainer) -> None:
        """Grow the net's head, whose old rows stay, and distil the teacher into the net."""
        student, temperature = self.net, self.config.temperature
        student.add_classes(task.size)

        def loss(batch: Batch) -> Losses:
            old, logits = teacher(batch.x), student.logits(batch.x)
            return {"bkd": balanced_distil(logits, old.logits, weights, temperature)}

        trainer.fit(Phase(name="compress", trains=[student], data=data, loss=loss, recipe=self.config.compress))

    def herded(self, task: Task, trainer: Trainer, count: int) -> dict[int, Tensor]:
        """Return per new class the rows of its best exemplars, by the features of the teacher or of the net."""
        teacher = trainer.offered.get("teacher") if self.config.herd_with == "teacher" else None
        if teacher is None:
            return super().herded(task, trainer, count)
        new = {label: task.train.of_class(label) for label in range(task.known, task.seen)}
        return {y: own.rows[herd(trainer.map(lambda x: teacher(x).features, own), count)] for y, own in new.items()}
