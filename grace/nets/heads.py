"""Heads that grow: features in, one score per class out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grace.checks import require
from grace.nets.backbone import freeze


class Head(nn.Module, ABC):
    """What an incremental network asks of its classifier. A head is at rest (frozen, eval mode) from the start."""

    in_features: int
    out_features: int

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Return scores [B, out_features] of features [B, in_features]."""

    @abstractmethod
    def grown(self, features: int, new_classes: int) -> Head:
        """Return a head on `features` inputs with `new_classes` more outputs that keeps what this one has learned."""


class LinearHead(Head):
    """Linear layer for classifiers, auxiliary heads and feature predictors; without sizes, a head still to be grown.

    Weight [out_features, in_features] starts from U(-b, b), b = sqrt(3 / in_features) (Kaiming-uniform with gain 1),
    bias [out_features] from zero. The draws are made on the CPU, from torch's default generator, so that they are the
    same for every device.
    """

    def __init__(self, in_features: int = 0, out_features: int = 0) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        bound = sqrt(3 / in_features) if in_features else 0.0
        self.weight = nn.Parameter(torch.empty(out_features, in_features, device="cpu").uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(out_features, device="cpu"))
        freeze(self)

    def forward(self, features: Tensor) -> Tensor:
        """Return scores [B, out_features] of features [B, in_features]."""
        return F.linear(features, self.weight, self.bias)

    def grown(self, features: int, new_classes: int) -> LinearHead:
        """Return a head on `features` inputs with `new_classes` more outputs, on the device of this one.

        The old rows on the old columns and the old biases are copied. All other weights are fresh, drawn with the
        bound of the larger fan-in: the old rows on new columns too, so old scores change (DER, Yan et al. 2021, as
        PyCIL and GRACE have it). Raises ValueError if anything would be lost.
        """
        require(features >= self.in_features, f"a head on {self.in_features} features cannot shrink to {features}")
        require(new_classes >= 0, f"new_classes must not be negative, not {new_classes}")
        head = LinearHead(features, self.out_features + new_classes).to(self.weight)
        with torch.no_grad():
            head.weight[: self.out_features, : self.in_features] = self.weight
            head.bias[: self.out_features] = self.bias
        return head

    def align(self, new_classes: int) -> None:
        """Scale the last `new_classes` rows by gamma = mean ||w_old|| / mean ||w_new|| (WA, Zhao et al. 2020).

        Norms are Euclidean over all columns; old rows and every bias stay as they are. A second call changes nothing.
        Raises ValueError unless there are both old and new rows.
        """
        known = self.out_features - new_classes
        require(new_classes > 0 and known > 0, f"cannot align {new_classes} new of {self.out_features} classes")
        with torch.no_grad():
            norms = self.weight.norm(dim=1)  # [out_features]
            self.weight[known:] *= norms[:known].mean() / norms[known:].mean()
