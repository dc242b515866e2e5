"""Data-parallel runs on a Ray of our own: two workers train one run, a kill of one of them changes nothing."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from grace.training.parallel import RankLost, Ranks
from suite import lanes
from suite.attempt import attempt
from suite.errors import Exit, SuiteError
from suite.events import Event
from suite.execute import execute
from suite.lanes.ranks import leading, workers_of
from suite.launch import LaunchOptions
from suite.slots import lacking, room, slot
from suite.spec import RunSpec
from suite.store import Store
from tests.grace.ranks_for_tests import Pair
from tests.suite.runs_for_tests import spec, too_many_exemplars
from tests.suite.test_lanes import mark, marked

__all__ = ["mark"]  # a fixture
EPOCHS = 20


def done(ranks: Ranks, run: RunSpec, folder: Path) -> str:
    record = execute(run, folder, data=folder, download=False, threads=1, device=torch.device("cpu"), engine="auto",
                     checkpoint_seconds=60.0, observe=lambda progress: False, origin={}, ranks=ranks)  # fmt: skip
    return record.digest()


@pytest.mark.ray
@pytest.mark.timeout(600)  # two starts of two workers, on machines that may be busy
def test_a_kill_of_a_worker_changes_nothing(tmp_path: Path, mark: str) -> None:
    """One of two workers is killed in mid-run; the group goes on. Another two processes come to the same record."""
    run, bad = replace(spec(epochs=EPOCHS), workers=2), replace(too_many_exemplars(), workers=2)
    options = LaunchOptions(root=tmp_path / "results", data=tmp_path, gpus_per_run=0, checkpoint_seconds=0.0)
    store, attempts, killed = Store.open(options.root, write=True), list[int](), list[int]()

    def observe(event: Event) -> None:
        if event.kind == "claimed" and event.key == run.key:
            attempts.append(event.fields["attempt"])
        if event.kind == "progress" and not killed and any(store.work(run.key).glob("*.pt")):
            killed.append(max(marked(mark, "ray::RayTrainWorker")))  # either will do
            os.kill(killed[0], signal.SIGKILL)

    outcome = lanes.launch([bad, run], options, observe, lambda: False)
    assert outcome.finished == [run.key]
    assert [failure.kind for failure in outcome.failed.values()] == ["data"]  # all ranks refused; they went on
    assert (len(killed), attempts) == (1, [1, 2])
    assert marked(mark) == []
    record = store.read(run.key)
    assert record.spec["workers"] == 2
    assert {phase["way"] for task in record.tasks for phase in task.phases} == {"eager, 2 ranks"}
    pair = Pair(tmp_path)
    try:
        one, other = pair(done, run, tmp_path / "undisturbed")
    finally:
        pair.close()
    assert record.digest() == one == other


def test_a_lost_rank_is_no_failure_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*arguments: Any, **options: Any) -> None:
        raise RankLost("rank 1: out of memory")

    monkeypatch.setattr("suite.attempt.execute", lose)
    options = LaunchOptions(root=tmp_path, data=tmp_path, gpus_per_run=0)
    store = Store.open(tmp_path, write=True)
    with pytest.raises(RankLost):
        attempt(spec(), store, options, lambda event: None, lambda: False, {})
    assert not store.failures()
    with pytest.raises(RankLost), leading(Ranks(0, 2)):  # nobody is told of it: there is no group any more
        raise RankLost("rank 1: out of memory")


def test_runs_of_a_launch_have_equally_many_workers() -> None:
    assert workers_of([]) == workers_of([spec()]) == 1
    assert workers_of([replace(spec(seed), workers=3) for seed in range(2)]) == 3
    with pytest.raises(SuiteError, match="runs of 1 and 2 workers are two sweeps") as caught:
        workers_of([spec(), replace(spec(), workers=2)])
    assert caught.value.code is Exit.USAGE


def test_a_lane_has_room_for_all_of_its_workers() -> None:
    nodes = [{"CPU": 3.0, "memory": 1e12}, {"CPU": 2.0, "memory": 1e12}]
    assert [room(nodes, slot(1, 1, 0, workers)) for workers in (1, 2, 5, 6)] == [5, 2, 1, 0]
    assert lacking(nodes, slot(1, 1, 0, 6)) == (
        "a run wants 6 times 1 CPUs and 0 GPUs; the largest node has 3 CPUs and 0 GPUs; "
        "lower --workers, --cpus-per-run or --gpus-per-run"
    )
