"""CIFAR-10: five tasks of two classes."""

from __future__ import annotations

from grace.streams.protocol import Budget
from protocols.registry import Usual, class_incremental, register, usual

usual("cifar10", Usual(backbone="resnet32", budget=Budget(2000)))
register(class_incremental("cifar10", increment=2, source="the five-task split of CIFAR-10; net and memory as PyCIL"))
