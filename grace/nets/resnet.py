"""ResNet-10 to ResNet-50 in four stages, each with one of three stems (He et al. 2016, table 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from grace.nets.backbone import Backbone

Stem = Literal["7x7", "3x3", "3x3-maxpool"]
Blocks = tuple[int, int, int, int]  # per stage


class Residual(nn.Module):
    """relu(body(x) + shortcut(x)); the last one of a backbone too, so pooled features are never negative.

    Unless it is not `rectified`: then it is the sum alone.
    """

    def __init__(self, body: nn.Module, shortcut: nn.Module, rectified: bool = True) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.rectified = rectified

    def forward(self, x: Tensor) -> Tensor:
        """Return maps [B, C_out, H / stride, W / stride] of maps x [B, C_in, H, W]."""
        total: Tensor = self.body(x) + self.shortcut(x)
        return F.relu(total, inplace=True) if self.rectified else total


def convolution(inputs: int, outputs: int, window: int, stride: int = 1) -> list[nn.Module]:
    """Return a bias-free convolution that keeps H and W at stride 1, and its batch norm."""
    conv = nn.Conv2d(inputs, outputs, window, stride=stride, padding=window // 2, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


def basic(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return the body of a basic block: two 3x3 convolutions, the first with the stride."""
    first, second = convolution(inputs, outputs, 3, stride), convolution(outputs, outputs, 3)
    return nn.Sequential(*first, nn.ReLU(inplace=True), *second)


def bottleneck(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return the body of a bottleneck block: 1x1 to a quarter of `outputs`, 3x3 with the stride, 1x1."""
    inner = outputs // 4
    first, second = convolution(inputs, inner, 1), convolution(inner, inner, 3, stride)
    return nn.Sequential(*first, nn.ReLU(inplace=True), *second, nn.ReLU(inplace=True), *convolution(inner, outputs, 1))


def stem(kind: Stem) -> nn.Sequential:
    """Return 3 -> 64 channels: 7x7 at stride 2 with max-pool, or 3x3 at stride 1 without or with it."""
    layers = convolution(3, 64, 7, stride=2) if kind == "7x7" else convolution(3, 64, 3)
    pool = [] if kind == "3x3" else [nn.MaxPool2d(3, stride=2, padding=1)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True), *pool)


def build(
    kind: Stem, blocks: Blocks, body: Callable[[int, int, int], nn.Module], expansion: int, signed: bool
) -> Backbone:
    """Return stages of 64, 128, 256, 512 times `expansion` channels; all but the first halve H and W.

    Where the shape changes, the shortcut is a 1x1 convolution with batch norm (option B of He et al. 2016). `signed`
    leaves out the last ReLU.
    """
    stages, inputs = list[nn.Module](), 64
    for index, count in enumerate(blocks):
        outputs = expansion * 64 * 2**index
        stage = list[nn.Module]()
        for position in range(count):
            stride = 2 if index > 0 and position == 0 else 1
            same = inputs == outputs and stride == 1
            shortcut = nn.Identity() if same else nn.Sequential(*convolution(inputs, outputs, 1, stride))
            last = index == len(blocks) - 1 and position == count - 1
            stage.append(Residual(body(inputs, outputs, stride), shortcut, rectified=not (signed and last)))
            inputs = outputs
        stages.append(nn.Sequential(*stage))
    return Backbone(inputs, stem(kind), stages)


def basic_resnet(kind: Stem, blocks: Blocks, signed: bool = False) -> Backbone:
    """Return a ResNet of basic blocks, width 512: ResNet-10, 18 and 34."""
    return build(kind, blocks, basic, expansion=1, signed=signed)


def bottleneck_resnet(kind: Stem, blocks: Blocks, signed: bool = False) -> Backbone:
    """Return a ResNet of bottleneck blocks, width 2048: ResNet-26 and 50."""
    return build(kind, blocks, bottleneck, expansion=4, signed=signed)
