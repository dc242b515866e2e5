"""One growing network for every method: branches -> concatenated features -> head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from grace.nets.abreast import abreast
from grace.nets.arithmetic import current
from grace.nets.backbone import Backbone, freeze
from grace.nets.heads import LinearHead


@dataclass(frozen=True)
class Output:
    """What a network gives for a batch."""

    logits: Tensor  # [B, classes]
    features: Tensor  # [B, branches * width], branches in order of creation


class IncrementalNet(nn.Module):
    """Branches whose pooled features are concatenated in order, and one head that grows with classes and branches.

    Single-backbone methods hold one branch; expanding ones hold several. At rest everything is frozen and in eval
    mode. `layout()` is all that is needed to rebuild the shape before loading weights.
    """

    def __init__(self, backbone: Callable[[], Backbone], device: torch.device) -> None:
        super().__init__()
        self.backbone, self.device = backbone, device
        self.branches = nn.ModuleList()
        self.head = LinearHead(0, 0)
        self.increments: list[int] = []
        freeze(self)

    @property
    def width(self) -> int:
        """Features of one branch."""
        return self.newest.width

    @property
    def newest(self) -> Backbone:
        """The branch added last."""
        return cast(Backbone, self.branches[-1])

    def blank(self) -> IncrementalNet:
        """Return an empty network of the same kind: a student, or a fresh start."""
        return IncrementalNet(self.backbone, self.device)

    def add_branch(self, like: nn.Module | None = None) -> Backbone:
        """Append a branch: newly drawn (on the CPU, so alike on every device), or a copy of `like` with its buffers."""
        branch = self.backbone()
        if like is not None:
            branch.load_state_dict(like.state_dict())
        branch.to(self.device)
        if current().channels_last:
            branch.to(memory_format=torch.channels_last)
        freeze(branch)
        self.branches.append(branch)
        return branch

    def merged(self, weight: float) -> IncrementalNet:
        """Return a student with one branch fewer: the newest is `weight` * second newest + (1 - weight) * newest.

        Only parameters are mixed; the merged branch's batch-norm statistics and the whole head start afresh, so the
        student is of no use before it has been trained. The other branches are copies.
        """
        *kept, older, newer = self.branches
        student = self.blank()
        for branch in kept:
            student.add_branch(like=branch)
        mixed = student.add_branch()
        with torch.no_grad():
            for m, a, b in zip(mixed.parameters(), older.parameters(), newer.parameters(), strict=True):
                m.copy_(weight * a + (1 - weight) * b)
        for count in self.increments:
            student.add_classes(count)
        return student

    def add_classes(self, count: int) -> None:
        """Grow the head by `count` classes and to the width of all branches; its old block and biases stay."""
        self.head = self.head.grown(len(self.branches) * self.width, count).to(self.device)
        freeze(self.head)
        self.increments.append(count)

    def forward(self, x: Tensor) -> Output:
        """x [B, 3, H, W] -> logits and features."""
        branches = [cast(Backbone, branch) for branch in self.branches]
        parts = abreast([branch.features for branch in branches], [branch.training for branch in branches], x)
        features = torch.cat(parts, dim=1)
        return Output(self.head(features), features)

    def logits(self, x: Tensor) -> Tensor:
        """x [B, 3, H, W] -> logits [B, classes]."""
        out: Output = self(x)
        return out.logits

    def layout(self) -> dict[str, Any]:
        """Return the shape: enough to rebuild it before loading weights."""
        return {"branches": len(self.branches), "increments": list(self.increments)}

    def rebuild(self, layout: dict[str, Any]) -> None:
        """Take on a saved shape; the weights follow through load_state_dict."""
        for _ in range(layout["branches"]):
            self.add_branch()
        for count in layout["increments"]:
            self.add_classes(count)
