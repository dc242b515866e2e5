"""What every run holds its method to: it keeps what it declared, trains what it listed, reads what it was handed."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from grace.footprint import kept_tensors
from grace.learner import Learner
from grace.streams.samples import Dataset, Task, View
from grace.training import trainables
from grace.training.held import held
from grace.training.phase import Phase
from grace.training.places import Place, called
from grace.training.trainer import Trainer
from grace.training.watched import Watched

HELD = ("config", "net", "memory", "state")
BY_HAND = {"x", "decoder", "whole"}  # of a split: where its images are
_THOROUGH: ContextVar[bool] = ContextVar("thorough", default=False)


class ContractError(Exception):
    """A method broke a promise: `message` says which, `file` and `line` where."""

    def __init__(self, message: str, file: str = "", line: int = 0) -> None:
        super().__init__(f"{file}:{line}: {message}" if file else message)
        self.message, self.file, self.line = message, file, line


@contextmanager
def thorough() -> Iterator[None]:
    """Compare values too, at the price of a copy per phase: a write past torch's version counters shows only there."""
    token = _THOROUGH.set(True)
    try:
        yield
    finally:
        _THOROUGH.reset(token)


class Contract:
    """Watches over one learner; `train` and `test` are the splits as its tasks may read them."""

    def __init__(self, learner: Learner, train: Dataset, test: Dataset) -> None:
        self._learner, self._budget = learner, learner.memory.budget
        self._files = method_files(type(learner))
        self._names = _names(learner.net)
        self.train = Guarded(train, self, "that it was not handed: neither of this task nor exemplars")
        self.test = Guarded(test, self, "of the test split, which is the engine's")

    def begin(self, task: Task) -> None:
        """Allow the images of a task and the exemplars."""
        self.train.allow([task.train.rows, *self._learner.memory.by_class.values()])
        self.test.allow([])

    def evaluate(self, task: Task) -> None:
        """Allow the engine the test images of a task."""
        self.test.allow([task.test.rows])

    def rests(self, moment: str, task: Task) -> None:
        """Check what the learner holds after `moment`, the method that has just returned."""
        learner, at = self._learner, partial(self._assigned, moment)
        for name in vars(learner):
            if name not in HELD:
                raise ContractError(f"self.{name} is in no checkpoint: declare it in `keeps`, or let it be local",
                                    *at(name))  # fmt: skip
        missing = [name for name in HELD if name not in vars(learner)]
        if missing:
            raise ContractError(f"self.{missing[0]} is gone", *_begins(type(learner), moment))
        if (learner.state is None) != (learner.keeps is None):
            raise ContractError(
                "self.state is what the class variable `keeps` declares, and nothing else", *at("state")
            )
        declared = [field.name for field in fields(learner.state)] if is_dataclass(learner.state) else []
        for name in getattr(learner.state, "__dict__", ()):
            if name not in declared:
                raise ContractError(f"state.{name} is no field of `keeps`, so no checkpoint holds it", *at(name))
        for name in sorted(_names(learner.net) - self._names):
            raise ContractError(f"net.{name} is in no checkpoint: modules go into net.aside, the rest into the state",
                                *at(name))  # fmt: skip
        self._at_rest(_begins(type(learner), moment))
        self._exemplars(_begins(type(learner), moment), task)

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Check that a phase changes nothing but what it lists."""
        where = self.where()
        self._at_rest(where)
        if isinstance(phase.data.source, Guarded):
            phase.data.source.check(phase.data.rows)
        watched = Watched(phase, self._learner.net, copies=_THOROUGH.get())
        yield
        changed = watched.changed()
        if changed:
            raise ContractError(f"phase {phase.name} changed {changed}, which is at rest: its trains does not list it",
                                *where)  # fmt: skip
        self._at_rest(where)

    def held(self, phase: Phase) -> dict[str, int]:
        """Return the numbers and bytes in memory while a phase trains."""
        learner = self._learner
        exemplar_bytes = len(learner.memory) * self.train.bytes_per_image
        return held(phase, learner.net, kept_tensors(learner), exemplar_bytes)

    def where(self) -> Place:
        """Return the line of the method that is being executed, or else where its `learn` begins."""
        place = called(self._files)
        return place if place[0] else _begins(type(self._learner), "learn")

    def _at_rest(self, where: Place) -> None:
        name = trainables.restless(self._learner.net)
        if name:
            raise ContractError(f"net.{name} is not at rest outside of a fit: only a phase's trains says what learns",
                                *where)  # fmt: skip

    def _exemplars(self, where: Place, task: Task) -> None:
        memory, of = self._learner.memory, self._budget
        for rows in memory.by_class.values():
            foreign = self.train.foreign(rows)
            if foreign:
                raise ContractError(f"{foreign} exemplars are no images that it was handed", *where)
        limit = of.exemplars * (task.seen if of.per == "class" else 1)
        if len(memory) > limit:
            raise ContractError(f"it keeps {len(memory)} exemplars of at most {limit}", *where)

    def _assigned(self, moment: str, name: str) -> Place:
        """Return where the method's files give an attribute its value."""
        for owner in _own(type(self._learner)):
            source, file = _source(owner)
            targets = (
                target
                for node in ast.walk(ast.parse(source))
                if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)
                for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            )
            for target in targets:
                for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if isinstance(part, ast.Attribute) and part.attr == name:
                        return file, part.lineno
        return _begins(type(self._learner), moment)


