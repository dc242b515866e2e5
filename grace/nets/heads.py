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

    def align(self, new_classes: int) -> None:
        """Scale the rows of the last `new_classes` to the norms of the old; raises ValueError where rows have none."""
        raise ValueError(f"a {type(self).__name__} has no weights to align")


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


class CosineHead(Head):
    """Scores by cosine similarity to `proxies` vectors per class, a block of them per increment, and one scale.

    With s_k the similarities to a class's proxies its score is scale * sum_k softmax(s)_k s_k (PODNet, Douillard et al.
    2020: local similarity classifier); with one proxy, scale * s. Proxies start from U(-1 / sqrt(D), 1 / sqrt(D)),
    drawn on the CPU from torch's default generator, the scale from 1. An increment's proxies are one parameter, so that
    a phase may train the newest alone.
    """

    def __init__(self, proxies: int = 10) -> None:
        super().__init__()
        require(proxies >= 1, f"proxies must be at least 1, not {proxies}")
        self.proxies, self.in_features, self.out_features = proxies, 0, 0
        self.blocks = nn.ParameterList()  # [classes of the increment * proxies, in_features] each
        self.scale = nn.Parameter(torch.ones((), device="cpu"))
        freeze(self)

    def forward(self, features: Tensor) -> Tensor:
        """Return scores [B, out_features] of features [B, in_features]."""
        proxies = F.normalize(torch.cat(list(self.blocks)), dim=1)
        similar = F.linear(F.normalize(features, dim=1), proxies).view(-1, self.out_features, self.proxies)
        scores: Tensor = self.scale * (similar.softmax(dim=2) * similar).sum(dim=2)
        return scores

    def grown(self, features: int, new_classes: int) -> CosineHead:
        """Return a head with a block for `new_classes` more, on the device of this one; old proxies and scale stay.

        Raises ValueError for another number of features, with which old proxies cannot be compared.
        """
        same = features == self.in_features or not self.blocks
        require(same, f"proxies of {self.in_features} features cannot be compared with {features}")
        require(new_classes >= 0, f"new_classes must not be negative, not {new_classes}")
        head, bound = CosineHead(self.proxies).to(self.scale), 1 / sqrt(features)
        head.in_features, head.out_features = features, self.out_features + new_classes
        fresh = torch.empty(new_classes * self.proxies, features, device="cpu").uniform_(-bound, bound)
        head.blocks.extend([*(block.detach().clone() for block in self.blocks), fresh.to(self.scale)])
        with torch.no_grad():
            head.scale.copy_(self.scale)
        freeze(head)
        return head


class CorrectedHead(Head):
    """A linear head whose scores are corrected task by task: alpha * score + beta (BiC's layer, Wu et al. 2019).

    An increment's (alpha, beta), from (1, 0), is one parameter, so that a phase may train the newest alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.in_features, self.out_features = 0, 0
        self.linear = LinearHead()
        self.corrections = nn.ParameterList()  # [2] per increment: alpha, beta
        self.increments: list[int] = []
        freeze(self)

    def forward(self, features: Tensor) -> Tensor:
        """Return corrected scores [B, out_features] of features [B, in_features]."""
        blocks = self.linear(features).split(self.increments, dim=1)
        return torch.cat([pair[0] * block + pair[1] for pair, block in zip(self.corrections, blocks, strict=True)], 1)

    def grown(self, features: int, new_classes: int) -> CorrectedHead:
        """Return a head with `new_classes` more, not corrected yet; raises ValueError if anything would be lost."""
        head = CorrectedHead()
        head.linear = self.linear.grown(features, new_classes)
        head.in_features, head.out_features = features, head.linear.out_features
        head.increments = [*self.increments, new_classes]
        fresh = torch.tensor([1.0, 0.0], device="cpu")
        head.corrections.extend([*(pair.detach().clone() for pair in self.corrections), fresh])
        freeze(head)
        return head.to(self.linear.weight)


class NoHead(Head):
    """For methods that classify without the net's head: no parameters and no scores, whatever the classes."""

    def __init__(self, in_features: int = 0) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, 0
        freeze(self)

    def forward(self, features: Tensor) -> Tensor:
        """Return scores [B, 0] of features [B, in_features]."""
        return features[:, :0]

    def grown(self, features: int, new_classes: int) -> NoHead:
        """Return another of its kind."""
        return NoHead(features)
