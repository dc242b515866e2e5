"""Gradients that nobody follows: measured per batch, for methods that ask how much a weight matters."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from grace.streams.samples import Batch
from grace.training import trainables
from grace.training.parallel import ALONE, Ranks


def squared_gradients(
    loss: Callable[[Batch], Tensor], of: nn.Module, batches: Iterable[Batch], ranks: Ranks = ALONE
) -> dict[str, Tensor]:
    """Return per named parameter of `of` the mean over batches of the squared gradient of `loss`, a scalar.

    Each rank has batches of its own, and the mean is over all of them. The module is in train mode meanwhile; its
    buffers are then as they were before.
    """
    before = {name: buffer.clone() for name, buffer in of.named_buffers()}
    params = dict(of.named_parameters())
    trainables.thaw([of])
    sums, count = {name: torch.zeros_like(parameter) for name, parameter in params.items()}, torch.zeros(())
    for batch in batches:
        gradients = torch.autograd.grad(loss(batch), list(params.values()), allow_unused=True)
        for total, gradient in zip(sums.values(), gradients, strict=True):
            if gradient is not None:
                total += gradient.square()
        count += 1
    trainables.rest([of])
    for name, buffer in of.named_buffers():
        buffer.copy_(before[name])
    ranks.sum([*sums.values(), count])
    return {name: total / max(int(count), 1) for name, total in sums.items()}
