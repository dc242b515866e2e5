"""ACIL: learn once, then ridge regression on random features, solved task by task (Zhuang et al., NeurIPS 2022)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from grace.checks import require
from grace.learner import Learner, Readouts
from grace.nets.heads import LinearHead, NoHead
from grace.ridge import RecursiveRidge
from grace.streams.samples import Batch, Task
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import Trainer


@dataclass(frozen=True)
class Config:
    """The schedule of the first task, and the regression's size and regularisation."""

    initial: Recipe = Recipe(160, weight_decay=5e-4, milestones=(120, 140))  # authors' code, CIFAR-100
    width: int = 8192  # authors' code, CIFAR-100: random features
    gamma: float = 0.1  # paper and authors' code, CIFAR-100: weight of the squared norm
    batch: int = 4096  # authors' code: images per update; results do not depend on it beyond rounding

    def __post_init__(self) -> None:
        """Refuse values outside their meaning."""
        require(self.gamma > 0, f"gamma must be above 0, not {self.gamma}")
        for name in ("width", "batch"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")


@dataclass
class State:
    """The regression: all in float64."""

    projection: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.float64))  # [width, features]
    inverse: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.float64))  # [width, width]
    weight: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.float64))  # [width, classes]


class ACIL(Learner):
    """Analytic Class-Incremental Learning: without exemplars, yet the weights are those of all images at once.

    Only the first task trains, with a linear layer that is then forgotten. Features [d] of the frozen backbone become
    ReLU(R x) with R [width, d] drawn from U(-1 / sqrt(d), 1 / sqrt(d)), and these are regressed on one-hot targets,
    the first task's too. R is drawn, and everything after the backbone computed, in float64 (the authors' code draws
    in float32); the linear layer starts as every other here does. No other departures from the authors' code.
    """

    title = "ACIL"
    family = "single backbone"
    reference = "NeurIPS 2022"
    uses_memory = False
    head = NoHead
    keeps = State
    config: Config
    state: State

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Train the backbone in the first task; then take the new classes' images into the regression."""
        config = self.config
        if task.known == 0:
            self._begin(task, trainer)
            ridge = RecursiveRidge(config.width, config.gamma, self.net.device)
        else:
            ridge = RecursiveRidge.resumed(self.state.inverse, self.state.weight)
        self.net.add_classes(task.size)
        ridge.add_classes(task.size)
        features = trainer.map(self.net.newest.features, task.train)
        # never random features of all images at once: of 50,000 they would take 3 GiB
        pieces = zip(torch.split(features, config.batch), torch.split(task.train.y, config.batch), strict=True)
        for x, y in pieces:
            ridge.update(self._expanded(x), y)
        self.state.inverse, self.state.weight = ridge.inverse, ridge.weight

    def readouts(self, task: Task, trainer: Trainer) -> Readouts:
        """Return the one way to classify: by the regression's weights."""
        return lambda x: {"linear": self._expanded(self.net.newest.features(x)) @ self.state.weight}

    def _begin(self, task: Task, trainer: Trainer) -> None:
        """Train the backbone with a linear layer without bias, and draw the projection."""
        branch = self.net.add_branch()
        weight = LinearHead(self.net.width, task.size).weight

        def loss(batch: Batch) -> Losses:
            return {"ce": F.cross_entropy(F.linear(branch.features(batch.x), weight), batch.y)}

        recipe = self.config.initial
        trainer.fit(Phase(name="initial", trains=[branch, weight], data=task.train, loss=loss, recipe=recipe))
        shape = (self.config.width, self.net.width)
        uniform = torch.rand(shape, generator=trainer.generator("projection"), dtype=torch.float64)
        self.state.projection = ((2 * uniform - 1) / sqrt(self.net.width)).to(self.net.device)

    def _expanded(self, features: Tensor) -> Tensor:
        """Return random features float64 [B, width] of features [B, d]."""
        return F.relu(features.double() @ self.state.projection.T)
