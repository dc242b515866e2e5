"""The interface of a method: between tasks it holds `net`, `memory` and `state`, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from grace.memory import Memory, class_means, herd, nearest_mean
from grace.nets.backbone import Backbone
from grace.nets.heads import Head, LinearHead
from grace.nets.incremental import IncrementalNet
from grace.streams.protocol import Budget
from grace.streams.samples import Samples, Task
from grace.training.trainer import Trainer

Readouts = Callable[[Tensor], dict[str, Tensor]]  # x [B, 3, H, W] -> scores [B, classes] per readout, headline first


class Learner(ABC):
    """One method. It writes `learn`; the engine owns the loop, the evaluation, the checkpoints and the accounts.

    A method's module holds this class and a frozen dataclass `Config`: hyper-parameters with their sources.
    """

    title: ClassVar[str]  # with the paper's capitals
    family: ClassVar[Literal["floor", "single backbone", "expansion", "upper bound"]]
    reference: ClassVar[str] = ""  # where it was published
    growth: ClassVar[Literal["fixed", "per-task", "data"]] = "fixed"  # how many branches after the last task
    uses_memory: ClassVar[bool] = True  # False: keeps no exemplars whatever the protocol's budget
    head: ClassVar[Callable[[], Head]] = LinearHead  # the kind of classifier
    shared_stem: ClassVar[bool] = False  # True: branches are last stages on one stem
    signed: ClassVar[bool] = False  # True: features without the last ReLU, of the backbone's variant for cosine heads
    headline: ClassVar[str] = "linear"  # the readout that the method is known by, where it can be had
    closed_form: ClassVar[bool] = False  # True: tasks after the first are solved, not trained
    cumulative: ClassVar[bool] = False  # True: is handed the images of every class seen, so it is no fair rival
    keeps: ClassVar[Callable[..., Any] | None] = None  # what `state` is: a dataclass of plain values and tensors

    def __init__(
        self, config: Any, backbone: Callable[[], Backbone], budget: Budget, device: torch.device | None = None
    ) -> None:
        self.config = config
        self.net = IncrementalNet(backbone, device or torch.device("cpu"), type(self).head, self.shared_stem)
        self.memory = Memory(budget if self.uses_memory else Budget(0))
        self.state = self.keeps() if self.keeps else None

    @abstractmethod
    def learn(self, task: Task, trainer: Trainer) -> None:
        """Grow as the method grows and fit its phases on the new classes and the memory."""

    def remember(self, task: Task, trainer: Trainer) -> None:
        """Herd exemplars of the new classes with the current net and cut the old classes to the same share."""
        share = self.memory.budget.share(task.seen)
        if share:
            self.memory.update(self.herded(task, trainer, share), task.seen)

    def herded(self, task: Task, trainer: Trainer, count: int) -> dict[int, Tensor]:
        """Return per new class the rows of its `count` best exemplars, best first, by the current features."""
        features, labels = trainer.map(self.embed, task.train), task.train.y
        ranked = {}
        for label in range(task.known, task.seen):
            own = labels == label
            ranked[label] = task.train.rows[own][herd(features[own.to(features.device)], count)]
        return ranked

    def readouts(self, task: Task, trainer: Trainer) -> Readouts:
        """Return the ways to classify, headline first: the head, and nearest class means where there are exemplars."""
        if len(self.memory) == 0:
            return lambda x: {"linear": self.net.logits(x)}
        held = self.memory.samples(task.train.source)
        nme = nearest_mean(class_means(trainer.map(self.embed, held), held.y, task.seen))

        def scores(x: Tensor) -> dict[str, Tensor]:
            out = self.net(x)
            found = {"linear": out.logits, "nme": nme(out.features)}
            return {self.headline: found.pop(self.headline), **found}

        return scores

    def replayed(self, task: Task) -> Samples:
        """Return the task's images and the exemplars, each once."""
        return task.train + self.memory.samples(task.train.source)

    def embed(self, x: Tensor) -> Tensor:
        """x [B, 3, H, W] -> features of all branches [B, D]."""
        features: Tensor = self.net(x).features
        return features

    def make_aside(self) -> dict[str, nn.Module]:
        """Return the modules that the method keeps in `net.aside` between tasks, fresh: how they are rebuilt."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return everything the learner holds: tensors and plain values."""
        return {
            "layout": self.net.layout(),
            "weights": self.net.state_dict(),
            "memory": self.memory.by_class,
            "state": None if self.state is None else {f.name: getattr(self.state, f.name) for f in fields(self.state)},
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take on a saved state: first the shape, then the weights."""
        self.net = self.net.blank()
        self.net.rebuild(saved["layout"])
        if saved["layout"]["aside"]:
            self.net.aside.update({name: self.net.placed(module) for name, module in self.make_aside().items()})
        self.net.load_state_dict(saved["weights"])
        self.memory.by_class = dict(saved["memory"])
        if self.keeps is not None:
            self.state = self.keeps(**{name: self._placed(value) for name, value in saved["state"].items()})

    def _placed(self, value: Any) -> Any:
        """Return a saved value with its tensors on the net's device."""
        if isinstance(value, Tensor):
            return value.to(self.net.device)
        if isinstance(value, dict):
            return {name: self._placed(item) for name, item in value.items()}
        return value
