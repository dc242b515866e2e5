"""What one optimisation is: a Phase of a task, by a Recipe. Importing this does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from grace.checks import require

if TYPE_CHECKING:
    from torch import Tensor, nn

    from grace.streams.samples import Batch, Samples

Trainable: TypeAlias = "nn.Module | nn.Parameter"
Losses: TypeAlias = "dict[str, Tensor]"


@dataclass(frozen=True)
class Recipe:
    """How one phase is optimised: SGD with momentum, and a step or cosine schedule moved once per epoch.

    Raises ValueError when a value is out of range.
    """

    epochs: int
    lr: float = 0.1
    weight_decay: float = 5e-4
    momentum: float = 0.9
    milestones: tuple[int, ...] = ()  # epochs after which lr is multiplied by gamma; empty means cosine to zero
    gamma: float = 0.1
    batch_size: int = 128

    def __post_init__(self) -> None:
        """Refuse values that no optimiser can use."""
        require(self.epochs >= 1, f"epochs must be at least 1, not {self.epochs}")
        require(self.lr > 0, f"lr must be above 0, not {self.lr}")
        require(self.weight_decay >= 0, f"weight_decay must not be negative, not {self.weight_decay}")
        require(0 <= self.momentum < 1, f"momentum must lie in [0, 1), not {self.momentum}")
        require(0 < self.gamma <= 1, f"gamma must lie in (0, 1], not {self.gamma}")
        require(self.batch_size >= 1, f"batch_size must be at least 1, not {self.batch_size}")
        ordered = list(self.milestones) == sorted(set(self.milestones)) and all(m >= 1 for m in self.milestones)
        require(ordered, f"milestones must be rising epochs from 1, not {list(self.milestones)}")

    def scaled(self, factor: float) -> Recipe:
        """Return the same recipe over `factor` times the epochs (at least one), its milestones moved along."""
        if factor == 1:
            return self
        milestones = sorted({max(1, round(m * factor)) for m in self.milestones})
        return replace(self, epochs=max(1, round(self.epochs * factor)), milestones=tuple(milestones))

    def limited(self, epochs: int) -> Recipe:
        """Return the recipe squeezed into at most `epochs` epochs."""
        return self if self.epochs <= epochs else self.scaled(epochs / self.epochs)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One optimisation within a task. What `trains` does not list stays frozen and in eval mode."""

    name: str  # unique within the task: it is an address of randomness and of checkpoints
    trains: Sequence[Trainable]
    data: Samples
    loss: Callable[[Batch], Losses]  # named terms, no side effects; their sum is minimised and each is recorded
    recipe: Recipe
    after_backward: Callable[[], None] | None = None  # may edit gradients
    views: int = 1  # of each image in a batch: batches are [views * B], view after view, each with all its labels
    adapts: Sequence[nn.Module] = ()  # in train mode without learning: their batch norms' statistics follow the data
