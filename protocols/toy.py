"""The synthetic stream of tests and examples."""

from __future__ import annotations

from grace.streams.protocol import Budget
from protocols.registry import Usual, class_incremental, register, usual

usual("toy", Usual(backbone="resnet8", budget=Budget(50), schedule=0.1))
register(class_incremental("toy", increment=2, source="tests and examples"))
