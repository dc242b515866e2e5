"""ImageNet-100 with ResNet-18 and 2,000 exemplars, on two subsets that must not be mixed.

The stem follows the field: 7x7 where all tasks are alike, 3x3 before the max-pool where the first is larger.
"""

from __future__ import annotations

from dataclasses import replace

from grace.streams.protocol import Budget
from protocols.registry import Usual, class_incremental, register, usual

_USUAL = Usual(backbone="resnet18", after_base="resnet18-3x3-maxpool", budget=Budget(2000))

usual("imagenet100-ucir", replace(_USUAL, called="imagenet100"))
for base, increment, source in [
    (0, 5, "GRACE, CIL_Survey"),
    (0, 10, "GRACE, PyCIL, CIL_Survey, TagFex"),
    (0, 20, "PyCIL, CIL_Survey, FOSTER"),
    (50, 5, "CIL_Survey (its memory-agnostic curves)"),
    (50, 10, "GRACE, PyCIL, CIL_Survey, TagFex; FOSTER and BEEF with 20 exemplars per class"),
]:
    register(class_incremental("imagenet100-ucir", base=base, increment=increment, source=source))

usual("imagenet100-first", _USUAL)
for base, increment, source in [
    (0, 5, "the stream of imagenet100-b0i5 on the subset of PODNet and DER"),
    (0, 10, "DER, DyTox"),
    (0, 20, "the stream of imagenet100-b0i20 on the subset of PODNet and DER"),
    (50, 5, "PODNet and DER with 20 exemplars per class"),
    (50, 10, "PODNet with 20 exemplars per class"),
]:
    register(class_incremental("imagenet100-first", base=base, increment=increment, source=source))
