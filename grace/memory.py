"""Exemplars: ranked rows per class within a budget, herding, and the nearest-mean readout."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from grace.streams.protocol import Budget
from grace.streams.samples import Dataset, Samples

EPSILON = 1e-8  # added to norms before dividing, as the field's code does


class Memory:
    """Exemplars as rows of the training set, best first within each class."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.by_class: dict[int, Tensor] = {}

    def __len__(self) -> int:
        """Return the number of exemplars held."""
        return sum(len(rows) for rows in self.by_class.values())

    def samples(self, source: Dataset) -> Samples:
        """Return the exemplars in label order, each class best first."""
        rows = [self.by_class[label] for label in sorted(self.by_class)]
        return Samples(source, torch.cat(rows) if rows else torch.empty(0, dtype=torch.long))

    def update(self, new: dict[int, Tensor], seen: int) -> None:
        """Take in the ranked rows of new classes and cut every class to the share of `seen` classes: a prefix."""
        share = self.budget.share(seen)
        held = {**self.by_class, **new}
        self.by_class = {label: held[label][:share].clone() for label in sorted(held)}


def normalised(features: Tensor) -> Tensor:
    """Return rows of unit length: features [n, D] -> [n, D] in float64."""
    features = features.double()
    norms: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / (norms + EPSILON)


def herd(features: Tensor, count: int) -> Tensor:
    """Return int64 [min(count, n)]: rows of `features` [n, D], best first, whose running mean tracks the class mean.

    Greedy: pick k minimises || mu - (phi(x) + sum of picked phi) / k || over the rows left, the first on ties
    (iCaRL, alg. 4), with phi normalised to unit length and mu their plain mean. The same rows minimise
    |phi(x)|^2 + 2 phi(x) . (sum - k mu), one product of a matrix and a vector per pick.
    """
    phi = normalised(features)
    mean, total = phi.mean(0), torch.zeros_like(phi[0])
    gap = phi.square().sum(1)  # infinite once picked
    chosen = []
    for k in range(1, min(count, len(phi)) + 1):
        best = torch.addmv(gap, phi, total - k * mean, alpha=2).argmin(0, keepdim=True)
        chosen.append(best)
        gap.index_fill_(0, best, torch.inf)
        total = total + phi.index_select(0, best)[0]
    return torch.cat(chosen).cpu() if chosen else torch.empty(0, dtype=torch.long)


def class_means(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return [classes, D]: per class the mean of its normalised features [n, D], brought back to unit length."""
    phi = normalised(features)
    owner = F.one_hot(labels.to(phi.device), classes).to(phi.dtype)
    sums = owner.T @ phi  # a product, since scattered sums have no fixed order on CUDA
    return F.normalize(sums, dim=1, eps=1e-30)


def nearest_mean(means: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the readout features [B, D] -> scores [B, classes]: minus the squared distance to each class mean."""

    def scores(features: Tensor) -> Tensor:
        return -torch.cdist(normalised(features), means, compute_mode="donot_use_mm_for_euclid_dist").square()

    return scores
