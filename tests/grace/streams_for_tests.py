"""The tiny stream and the tiny backbone of the conformance checks, and the registered methods built on them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from grace.conformance.stream import PROTOCOL, SPEC, TINY_PARAMETERS, WIDTH, Spy, data, tiny
from grace.conformance.subject import Subject, lasting, run, short
from grace.learner import Learner
from grace.methods import method
from grace.streams.protocol import Budget

__all__ = ["PROTOCOL", "SPEC", "TINY_PARAMETERS", "WIDTH", "Spy", "build", "data", "lasting", "run", "short", "tiny",
           "weights"]  # fmt: skip

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


def build(
    name: str, epochs: int = 2, budget: Budget = PROTOCOL.budget, device: torch.device | None = None, **fields: Any
) -> Learner:
    return Subject(*method(name)).build(epochs, budget, device, **fields)


def weights(learner: Learner) -> list[Tensor]:
    return list(learner.net.state_dict().values())
