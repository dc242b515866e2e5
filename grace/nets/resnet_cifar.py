"""ResNet-8 to ResNet-32 for small images, three stages of 16, 32 and 64 channels (He et al. 2016, section 4.2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from grace.nets.backbone import Backbone
from grace.nets.resnet import Residual, basic, convolution


class Subsample(nn.Module):
    """The parameter-free shortcut, option A: every second pixel from the first on, and zero channels after them."""

    def __init__(self, added: int) -> None:
        super().__init__()
        self.added = added

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C + added, ceil(H / 2), ceil(W / 2)] of maps x [B, C, H, W]."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.added))


def small_resnet(blocks: int, signed: bool = False) -> Backbone:
    """Return the ResNet of 6 blocks + 2 layers, `blocks` per stage, width 64; 32x32 images leave it as 8x8 maps.

    The last linear layer of the paper is not part of it: heads are apart. `signed` leaves out the last ReLU and takes
    1x1 convolutions with batch norm for shortcuts (option B): 466,256 parameters for ResNet-32.
    """
    stages, inputs = list[nn.Module](), 16
    for outputs in (16, 32, 64):
        stage = list[nn.Module]()
        for position in range(blocks):
            grows, last = inputs != outputs, outputs == 64 and position == blocks - 1
            changed = nn.Sequential(*convolution(inputs, outputs, 1, 2)) if signed else Subsample(outputs - inputs)
            body = basic(inputs, outputs, stride=2 if grows else 1)
            stage.append(Residual(body, changed if grows else nn.Identity(), rectified=not (signed and last)))
            inputs = outputs
        stages.append(nn.Sequential(*stage))
    return Backbone(inputs, nn.Sequential(*convolution(3, 16, 3), nn.ReLU(inplace=True)), stages)
