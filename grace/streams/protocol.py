"""Protocols as values: which classes arrive when, on which backbone, with how much memory. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from grace.checks import require
from grace.streams.catalogue import DatasetSpec


@dataclass(frozen=True)
class Budget:
    """How many exemplars may be kept: in total, or per class seen."""

    exemplars: int
    per: Literal["total", "class"] = "total"

    def __post_init__(self) -> None:
        """Refuse a negative number."""
        require(self.exemplars >= 0, f"exemplars must not be negative, not {self.exemplars}")

    def share(self, seen: int) -> int:
        """Return the exemplars that each of `seen` classes may keep: floor(M / K), or the fixed number per class."""
        return self.exemplars // seen if self.per == "total" else self.exemplars

    def __str__(self) -> str:
        """Return the spelling used in protocol names: `2000` or `20/class`."""
        return str(self.exemplars) if self.per == "total" else f"{self.exemplars}/class"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A frozen stream of tasks: B{base}I{increment} on one dataset, backbone and memory budget.

    `base` 0 means that the first task has `increment` classes too; classes left over make a smaller last task.
    Raises ValueError when base and increment do not fit the dataset.
    """

    name: str  # canonical, e.g. cifar100-b50i10+aa+m=20/class
    dataset: DatasetSpec
    base: int
    increment: int
    budget: Budget
    backbone: str
    schedule: float = 1.0  # fraction of every recipe's epochs; small datasets are trained for less
    source: str = ""  # who uses it
    alignment: str = ""  # equal memory for all methods: how much, see protocols.alignment; empty: the budget as it is

    def __post_init__(self) -> None:
        """Check that the increments fit the dataset's classes."""
        classes = self.dataset.classes
        require(self.increment >= 1, f"increment must be at least 1, not {self.increment}")
        require(self.base >= 0, f"base must not be negative, not {self.base}")
        first = self.base or self.increment
        require(first <= classes, f"{self.name}: the first task has {first} classes, {self.dataset.name} has {classes}")
        require(self.schedule > 0, f"schedule must be above 0, not {self.schedule}")

    @property
    def increments(self) -> tuple[int, ...]:
        """Classes per task, e.g. (50, 10, 10, 10, 10, 10)."""
        left = self.dataset.classes - (self.base or self.increment)
        whole, rest = divmod(left, self.increment)
        return (self.base or self.increment, *[self.increment] * whole, *([rest] if rest else []))

    def class_order(self, order_seed: int) -> tuple[int, ...]:
        """Return the original labels in order of arrival: NumPy's legacy permutation, the field's convention."""
        import numpy as np  # numpy takes longer to import than planning takes

        return tuple(int(c) for c in np.random.RandomState(order_seed).permutation(self.dataset.classes))

    def identity(self) -> dict[str, Any]:
        """Return what determines a result; the name is only a name."""
        return dict(self._identity)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        budget = {"exemplars": self.budget.exemplars, "per": self.budget.per}
        aligned = {"alignment": self.alignment} if self.alignment else {}  # others are what they were before there was
        return {
            "dataset": self.dataset.identity(),
            "increments": list(self.increments),
            "budget": budget,
            "backbone": self.backbone,
            "schedule": self.schedule,
            **aligned,
        }