class WatchedTrainer(Trainer):
    """A trainer under whose phases only what they list may change; what each holds in memory is in its log."""

    def __init__(self, contract: Contract, task: Task, **options: Any) -> None:
        super().__init__(task, **options)
        self._contract = contract

    def fit(self, phase: Phase) -> None:
        """Fit as `Trainer` does; raises ContractError where more has changed than the phase lists."""
        with self._contract.fitting(phase):
            held = self._contract.held(phase)
            super().fit(phase)
        self.phases[-1]["held"] = held


class Guarded(Dataset):
    """A split of which only some rows may be read; asked for others it names the method's line."""

    def __init__(self, inner: Dataset, contract: Contract, words: str) -> None:
        self._inner, self._contract, self._words = inner, contract, words
        self.y, self.bytes_per_image = inner.y, inner.bytes_per_image
        self._allowed = torch.zeros(len(inner.y), dtype=torch.bool)

    def allow(self, rows: Sequence[Tensor]) -> None:
        """Allow these rows and no others."""
        self._allowed.zero_()
        for some in rows:
            self._allowed[some] = True

    def foreign(self, rows: Tensor) -> int:
        """Return how many of the rows are not allowed."""
        return int((~self._allowed[rows.cpu()]).sum())

    def batch(self, rows: Tensor, view: View, seed: int) -> Tensor:
        """Return what the split does; raises ContractError for rows that are not allowed."""
        self.check(rows)
        return self._inner.batch(rows, view, seed)

    def stream(self, rows: Tensor, size: int, view: View, seed: int, more: Sequence[int] = ()) -> Iterator[Tensor]:
        """Return what the split does; raises ContractError for rows that are not allowed."""
        self.check(rows)
        return self._inner.stream(rows, size, view, seed, more)

    def __getattr__(self, name: str) -> Any:
        """Return what else the split knows, but for its images."""
        if name in BY_HAND:
            raise ContractError(f"it reads images by hand (source.{name})", *self._contract.where())
        return getattr(self._inner, name)

    def check(self, rows: Tensor) -> None:
        """Raise ContractError if some of the rows are not allowed."""
        foreign = self.foreign(rows)
        if foreign:
            raise ContractError(f"it reads {foreign} images {self._words}", *self._contract.where())


def method_files(learner: type[Learner]) -> set[str]:
    """Return the files in which a method is written, the interface's aside."""
    return {file for _, file in map(_source, _own(learner))}


def _own(learner: type) -> list[type]:
    return [owner for owner in learner.__mro__ if issubclass(owner, Learner) and owner is not Learner]


def _source(owner: type) -> tuple[str, str]:
    """Return the text of a class's module, as it was when loaded if the loader still has it, and its file."""
    module = sys.modules[owner.__module__]
    file = str(getattr(module, "__file__", "") or "")
    read = getattr(getattr(module, "__loader__", None), "get_source", None)
    text = read(owner.__module__) if read else None
    return text or (Path(file).read_text(encoding="utf-8") if file else ""), file


def _begins(learner: type, moment: str) -> Place:
    """Return where a method of the learner begins, or `learn` where it is the interface's own."""
    own = getattr(learner, moment)
    code = inspect.unwrap(learner.learn if own is getattr(Learner, moment) else own).__code__  # type: ignore[attr-defined]
    return code.co_filename, code.co_firstlineno


def _names(net: nn.Module) -> set[str]:
    """Return what a module is made of, by name: attributes, parameters, buffers and modules."""
    held: Collection[dict[str, Any]] = (vars(net), net._parameters, net._buffers, net._modules)
    return {name for each in held for name in each}
