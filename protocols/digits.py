"""Handwritten digits of 8x8 pixels: small enough to sweep on a laptop, real enough to forget."""

from __future__ import annotations

from grace.streams.protocol import Budget
from protocols.registry import Usual, class_incremental, register, usual

usual("digits", Usual(backbone="resnet8", budget=Budget(200), schedule=0.15))
register(class_incremental("digits", increment=2, source="this project's demonstration"))
