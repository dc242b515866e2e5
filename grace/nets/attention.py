"""Attention over the positions of feature maps, written out: its gradients are deterministic on every device."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn

from grace.checks import require
from grace.nets.backbone import freeze
from grace.nets.heads import LinearHead


def tokens(last: Tensor) -> Tensor:
    """Return the positions of a map [B, C, H, W] as tokens [B, H * W, C], not in bfloat16."""
    return (last.float() if last.dtype is torch.bfloat16 else last).flatten(2).transpose(1, 2)


def fitting_heads(channels: int) -> int:
    """Return how many heads attention over so many channels has: 8 from 512 on, below the most with 16 channels each.

    The most of 8, 4, 2 and 1, that is, if it divides the channels; 1 where nothing fits.
    """
    if channels >= 512:
        return 8
    return next((heads for heads in (8, 4, 2) if channels % heads == 0 and channels >= 16 * heads), 1)


class MergeAttention(nn.Module):
    """One map asks, itself and a second one answer (TagFex, Zheng et al. 2025): [B, C, H, W] each -> features [B, C].

    Both are normalised per position (LayerNorm). Queries come from the first; keys and values from both, by matrices of
    their own for each. Heads are concatenated and averaged over positions. Nothing flows back into the second map.
    At rest from the start; the draws are LinearHead's. Raises ValueError where the heads do not divide the channels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        require(heads >= 1 and channels % heads == 0, f"{channels} channels do not divide into {heads} heads")
        self.heads = heads
        self.query = LinearHead(channels, channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels, device="cpu") for _ in range(2))
        self.keys = nn.ModuleList(LinearHead(channels, channels) for _ in range(2))
        self.values = nn.ModuleList(LinearHead(channels, channels) for _ in range(2))
        freeze(self)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Return merged features [B, C] of two last maps [B, C, H, W]; their sides may differ."""
        sources = [norm(tokens(last)) for norm, last in zip(self.norms, (own, other.detach()), strict=True)]
        query = self._apart(self.query(sources[0]))  # [B, heads, H * W, C / heads]
        key, value = (
            self._apart(torch.cat([layer(source) for layer, source in zip(layers, sources, strict=True)], dim=1))
            for layers in (self.keys, self.values)
        )
        weights = (query @ key.transpose(2, 3) / sqrt(query.shape[3])).softmax(dim=3)
        return (weights @ value).mean(dim=2).flatten(1)

    def _apart(self, tokens: Tensor) -> Tensor:
        """Return tokens [B, N, C] by head: [B, heads, N, C / heads]."""
        return tokens.view(*tokens.shape[:2], self.heads, -1).transpose(1, 2)
