"""Searches on Ray Tune: a trial is a function in an actor that others use after it; those behind are stopped early.

Which settings are tried is settled beforehand (`suite.space.drawn`): Tune places the trials, retries those whose
process died, and its ASHA says which are behind. What trials have learned is in the search's notebook, so a search that
was killed goes on from there; trials that are over are told to Tune again, as the others are measured by them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from suite.errors import Exit, SuiteError
from suite.events import Event
from suite.lanes import driver
from suite.lanes.lane import cause
from suite.lanes.nodes import Nodes
from suite.lanes.process import Ended
from suite.launch import LaunchOptions, Observe
from suite.search import Kept, Notebook, Search, Trial, carry_out, ended
from suite.slots import lacking, room

DEATHS = 2  # of a trial's process, after which one more fails it
HALVING = 2  # of the trials at a task, this part goes on
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the notebook holds what there is to know
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails in its first task has no score
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "30",  # for a stopped trial to let go of its actor
}
OBSERVERS: list[Observe] = []  # of this driver: Tune pickles its callbacks, and a pipe cannot be pickled


@dataclass(frozen=True)
class Job:
    """What every trial is told."""

    search: Search
    notebook: Notebook
    options: LaunchOptions
    stop: Path  # is there when all are to save and leave
    count: int  # trials at a time


def main() -> None:
    """Be the process that holds Ray for a search."""
    os.environ.update(QUIET)
    driver.main(_searched)


def _searched(
    given: Sequence[Any],
    options: LaunchOptions,
    code: Mapping[str, Any],
    folder: Path,
    tell: driver.Tell,
    asked: Callable[[], bool],
) -> Ended:
    """Carry out a search, of which `given` are the description and the notebook; raises SuiteError."""
    search, notebook = given
    OBSERVERS.append(tell)
    nodes = Nodes(None if options.address is None else options.root, folder, lambda text: tell(driver.noted(text)))
    nodes.begin()
    options, (place, *_) = driver.measure(options, nodes)
    count = room(nodes.resources, place)
    if not count:
        raise SuiteError(lacking(nodes.resources, place), Exit.ENVIRONMENT)
    job = Job(search, notebook, options, folder / "stop", min(count, options.max_concurrent or count))
    threading.Thread(target=_pass_on, args=(asked, job.stop), daemon=True).start()

    def work(trials: Sequence[Trial], halving: bool) -> bool:
        # those that are over come first: they are what the others are measured by
        ordered = sorted(trials, key=lambda trial: not notebook.over(trial))
        if not all(notebook.over(trial) for trial in ordered):
            _fit(job, ordered, halving)
        return job.stop.exists()

    return Ended(stopped=carry_out(search, notebook, work))


def _pass_on(asked: Callable[[], bool], stop: Path) -> None:
    """Leave the wish to stop where every node sees it."""
    while not asked():
        threading.Event().wait(0.2)
    stop.touch()


def _fit(job: Job, trials: Sequence[Trial], halving: bool) -> None:
    """Have Tune work on trials, as many at a time as there is room for."""
    options = job.options
    resources = {"cpu": float(options.cpus_per_run)} | ({"gpu": options.gpus_per_run} if options.gpus_per_run else {})
    tune.Tuner(
        tune.with_resources(tune.with_parameters(_trial, job=job, trials=list(trials)), resources),
        param_space={"index": tune.grid_search(list(range(len(trials))))},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            scheduler=_Halving(job.search, trials) if halving else None,
            reuse_actors=True,
            max_concurrent_trials=job.count,
        ),
        run_config=tune.RunConfig(
            name="halving" if halving else "confirming",
            storage_path=str(job.stop.parent),
            failure_config=tune.FailureConfig(max_failures=DEATHS),
            callbacks=[_Watch(job, trials)],
            verbose=0,
        ),
    ).fit()


def _trial(config: dict[str, Any], job: Job, trials: Sequence[Trial]) -> None:
    """Be one trial, in an actor; what that needs is imported there."""
    from suite.trial import work_on

    def tell(tasks: int, score: float) -> None:
        tune.report({"tasks": tasks, "score": score})

    work_on(job.search, trials[config["index"]], job.notebook, job.options, tell, job.stop.exists)


class _Halving(AsyncHyperBandScheduler):
    """ASHA over tasks, but for the settings in use: all others are compared with their whole score."""

    def __init__(self, search: Search, trials: Sequence[Trial]) -> None:
        super().__init__(
            "tasks", max_t=search.tasks, grace_period=search.grace, reduction_factor=HALVING, stop_last_trials=False
        )
        self._own = {index for index, trial in enumerate(trials) if trial.number == 0}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return what is to become of a trial after a task."""
        found: str = super().on_trial_result(tune_controller, trial, result)
        return TrialScheduler.CONTINUE if trial.config["index"] in self._own else found


class _Watch(tune.Callback):
    """Tells of trials as Tune sees them, and keeps which of them it stopped or gave up."""

    def __init__(self, job: Job, trials: Sequence[Trial]) -> None:
        self._job, self._trials = job, trials
        self._before = {trial.name for trial in trials if job.notebook.over(trial)}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell that a trial has a place."""
        self._tell(Event("claimed", self._of(trial).name))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Tell of a task."""
        if "tasks" in result:
            fields = {name: result[name] for name in ("tasks", "score")}
            self._tell(Event("task", self._of(trial).name, fields))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell how a trial ended; one that has tasks left was behind, unless all are to stop."""
        one = self._of(trial)
        kept = self._job.notebook.read(one) or Kept(one)
        if kept.state == "running":
            if self._job.stop.exists():
                return
            kept = replace(kept, state="stopped")
            self._job.notebook.write(kept)
            self._job.notebook.clean(one)
        self._tell(ended(kept))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell of a trial whose process died too often."""
        one = self._of(trial)
        error = trial.get_pickled_error() or trial.get_error() or "its process ended"
        reason = cause(error) if isinstance(error, BaseException) else str(error)
        kept = self._job.notebook.read(one) or Kept(one)
        kept = replace(kept, state="failed", kind="crashed", reason=reason)
        self._job.notebook.write(kept)
        self._tell(ended(kept))

    def _of(self, trial: Any) -> Trial:
        return self._trials[int(trial.config["index"])]

    def _tell(self, event: Event) -> None:
        if event.key not in self._before:  # the others were over before
            for observe in OBSERVERS:
                observe(event)
