"""What every backbone is: a stem, stages and a pooled feature; and the frozen state in which modules rest."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from grace.nets import arithmetic


def freeze(module: nn.Module) -> None:
    """Put a module to rest: eval mode (running statistics stand still) and no gradients."""
    module.eval().requires_grad_(False)


class Backbone(nn.Module):
    """A feature extractor without a classifier: stem, then stages; `width` channels leave the last stage.

    Convolutions start from N(0, 2 / (k^2 C_out)) and zero bias (He et al. 2015, section 2.2, backward case), batch
    norms from weight 1 and bias 0, those that end a residual branch included.
    """

    def __init__(self, width: int, stem: nn.Module, stages: Iterable[nn.Module]) -> None:
        super().__init__()
        self.width = width
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the map after each stage, [B, C, H, W] each, of images x [B, 3, H, W]."""
        return arithmetic.maps(self, x)

    def stagewise(self, x: Tensor) -> list[Tensor]:
        """Compute `forward`, stage after stage; the architecture as it is written."""
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    @staticmethod
    def pool(last: Tensor) -> Tensor:
        """Return features [B, width], not in bfloat16: the mean over H and W of the last map [B, width, H, W].

        For 32x32 images in a CIFAR ResNet this is its average pool of window 8. Unlike adaptive pooling, a mean has a
        deterministic gradient on CUDA.
        """
        exact = last.float() if last.dtype is torch.bfloat16 else last
        return exact.mean(dim=(2, 3))

    def features(self, x: Tensor) -> Tensor:
        """Return pooled features [B, width] of images x [B, 3, H, W]."""
        maps: list[Tensor] = self(x)
        return self.pool(maps[-1])
