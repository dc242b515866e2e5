"""EWC: hold each weight to its old value by how much it mattered, without exemplars (Kirkpatrick et al., PNAS 2017)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grace.checks import require
from grace.learner import Learner
from grace.streams.samples import Batch, Task
from grace.training.beginning import begin
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """EWC's schedules and its penalty."""

    initial: Recipe = Recipe(200, weight_decay=5e-4, milestones=(60, 120, 170))  # PyCIL, ewc
    later: Recipe = Recipe(180, weight_decay=2e-4, milestones=(70, 120, 150))  # PyCIL, ewc
    importance: float = 1000.0  # PyCIL, ewc: weight of the penalty
    clip: float = 1e-4  # PyCIL, ewc: largest entry of a task's Fisher information
    fisher_batch: int = 128  # PyCIL, ewc: images whose mean gradient is squared; 1 gives the paper's Fisher information

    def __post_init__(self) -> None:
        """Refuse values outside their meaning."""
        require(self.importance >= 0, f"importance must not be negative, not {self.importance}")
        require(self.clip > 0, f"clip must be above 0, not {self.clip}")
        require(self.fisher_batch >= 1, f"fisher_batch must be at least 1, not {self.fisher_batch}")


@dataclass
class State:
    """What the next task's penalty needs, per named parameter."""

    fisher: dict[str, Tensor] = field(default_factory=dict)  # diagonal of the Fisher information, merged over tasks
    anchor: dict[str, Tensor] = field(default_factory=dict)  # weights after the last task


class EWC(Learner):
    """Elastic Weight Consolidation: cross-entropy over the new classes and one quadratic penalty for all old tasks.

    Departs from the paper, as PyCIL does: one penalty around the newest weights, its Fisher information averaged over
    tasks by their classes, instead of one per task; gradients are squared per batch, not per image, and then clipped.
    """

    title = "EWC"
    family = "floor"
    reference = "PNAS 2017"
    uses_memory = False
    keeps = State
    config: Config
    state: State

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Train the whole net on the new classes under the penalty, and measure what mattered to them."""
        fisher, anchor = self.state.fisher, self.state.anchor

        def loss(batch: Batch) -> Losses:
            logits = self.net.logits(batch.x)[:, task.known :]
            return {
                "ce": F.cross_entropy(logits, batch.y - task.known),
                "penalty": self.config.importance * penalty(self.net, fisher, anchor),
            }

        if task.known == 0:
            begin(self.net, task, task.train, trainer, self.config.initial)
        else:
            self.net.add_classes(task.size)
            trainer.fit(Phase(name="learn", trains=[self.net], data=task.train, loss=loss, recipe=self.config.later))
        size = self.config.fisher_batch
        measured = trainer.squared_gradients(self._all_classes, self.net, task.train, size, "fisher")
        clipped = {name: values.clamp(max=self.config.clip) for name, values in measured.items()}
        self.state.fisher = merged(fisher, clipped, task.known / task.seen)
        self.state.anchor = {name: parameter.detach().clone() for name, parameter in self.net.named_parameters()}

    def _all_classes(self, batch: Batch) -> Tensor:
        """Return the cross-entropy over all classes seen, whose gradients are measured."""
        return F.cross_entropy(self.net.logits(batch.x), batch.y)


def penalty(net: nn.Module, fisher: dict[str, Tensor], anchor: dict[str, Tensor]) -> Tensor:
    """Return sum_j F_j (theta_j - theta*_j)^2 / 2; of parameters that have grown, over their leading rows."""
    parameters = dict(net.named_parameters())
    terms = []
    for name, values in fisher.items():
        moved = parameters[name][: len(values)] - anchor[name]
        terms.append((values * moved.square()).sum())
    return 0.5 * torch.stack(terms).sum()


def merged(old: dict[str, Tensor], new: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return share * old + (1 - share) * new where there are old entries, the leading rows, and new elsewhere."""
    found = {name: values.clone() for name, values in new.items()}
    for name, values in old.items():
        found[name][: len(values)].mul_(1 - share).add_(values, alpha=share)
    return found
