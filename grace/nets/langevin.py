"""Noisy ascent on inputs: images that a score likes better than the ones it was given."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def climbed(
    score: Callable[[Tensor], Tensor], x: Tensor, resting: nn.Module, steps: int, rate: float, noise: float
) -> Tensor:
    """Return x [B, ...] after `steps` times x + rate * d score(x) / dx + noise * N(0, 1), without gradients.

    `score` gives [B] (Langevin dynamics, Welling and Teh 2011, with a noise of its own size). `resting` is in eval mode
    meanwhile: no image sees the others through batch norms, and no statistic moves. Noise comes from torch's global
    generator of the device, the same in every memory layout.
    """
    modes = {module: module.training for module in resting.modules()}
    resting.eval()
    for _ in range(steps):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(score(x).sum(), x)
        x = x + rate * slope + noise * torch.randn(x.shape, dtype=x.dtype, device=x.device)
    for module, mode in modes.items():
        module.training = mode
    return x.detach()
