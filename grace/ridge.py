"""Closed-form classifiers: ridge regression to one-hot targets, updated batch by batch without the old images."""

from __future__ import annotations

import torch
from torch import Tensor

from grace.checks import require


class RecursiveRidge:
    """Ridge regression whose solution after any sequence of updates is that of all data at once (ACIL, sec. 3.3).

    Holds `inverse` float64 [D, D], the inverse of the regularised correlation matrix, and `weight` float64
    [D, classes]; scores are features @ weight. Raises ValueError for a `gamma` that does not regularise.
    """

    def __init__(
        self, features: int, gamma: float = 0.1, device: torch.device | None = None
    ) -> None:  # gamma: ACIL's CIFAR-100 setting
        require(gamma > 0, f"gamma must be above 0, not {gamma}")
        self.inverse = torch.eye(features, dtype=torch.float64, device=device).div_(gamma)
        self.weight = torch.zeros(features, 0, dtype=torch.float64, device=device)

    @classmethod
    def resumed(cls, inverse: Tensor, weight: Tensor) -> RecursiveRidge:
        """Return one that goes on from what another held; the tensors given stay as they are."""
        ridge = cls(0)
        ridge.inverse, ridge.weight = inverse.clone(), weight.clone()
        return ridge

    def add_classes(self, count: int) -> None:
        """Grow by `count` classes, of which nothing is known yet: columns of zeros."""
        self.weight = torch.cat([self.weight, self.weight.new_zeros(len(self.weight), count)], dim=1)

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Take in features [n, D] with labels int64 [n] of classes that have been added (Woodbury's identity).

        Takes three matrices [n, D] and one [n, n] beside what it holds, which it changes in place.
        """
        x = features.to(self.inverse)
        targets = torch.nn.functional.one_hot(labels.to(x.device), self.weight.shape[1]).to(x)
        spread = x @ self.inverse  # [n, D]
        gain = torch.linalg.solve(torch.eye(len(x), dtype=x.dtype, device=x.device) + spread @ x.T, spread)  # [n, D]
        self.weight.addmm_(gain.T, targets - x @ self.weight)
        self.inverse.addmm_(spread.T, gain, alpha=-1)

    def scores(self, features: Tensor) -> Tensor:
        """Return scores [B, classes] of features [B, D]."""
        return features.to(self.weight) @ self.weight
