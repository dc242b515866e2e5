"""What every backbone is: a stem, stages and a pooled feature; and the frozen state in which modules rest."""

from __future__ import annotations

import copy
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

    takes = 3  # channels of what it is given: images, or for the rear part of a split backbone maps
    shrunk = 1  # how many times smaller than images the sides of what it is given are

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

    def split(self) -> tuple[Backbone, Backbone]:
        """Return two backbones that share these modules: stem and all stages but the last, and the last stage.

        The second takes the last map of the first (MEMO, Zhou et al. 2023: generalised and specialised blocks). Of a
        backbone of one stage the first is the stem.
        """
        *shallow, deep = self.stages
        before = (self.stem, shallow) if shallow else (nn.Identity(), [self.stem])
        front, rear = Backbone.__new__(Backbone), Backbone.__new__(Backbone)
        for part, stem, stages in ((front, *before), (rear, nn.Identity(), [deep])):
            nn.Module.__init__(part)  # weights stay as they are, where the constructor would draw them anew
            part.stem, part.stages = stem, nn.ModuleList(stages)
        convolution = next(module for module in deep.modules() if isinstance(module, nn.Conv2d))
        front.width, rear.width = convolution.in_channels, self.width
        side = 64
        with torch.no_grad():
            outline = copy.deepcopy(front).to("meta").stagewise(torch.empty(1, 3, side, side, device="meta"))
        rear.takes, rear.shrunk = front.width, side // outline[-1].shape[-1]
        return front, rear

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
