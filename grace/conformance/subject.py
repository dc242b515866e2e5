"""The method under examination: how it is built small, run, and found at fault."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor

from grace.conformance.stream import PROTOCOL, data, tiny
from grace.contract import ContractError, method_files
from grace.learner import Learner
from grace.run import TaskRecord, run_stream
from grace.streams.protocol import Budget, Protocol
from grace.streams.samples import Dataset
from grace.training.phase import Recipe


@dataclass(frozen=True)
class Subject:
    """A learner class with its Config; `fields` are settings over the defaults."""

    learner: type[Learner]
    config: type
    fields: Mapping[str, Any] = field(default_factory=dict)

    def build(
        self, epochs: int = 2, budget: Budget = PROTOCOL.budget, device: torch.device | None = None, **more: Any
    ) -> Learner:
        """Return a fresh learner on the tiny backbone, every recipe cut to a few epochs of small batches."""
        settings = short(self.config, epochs, **{**self.fields, **more})
        return self.learner(settings, partial(tiny, self.learner.signed), budget, device)

    def fail(self, message: str, part: str = "learn") -> NoReturn:
        """Raise ContractError at the method's own `part`, or where its class begins if it has none."""
        own = vars(self.learner).get(part)
        code = getattr(inspect.unwrap(own), "__code__", None) if own else None
        if code:
            raise ContractError(message, code.co_filename, code.co_firstlineno)
        raise ContractError(message, *self.place)

    def demand(self, condition: bool, message: str, part: str = "learn") -> None:
        """Fail with the message unless the condition holds."""
        if not condition:
            self.fail(message, part)

    @property
    def place(self) -> tuple[str, int]:
        """File and line of the class."""
        try:
            _, line = inspect.getsourcelines(self.learner)
        except (OSError, TypeError):
            line = 1
        return str(getattr(sys.modules[self.learner.__module__], "__file__", "")), line

    @property
    def files(self) -> set[str]:
        """The files in which the method is written."""
        return method_files(self.learner)


def short(config: type, epochs: int, **given: Any) -> Any:
    """Return a method's own defaults with every recipe cut to a few epochs of small batches."""
    recipes = {
        one.name: replace(one.default.limited(epochs), batch_size=32)
        for one in fields(config)
        if isinstance(one.default, Recipe)
    }
    return config(**{**recipes, **given})


def run(
    learner: Learner,
    protocol: Protocol = PROTOCOL,
    seed: int = 0,
    splits: tuple[Dataset, Dataset] | None = None,
    **options: Any,
) -> list[TaskRecord]:
    """Run a learner through the tiny stream; return its records."""
    train, test = (split.to(options.get("device") or torch.device("cpu")) for split in splits or data(protocol))
    return run_stream(learner, protocol, train, test, seed=seed, **options)


def lasting(record: TaskRecord) -> dict[str, Any]:
    """Return what of a record does not depend on how long anything took."""
    plain = {name: value for name, value in vars(record).items() if name != "seconds"}
    plain["phases"] = [{k: v for k, v in phase.items() if k != "seconds"} for phase in record.phases]
    plain["labels"] = record.labels.tolist()
    plain["predictions"] = {name: best.tolist() for name, best in record.predictions.items()}
    return plain


def difference(one: Any, other: Any, name: str = "") -> str:
    """Return where two states of tensors and plain values differ, as `weights.head.weight`, or nothing."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return "" if one.dtype == other.dtype and torch.equal(one.cpu(), other.cpu()) else name or "it"
    if is_dataclass(one) and not isinstance(one, type):
        one = asdict(one)
    if is_dataclass(other) and not isinstance(other, type):
        other = asdict(other)
    if isinstance(one, Mapping) and isinstance(other, Mapping) and list(one) == list(other):
        parts = (difference(one[key], other[key], f"{name}.{key}".lstrip(".")) for key in one)
        return next(filter(None, parts), "")
    if isinstance(one, list | tuple) and type(one) is type(other) and len(one) == len(other):
        parts = (difference(a, b, f"{name}[{i}]") for i, (a, b) in enumerate(zip(one, other, strict=True)))
        return next(filter(None, parts), "")
    return "" if type(one) is type(other) and one == other else name or "it"
