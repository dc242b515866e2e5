"""CIFAR-100 with ResNet-32 and 2,000 exemplars: from nothing (B0), and from a base of half the classes (B50)."""

from __future__ import annotations

from grace.streams.protocol import Budget
from protocols.registry import Usual, class_incremental, register, usual

usual("cifar100", Usual(backbone="resnet32", budget=Budget(2000)))
for base, increment, source in [
    (0, 5, "GRACE, CIL_Survey, FOSTER; DER and DyTox with ResNet-18"),
    (0, 10, "GRACE, PyCIL, CIL_Survey, FOSTER; DER, DyTox and TagFex with ResNet-18"),
    (0, 20, "PyCIL, CIL_Survey, FOSTER; DER with ResNet-18"),
    (0, 50, "CIL_Survey"),
    (50, 2, "GRACE; PODNet and FOSTER with 20 exemplars per class"),
    (50, 5, "PODNet and FOSTER with 20 exemplars per class; DER with ResNet-18"),
    (50, 10, "GRACE, PyCIL, CIL_Survey; PODNet, FOSTER and BEEF with 20 exemplars per class"),
    (50, 25, "CIL_Survey; DER with ResNet-18"),
]:
    register(class_incremental("cifar100", base=base, increment=increment, source=source))
