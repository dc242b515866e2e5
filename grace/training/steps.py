"""The steps of a phase: forward, backward, update. On a GPU all but the update is replayed from a CUDA graph."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from grace.nets.abreast import join
from grace.nets.arithmetic import Arithmetic, can_compile, computing, current, flops
from grace.streams.samples import Batch
from grace.training.parallel import ALONE, Ranks
from grace.training.phase import Phase, Recipe
from grace.training.trainables import backbones

if TYPE_CHECKING:
    from grace.nets.backbone import Backbone
    from grace.training.engine import Engine

# Floating-point operations of a phase from which compiling its backbones pays. Measured on one core: it saves a sixth
# of the time and takes 20 to 40 seconds on a machine that has not done it before, so two to three minutes of training.
# On an H200 it takes half a minute once per machine and makes forwards 1.4 times as fast; a run on CIFAR-100 is 1e16.
PAYS = {"cpu": 1e13, "cuda": 1e14}
GRAPHS = {"cuda"}  # kinds of devices on which steps are captured
AT_ONCE = {"cpu"}  # kinds of devices on which looking at a loss waits for nothing
WARM = 3  # steps taken before one is captured: libraries initialise and compilers run then


def arithmetic(engine: Engine, device: torch.device) -> Arithmetic:
    """Return how backbones compute outside of phases, and in them where they are not compiled."""
    fast = engine.way != "plain"
    # without tensor cores, cuDNN's kernels for channels last are the slower ones
    layout = fast and (device.type == "cpu" or engine.precision != "fp32")
    return Arithmetic(bf16=engine.precision == "bf16", channels_last=layout)


def compiles(engine: Engine, phase: Phase, device: torch.device) -> bool:
    """Whether the phase's full batches go through compiled backbones: a function of phase and machine alone."""
    trained = backbones(phase.trains)
    wanted = engine.way == "compiled" or (engine.way == "auto" and trained and _pays(trained, phase, device))
    return bool(trained and wanted) and can_compile()  # looked up last: the compiler takes a second to import


def _pays(trained: Sequence[Backbone], phase: Phase, device: torch.device) -> bool:
    """Whether the phase is long enough for compiling to pay."""
    shape = tuple(phase.data.source.batch(phase.data.rows[:1], "test", 0).shape[1:])
    passes = 3 * phase.recipe.epochs * phase.views * len(phase.data)  # backward costs about two forwards
    enough = PAYS.get(device.type, float("inf")) / max(passes, 1)
    # counting takes a while: it is left out where every weight multiplying every pixel would not be enough
    most = 2 * shape[-2] * shape[-1] * sum(p.numel() for backbone in trained for p in backbone.parameters())
    return most >= enough and sum(flops(backbone, shape) for backbone in trained) >= enough


def sgd(params: Sequence[nn.Parameter], recipe: Recipe, engine: Engine) -> torch.optim.SGD:
    """Return the optimiser of a phase; its updates are fused unless the way is plain."""
    fused = None if engine.way == "plain" else True
    return torch.optim.SGD(params, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, fused=fused)


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """Return the learning rate of one epoch: steps after the milestones, or a cosine from lr to zero."""
    if recipe.milestones:
        return recipe.lr * recipe.gamma ** sum(epoch >= m for m in recipe.milestones)
    return 0.5 * recipe.lr * (1 + math.cos(math.pi * epoch / recipe.epochs))


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream on which steps are captured: one for all phases, since libraries keep memory per stream."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class NonFinite(Exception):
    """A step, counted from 0 since the last reading of the sums, whose `terms` are infinite or not a number."""

    def __init__(self, step: int, terms: dict[str, float]) -> None:
        super().__init__(step, terms)
        self.step, self.terms = step, terms


