"""Fashion-MNIST: five tasks of two classes, real images for a small machine."""

from __future__ import annotations

from grace.streams.protocol import Budget
from protocols.registry import Usual, class_incremental, register, usual

usual("fashion-mnist", Usual(backbone="resnet20", budget=Budget(500), schedule=0.1))
register(class_incremental("fashion-mnist", increment=2, source="the five-task split of Fashion-MNIST"))
