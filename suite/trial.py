"""One trial of a search: a method learns the first tasks of a stream and is scored on held-out training images."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from grace.nets import backbone_factory
from grace.run import run_stream
from grace.streams.catalogue import DatasetSpec
from grace.streams.datasets import load
from grace.streams.protocol import Budget
from grace.streams.samples import Dataset
from grace.streams.stream import held_out
from grace.training.engine import Engine
from grace.training.trainer import Progress, Stopped
from suite.configure import build
from suite.diagnosis import failure_of
from suite.errors import Exit, SuiteError
from suite.execute import device_for, exact
from suite.launch import LaunchOptions
from suite.plugins import adopt, loaded
from suite.search import Kept, Notebook, Search, Trial

Tell = Callable[[int, float], None]  # tasks learned, mean accuracy after them


def work_on(
    search: Search,
    trial: Trial,
    notebook: Notebook,
    options: LaunchOptions,
    tell: Tell,
    should_stop: Callable[[], bool],
) -> Kept:
    """Work on a trial, going on from what is kept of it; what is over is told again, not trained again.

    Whatever a method raises makes it a failed one. What `tell` raises escapes: the trial is behind, and is stopped.
    """
    kept = notebook.read(trial) or Kept(trial)
    if kept.over:
        notebook.clean(trial)  # of a process that was killed before it could
        for count in range(1, len(kept.scores) + 1):
            tell(count, sum(kept.scores[:count]) / count)
        return kept
    if should_stop():
        return kept
    if kept.state == "failed":
        kept = Kept(trial)
    notebook.work(trial).parent.mkdir(parents=True, exist_ok=True)
    teller = _Teller(kept, search.tasks, notebook, tell, should_stop)
    try:
        _learn(search, trial, notebook.work(trial), options, teller)
    except Stopped:
        return teller.kept
    except Exception as error:
        if isinstance(error, SuiteError) and error.code == Exit.ENVIRONMENT:
            raise  # every other trial would meet it too
        why = failure_of(search.spec(trial), error)
        teller.kept = replace(teller.kept, state="failed", kind=why.kind, reason=why.reason, traceback=why.traceback)
        notebook.write(teller.kept)
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # trials that share the device may need what this one held
    notebook.clean(trial)
    return teller.kept


def _learn(search: Search, trial: Trial, folder: Path, options: LaunchOptions, teller: _Teller) -> None:
    threads, device = options.cpus_per_run, device_for(options.gpus_per_run)
    exact(threads, device, search.precision)
    for plugin in options.plugins:
        adopt(plugin)
    learner_class, config_class = loaded(search.method, search.plugin)
    config = build(config_class, trial.config, search.method)
    workers = max(int(device.type == "cuda"), threads - 1)
    order = search.protocol.class_order(search.order)
    images = training_images(search.protocol.dataset, options.data, order, options.download, workers, device)
    train, held = held_out(search.protocol, images, search.holdout, trial.seed, search.classes)
    stream = search.stream
    budget = stream.budget
    if budget.per == "class":  # what is held out cannot be kept
        budget = Budget(min(budget.exemplars, int(train.y.bincount().min())), "class")
    learner = learner_class(config, backbone_factory(stream.backbone, learner_class.signed), budget, device)
    records = run_stream(
        learner,
        replace(stream, budget=budget),
        train,
        held,
        seed=trial.seed,
        folder=folder,
        device=device,
        observe=teller,
        checkpoint_seconds=options.checkpoint_seconds,
        engine=Engine(search.precision, options.engine),
    )
    teller.finish([record.accuracy for record in records])


@lru_cache(maxsize=1)
def training_images(
    dataset: DatasetSpec, data: Path, order: tuple[int, ...], download: bool, workers: int, device: torch.device
) -> Dataset:
    """Return the training split, on the device where it is held whole. The test split is let go of here, unread."""
    train, _ = load(dataset, data, order, download=download, workers=workers)
    return train.to(device)


class _Teller:
    """Keeps a trial's score after every task, and then tells of it: who is told may end the trial there and then."""

    def __init__(self, kept: Kept, tasks: int, notebook: Notebook, tell: Tell, should_stop: Callable[[], bool]) -> None:
        self.kept, self._tasks, self._notebook = kept, tasks, notebook
        self._tell, self._should_stop = tell, should_stop
        self._before, self._started = kept.seconds, time.monotonic()
        for count in range(1, len(kept.scores) + 1):  # of a process that ended
            tell(count, sum(kept.scores[:count]) / count)

    def __call__(self, progress: Progress) -> bool:
        """Take in an epoch or a task; return whether to stop here."""
        if progress.phase == "evaluate" and progress.accuracy is not None and progress.task >= len(self.kept.scores):
            self._keep((*self.kept.scores, progress.accuracy))
        # after the last task the rest takes no time
        return self._should_stop() and not (progress.phase == "evaluate" and progress.task == self._tasks - 1)

    def finish(self, scores: list[float]) -> None:
        """Take in all scores: one may not have been heard of, if a process ended between a task and its telling."""
        if tuple(scores) != self.kept.scores or self.kept.state != "finished":
            self._keep(tuple(scores))

    def _keep(self, scores: tuple[float, ...]) -> None:
        seconds = self._before + time.monotonic() - self._started
        whole = len(scores) == self._tasks
        self.kept = replace(self.kept, scores=scores, seconds=seconds, state="finished" if whole else "running")
        with suppress(OSError):  # a score that could not be kept is one to compute again
            self._notebook.write(self.kept)
        self._tell(len(scores), sum(scores) / len(scores))
