"""Tiny real runs on the toy dataset."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import protocols
from grace.streams.protocol import Budget, Protocol
from grace.training.phase import Recipe
from suite.spec import RunSpec

TASKS = 5  # of toy-b0i2


def recipe(epochs: int) -> dict[str, Any]:
    return {**asdict(Recipe(epochs, lr=0.05, batch_size=64)), "milestones": []}


def protocol(**changes: Any) -> Protocol:
    return replace(protocols.get("toy-b0i2"), **changes)


def spec(seed: int = 0, *, epochs: int = 1, method: str = "replay", **changes: Any) -> RunSpec:
    """A run of a fifth of a second per epoch of all tasks."""
    config = {"initial": recipe(epochs), "later": recipe(epochs)} | changes.pop("config", {})
    return RunSpec(
        method=method,
        config=config,
        protocol=protocol(**changes),
        order_seed=1993,
        train_seed=seed,
    )


def too_many_exemplars() -> RunSpec:
    return spec(budget=Budget(41, "class"))  # a class of the toy has 40 images


class Clock:
    """Time that passes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now