class Steps:
    """Takes one step per call and sums the loss terms; on a GPU they stay there until they are asked for."""

    def __init__(
        self,
        phase: Phase,
        optimiser: torch.optim.Optimizer,
        params: Sequence[nn.Parameter],
        engine: Engine,
        ranks: Ranks = ALONE,
    ) -> None:
        device = params[0].device if params else torch.device("cpu")
        self._phase, self._optimiser, self._params, self._ranks = phase, optimiser, params, ranks
        self._full = len(ranks.share(torch.arange(phase.recipe.batch_size))) * phase.views
        self._compiled = compiles(engine, phase, device)
        self._graphs = engine.way != "plain" and device.type in GRAPHS
        self._captured: dict[int, _Graph] = {}  # per size of batch: the last of an epoch has its own
        self._side = _stream(device) if self._graphs else None
        self._pool = torch.cuda.graph_pool_handle() if self._graphs else None  # they take turns, so they share memory
        self._taken: Counter[int] = Counter()
        self._sums: dict[str, float] = {}
        self._summed = 0  # steps in the sums
        self._unread: list[tuple[tuple[str, ...], Tensor, int]] = []  # names, values on the device, images
        self._plain = engine.way == "plain"

    @property
    def way(self) -> str:
        """How the steps are taken, for the record."""
        name = "plain" if self._plain else "compiled" if self._compiled else "eager"
        return name + "+graph" * bool(self._captured) + (f", {count} ranks" if (count := self._ranks.count) > 1 else "")

    def __call__(self, batch: Batch) -> None:
        """Take one step; on a CPU, raises NonFinite for a loss that is not finite, before anything learns from it."""
        full = len(batch.y) == self._full
        if self._graphs and self._taken[len(batch.y)] >= WARM:
            names, terms = self._replayed(batch, full)
        elif self._side is not None:
            self._side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._side):  # as capturing does, so that gradients are made there
                names, terms = self._differentiated(batch, full)
            torch.cuda.current_stream().wait_stream(self._side)
        else:
            names, terms = self._differentiated(batch, full)
        own = len(batch.y) // self._phase.views
        images = batch.images or own
        terms = self._ranks.reduce(self._params, terms, own, images)
        if terms.device.type in AT_ONCE:
            self._add(names, terms.tolist(), images)
        else:  # a copy, since the next replay overwrites them
            self._unread.append((names, terms.to(torch.float64, copy=True), images))
        if self._phase.after_backward:
            self._phase.after_backward()
        self._optimiser.step()
        self._taken[len(batch.y)] += 1

    def sums(self) -> dict[str, float]:
        """Return the sum of each term over the images since the last call; raises NonFinite for the first bad step.

        The only wait for the device.
        """
        values = torch.cat([terms for _, terms, _ in self._unread]).tolist() if self._unread else []
        for names, terms, images in self._unread:
            self._add(names, values[: len(terms)], images)
            del values[: len(terms)]
        found = self._sums
        self._sums, self._summed, self._unread = {}, 0, []
        return found

    def _add(self, names: tuple[str, ...], values: list[float], images: int) -> None:
        """Count in one step."""
        bad = {name: value for name, value in zip(names, values, strict=True) if not math.isfinite(value)}
        if bad:
            raise NonFinite(self._summed, bad)
        self._summed += 1
        for name, value in zip(names, values, strict=True):
            self._sums[name] = self._sums.get(name, 0.0) + value * images

    def _differentiated(self, batch: Batch, full: bool) -> tuple[tuple[str, ...], Tensor]:
        """Leave the gradients of the summed terms with the parameters; return the names and the values [terms]."""
        self._optimiser.zero_grad()
        with computing(replace(current(), compiled=self._compiled and full)):
            terms = self._phase.loss(batch)
            values = torch.stack(list(terms.values()))
            values.sum().backward()  # type: ignore[no-untyped-call]
        join()  # with what was computed beside it and not looked at
        return tuple(terms), values.detach()

    def _replayed(self, batch: Batch, full: bool) -> tuple[tuple[str, ...], Tensor]:
        size = len(batch.y)
        if size not in self._captured:
            try:
                self._captured[size] = _Graph(self, batch, full)
            except RuntimeError:  # a loss that waits for the device, or copies to it, cannot be captured
                self._graphs = False
                torch.cuda.synchronize()
                return self._differentiated(batch, full)
        return self._captured[size](batch)


class _Graph:
    """Forward and backward of batches of one shape, captured once: replaying costs one launch instead of hundreds."""

    def __init__(self, steps: Steps, batch: Batch, full: bool) -> None:
        self._x, self._y, self._params = batch.x.clone(), batch.y.clone(), steps._params
        torch.cuda.empty_cache()  # the graph has memory of its own: give back what the steps before it needed
        self._graph = torch.cuda.CUDAGraph()
        # other threads, such as one that pins memory, may go on calling CUDA
        with torch.cuda.graph(self._graph, steps._pool, steps._side, capture_error_mode="thread_local"):
            self._names, self._terms = steps._differentiated(Batch(self._x, self._y), full)
        self._gradients = [parameter.grad for parameter in self._params]

    def __call__(self, batch: Batch) -> tuple[tuple[str, ...], Tensor]:
        self._x.copy_(batch.x)
        self._y.copy_(batch.y)
        self._graph.replay()
        for parameter, gradient in zip(self._params, self._gradients, strict=True):
            parameter.grad = gradient  # a step that was not replayed leaves others
        return self._names, self._terms
