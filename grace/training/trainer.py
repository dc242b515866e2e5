"""The only training loop. Each use of chance has an address, so a resumed phase equals an uninterrupted one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from grace.nets.incremental import IncrementalNet
from grace.seeds import derive
from grace.storage.folders import Folder
from grace.streams.samples import Batch, Samples, Task, View
from grace.training import checkpoint, trainables
from grace.training.batches import batches
from grace.training.engine import Engine
from grace.training.gradients import squared_gradients
from grace.training.parallel import ALONE, Ranks
from grace.training.phase import Phase
from grace.training.places import defined
from grace.training.shared import Sharing
from grace.training.steps import NonFinite, Steps, learning_rate, sgd

EVALUATION_BATCH = 512  # images; results do not depend on it beyond rounding


class Stopped(Exception):
    """The observer asked to stop; everything up to here is saved."""


class NonFiniteLoss(Exception):
    """A loss became infinite or not a number: names task, phase, epoch, step, learning rate, term, file and line."""

    def __init__(self, message: str, file: str = "", line: int = 0) -> None:
        super().__init__(f"{message} ({file}:{line})" if file else message)
        self.file, self.line = file, line


@dataclass(frozen=True)
class Progress:
    """Where a run is, told after every epoch and after every task (phase `evaluate`)."""

    task: int
    tasks: int
    phase: str
    epoch: int  # of this phase, from 0
    epochs: int
    losses: dict[str, float] = field(default_factory=dict)  # mean over the epoch's images, per term
    images_per_second: float = 0.0
    trained: int = 0  # epochs of all phases and tasks so far, this one with them
    # after a task
    accuracy: float | None = None  # of the headline readout on all classes seen
    old: float | None = None  # the same on the classes of the tasks before, and of this task
    new: float | None = None
    seen: int | None = None  # classes
    backbones: int | None = None
    parameters: int | None = None  # of what classifies
    memory_bytes: int | None = None  # of everything kept: model, state and exemplars


Observer = Callable[[Progress], bool]  # returns True to stop at this safe point


PLAIN = Engine(way="plain")


class Trainer:
    """Fits the phases of one task. On resume `learn` is replayed: finished phases are loaded instead of trained.

    Backbones compute as `grace.nets.arithmetic` is set to around the calls; within phases `engine` decides.
    """

    def __init__(
        self,
        task: Task,
        *,
        seed: int,
        device: torch.device,
        folder: Folder | None = None,
        tasks: int = 1,
        observe: Observer = lambda progress: False,
        checkpoint_seconds: float = 60.0,
        engine: Engine = PLAIN,
        trained: int = 0,
        ranks: Ranks = ALONE,
        sharing: Sharing | None = None,
    ) -> None:
        self.task, self.device, self.engine, self.ranks = task, device, engine, ranks
        self.phases: list[dict[str, Any]] = []  # what each phase was and cost, for the record
        self.notes: dict[str, Any] = {}  # the method's own trace of this task
        self.offered: dict[str, IncrementalNet] = {}  # nets that are scored beside the learner's, and then gone
        self._seed, self._folder, self._tasks = seed, folder, tasks
        self._observe, self._every = observe, checkpoint_seconds
        self._trained = trained  # epochs of the tasks before
        self._writer, self._sharing = checkpoint.Writer(), sharing
        self._place: Folder | None = None  # of the checkpoint of the phase at work
        torch.manual_seed(self.seed("start"))

    def seed(self, *address: object) -> int:
        """Return the seed of one place within this task; the method's name is not part of it, so runs pair up."""
        return derive(self._seed, "task", self.task.index, *address)

    @property
    def trained(self) -> int:
        """Epochs of the tasks before and of this one's phases so far."""
        return self._trained + sum(int(log["epochs"]) for log in self.phases)

    def generator(self, purpose: str) -> torch.Generator:
        """Return a CPU generator for a method's own draws, addressed by task and purpose."""
        return torch.Generator().manual_seed(self.seed("generator", purpose))

    def close(self) -> None:
        """Wait until every checkpoint is written; raises what went wrong in that."""
        self._writer.close()

    def note(self, **values: Any) -> None:
        """Keep plain values (numbers, strings, lists) in this task's record."""
        self.notes.update(values)

    def offer(self, readout: str, net: IncrementalNet) -> None:
        """Have a net that this task's training made, but that nothing keeps, scored and counted as a readout."""
        self.offered[readout] = net

    def squared_gradients(
        self, loss: Callable[[Batch], Tensor], of: nn.Module, samples: Samples, batch_size: int, purpose: str
    ) -> dict[str, Tensor]:
        """Return per parameter the mean over batches of its squared gradient of `loss`; nothing is changed.

        A Fisher information's diagonal where batches hold one image (EWC). Views, order and mode are those of training,
        but batch norms' statistics are put back. Batches are addressed by `purpose`.
        """
        found = squared_gradients(
            loss, of, self._batches(samples, batch_size, "gradients", purpose, dealt=True), self.ranks
        )
        if self.ranks.count > 1:  # not all have drawn as often
            torch.manual_seed(self.seed("gradients", purpose, "end"))
        return found

    @torch.no_grad()
    def map(self, fn: Callable[[Tensor], Tensor], samples: Samples, view: View = "test", purpose: str = "") -> Tensor:
        """Return fn(x) over every sample in order: [n, ...]. A train view is addressed by `purpose`."""
        seed = self.seed("map", purpose, "view")
        own = self.ranks.share(samples.rows, least=1)
        stream = samples.source.stream(own, EVALUATION_BATCH, view, seed)
        return self.ranks.gathered(torch.cat([fn(x.to(self.device)) for x in stream]), samples.rows)

    def fit(self, phase: Phase) -> None:
        """Optimise what `phase.trains` lists, or take up what a run that shares it did; then put it back to rest.

        Raises NonFiniteLoss and Stopped, and Busy where another run trains the same.
        """
        if any(done["name"] == phase.name for done in self.phases):
            raise ValueError(f"phase names are addresses, unique within a task: {phase.name}")
        trainables.place(phase.trains, self.device)
        with self._placed(phase) as self._place:
            self._fit(phase)

    def _fit(self, phase: Phase) -> None:
        params = trainables.thaw(phase.trains)
        trainables.adapt(phase.adapts)
        recipe = phase.recipe
        optimiser = sgd(params, recipe, self.engine)
        first, log = self._resume(phase, optimiser)
        log["parameters"] = sum(p.numel() for p in params)
        before = self.trained
        self.phases.append(log)
        self.ranks.agree(f"phase {phase.name}", [first, phase.data.rows, trainables.weights(phase.trains)])
        steps = Steps(phase, optimiser, params, self.engine, self.ranks)
        saved_at = time.monotonic()
        for epoch in range(first, recipe.epochs):
            started = time.monotonic()
            losses = self._epoch(phase, optimiser, steps, epoch)
            self.ranks.average([*phase.trains, *phase.adapts])
            seconds = time.monotonic() - started
            log["seconds"] += seconds
            log["images"] += phase.views * len(phase.data)
            log["way"] = steps.way
            for term, value in losses.items():
                log["losses"].setdefault(term, []).append(value)
            rate = phase.views * len(phase.data) / max(seconds, 1e-9)
            at = (self.task.index, self._tasks, phase.name, epoch, recipe.epochs)
            stop = self._observe(Progress(*at, losses, rate, trained=before + epoch + 1))
            if stop or epoch == recipe.epochs - 1 or time.monotonic() - saved_at >= self._every:
                if self.device.type == "cuda":
                    log["peak_bytes"] = max(log["peak_bytes"], torch.cuda.max_memory_allocated(self.device))
                self._save(phase, optimiser, epoch, log)
                saved_at = time.monotonic()
            if stop:
                raise Stopped
        trainables.rest([*phase.trains, *phase.adapts])
        torch.manual_seed(self.seed(phase.name, "end"))

    def _epoch(self, phase: Phase, optimiser: torch.optim.SGD, steps: Steps, epoch: int) -> dict[str, float]:
        """Run one epoch and return the mean of each loss term per image; the sums stay on the device until its end."""
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(phase.recipe, epoch)
        torch.manual_seed(self.seed(phase.name, epoch, "model", *self.ranks.address))
        try:
            for batch in self._batches(phase.data, phase.recipe.batch_size, phase.name, epoch, views=phase.views):
                steps(batch)
            sums = steps.sums()
        except NonFinite as bad:
            terms = ", ".join(f"{name} is {value}" for name, value in bad.terms.items())
            raise NonFiniteLoss(
                f"task {self.task.index}, phase {phase.name}, epoch {epoch}, step {bad.step}, "
                f"learning rate {learning_rate(phase.recipe, epoch):g}: {terms}",
                *defined(phase.loss),
            ) from None
        return {name: total / max(len(phase.data), 1) for name, total in sums.items()}

    def _batches(
        self, samples: Samples, size: int, *address: object, views: int = 1, dealt: bool = False
    ) -> Iterator[Batch]:
        """Yield the samples shuffled and augmented; order and views are functions of the address."""
        order, first = self.seed(*address, "order"), self.seed(*address, "view")
        seeds = [first, *(self.seed(*address, "view", k) for k in range(1, views))]
        return batches(samples, size, self.device, self.ranks, order=order, views=seeds, dealt=dealt)

    def _placed(self, phase: Phase) -> AbstractContextManager[Folder | None]:
        """Return what gives the place of the phase's checkpoint: this run's own, or where runs share it."""
        own = None if self._folder is None else self._folder / f"task{self.task.index:03d}-{phase.name}.pt"
        if self._sharing is None or (own is not None and own.exists()):  # begun alone, it goes on alone
            return nullcontext(own)
        key = self._sharing.key(phase, self.task, self._seed, self.engine)
        return self._sharing.claimed(key, phase, self._writer.wait) if key else nullcontext(own)

    def _save(self, phase: Phase, optimiser: torch.optim.SGD, epoch: int, log: dict[str, Any]) -> None:
        if self._place is not None and self.ranks.leads:
            weights, momentum = trainables.weights([*phase.trains, *phase.adapts]), optimiser.state_dict()["state"]
            saved = {"epoch": epoch, "weights": weights, "momentum": momentum, "log": log}
            self._writer.save(self._place, self._sharing.sealed(self._place, saved) if self._sharing else saved)
            if self._every == 0:  # then no more than one epoch is ever to be lost
                self._writer.wait()

    def _resume(self, phase: Phase, optimiser: torch.optim.SGD) -> tuple[int, dict[str, Any]]:
        """Return the first epoch left to train and the phase's log so far."""
        saved = (self._sharing or self.ranks).load(self._place)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        if saved is None or "momentum" not in saved:  # or of an earlier version, which costs time only
            begun = {"images": 0, "seconds": 0.0, "parameters": 0, "peak_bytes": 0, "losses": {}}
            return 0, {"name": phase.name, "epochs": phase.recipe.epochs, **begun}
        trainables.restore([*phase.trains, *phase.adapts], saved["weights"])
        optimiser.load_state_dict({**optimiser.state_dict(), "state": saved["momentum"]})
        log = saved["log"] if self._sharing is None else self._sharing.marked(saved, phase)
        return saved["epoch"] + 1, log
