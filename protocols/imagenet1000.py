"""ImageNet-1000 with ResNet-18 and 20,000 exemplars; the stem follows the same rule as on ImageNet-100."""

from __future__ import annotations

from grace.streams.protocol import Budget
from protocols.registry import Usual, class_incremental, register, usual

usual("imagenet1000", Usual(backbone="resnet18", after_base="resnet18-3x3-maxpool", budget=Budget(20_000)))
register(class_incremental("imagenet1000", increment=100, source="CIL_Survey"))
register(class_incremental("imagenet1000", base=500, increment=100, source="CIL_Survey"))
