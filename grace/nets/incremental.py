"""One growing network for every method: branches -> concatenated features -> head."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from grace.nets.abreast import Beside, abreast, overlaps
from grace.nets.arithmetic import current
from grace.nets.backbone import Backbone, freeze
from grace.nets.heads import Head, LinearHead

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Output:
    """What a network gives for a batch."""

    logits: Tensor  # [B, classes]
    features: Tensor  # [B, branches * width], branches in order of creation
    maps: list[Tensor]  # after each stage of the newest branch, [B, C, H, W] each; a shared stem's come first


class _Awaited(Output):
    """An output that is computed beside what learns, until one looks at it."""

    def __init__(self, beside: Beside[Output]) -> None:
        object.__setattr__(self, "_beside", beside)

    def __getattribute__(self, name: str) -> Any:
        if name in ("logits", "features", "maps"):
            return getattr(object.__getattribute__(self, "_beside").result(), name)
        return object.__getattribute__(self, name)


class IncrementalNet(nn.Module):
    """Branches whose pooled features are concatenated in order, and one head that grows with classes and branches.

    Single-backbone methods hold one branch; expanding ones hold several. With `shared`, all but the last stage of the
    backbone is one stem for all branches, which are last stages. `aside` holds what learning needs and classifying does
    not. At rest everything is frozen and in eval mode. `layout()` is all that is needed to rebuild the shape before
    loading weights.
    """

    def __init__(
        self,
        backbone: Callable[[], Backbone],
        device: torch.device,
        head: Callable[[], Head] = LinearHead,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.device, self.empty_head, self.shared = backbone, device, head, shared
        self.stem: Backbone | None = None
        self.branches = nn.ModuleList()
        self.head = head().to(device)
        self.aside = nn.ModuleDict()
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
        return IncrementalNet(self.backbone, self.device, self.empty_head, self.shared)

    def copied(self) -> IncrementalNet:
        """Return a copy at rest: a teacher, for as long as something holds it."""
        return copy.deepcopy(self)

    def add_branch(self, like: nn.Module | None = None) -> Backbone:
        """Append a branch: newly drawn (on the CPU, so alike on every device), or a copy of `like` with its buffers."""
        branch = self.backbone()
        if self.shared:
            stem, branch = branch.split()
            if self.stem is None:
                self.stem = self.placed(stem)
        if like is not None:
            branch.load_state_dict(like.state_dict())
        self.branches.append(self.placed(branch))
        return branch

    def placed(self, module: M) -> M:
        """Return the module at rest, on the net's device and in the memory layout of now."""
        module.to(self.device)
        if current().channels_last:
            module.to(memory_format=torch.channels_last)
        freeze(module)
        return module

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
        """x [B, 3, H, W] -> logits and features; of a net at rest perhaps not before one looks at them."""
        if overlaps(x) and self.rests:
            return _Awaited(Beside(lambda: self._output(x), x))
        return self._output(x)

    @property
    def rests(self) -> bool:
        """Whether nothing of it learns or adapts."""
        learns = any(parameter.requires_grad for parameter in self.parameters())
        return not learns and not any(module.training for module in self.modules())

    def _output(self, x: Tensor) -> Output:
        stem = [] if self.stem is None else self.stem(x)
        branches = [cast(Backbone, branch) for branch in self.branches]
        maps = list(stem)  # of the branches at rest only features are kept

        def newest(x: Tensor) -> Tensor:
            maps.extend(branches[-1](x))
            return Backbone.pool(maps[-1])

        calls = [*(branch.features for branch in branches[:-1]), newest]
        parts = abreast(calls, [branch.training for branch in branches], stem[-1] if stem else x)
        features = torch.cat(parts, dim=1)
        return Output(self.head(features), features, maps)

    def logits(self, x: Tensor) -> Tensor:
        """x [B, 3, H, W] -> logits [B, classes]."""
        out: Output = self(x)
        return out.logits

    def layout(self) -> dict[str, Any]:
        """Return the shape: enough to rebuild it before loading weights, but for what modules `aside` are."""
        return {"branches": len(self.branches), "increments": list(self.increments), "aside": list(self.aside)}

    def rebuild(self, layout: dict[str, Any]) -> None:
        """Take on a saved shape; the weights follow through load_state_dict."""
        for _ in range(layout["branches"]):
            self.add_branch()
        for count in layout["increments"]:
            self.add_classes(count)
