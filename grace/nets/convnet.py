"""ConvNet-2 and ConvNet-4: the smallest backbones of memory-agnostic comparison (Zhou et al. 2023, MEMO).

Blocks are convolution with bias, batch norm, ReLU and a 2x2 max-pool. The first block is the stem, each other a stage.
"""

from __future__ import annotations

from torch import nn

from grace.nets.backbone import Backbone


def block(inputs: int, outputs: int, window: int = 3, stride: int = 1, signed: bool = False) -> nn.Sequential:
    """Return one block: H and W are divided by twice the stride, rounded down; a signed one has no ReLU."""
    conv = nn.Conv2d(inputs, outputs, window, stride=stride, padding=window // 2)
    rectified = [] if signed else [nn.ReLU(inplace=True)]
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *rectified, nn.MaxPool2d(2))


def convnet2(signed: bool = False) -> Backbone:
    """Return two blocks of 64 channels, width 64; 32x32 images leave it as 8x8 maps."""
    return Backbone(64, block(3, 64), [block(64, 64, signed=signed)])


def convnet4(signed: bool = False) -> Backbone:
    """Return four blocks of 128, 128, 128, 512 channels, width 512, the first 7x7 at stride 2.

    224x224 images leave it as 7x7 maps; images below 31x31 would vanish.
    """
    return Backbone(
        512, block(3, 128, window=7, stride=2), [block(128, 128), block(128, 128), block(128, 512, signed=signed)]
    )
