"""Conformance: what the engine promises of every method, over the registry. A new method is covered by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from grace.learner import Learner
from grace.methods import METHODS, method
from grace.nets.incremental import IncrementalNet
from grace.run import TaskRecord
from grace.streams.protocol import Budget
from grace.streams.stream import tasks
from grace.training import checkpoint
from grace.training.trainer import Progress, Stopped, Trainer
from tests.grace.streams_for_tests import (
    PROTOCOL,
    SPEC,
    TINY_PARAMETERS,
    WIDTH,
    Spy,
    build,
    data,
    lasting,
    run,
    weights,
)

# Every method as it comes, and where a method's path depends on what it measures, each path.
CASES: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in METHODS} | {
    "grace, always compressing": ("grace", {"threshold": 1.1, "decay": 1.0}),
    "grace, never compressing": ("grace", {"threshold": 0.0}),
    "grace, compressing in turns": ("grace", {"threshold": 1.01, "decay": 0.01}),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return CASES[request.param]


def test_learns_above_chance(case: tuple[str, dict[str, Any]]) -> None:
    name, fields = case
    records = run(build(name, epochs=12, **fields))
    assert len(records) == 3
    assert records[0].accuracy > 0.75  # chance is 1/2
    assert records[-1].accuracy > 0.3  # chance is 1/6, and 1/3 for a learner that knows only the last task
    newest = records[-1].labels >= records[-1].known
    best = next(iter(records[-1].predictions.values()))[:, 0]
    assert float((best == records[-1].labels)[newest].double().mean()) > 0.4


def test_holds_only_what_it_declares_and_rests_frozen(case: tuple[str, dict[str, Any]]) -> None:
    name, fields = case
    learner = build(name, **fields)
    run(learner)
    assert set(vars(learner)) == {"config", "net", "memory", "state"}
    assert not any(p.requires_grad for p in learner.net.parameters())
    assert not any(m.training for m in learner.net.modules())


@pytest.mark.parametrize("budget", [Budget(18), Budget(4, "class"), Budget(0)], ids=str)
def test_reads_only_what_it_was_handed_and_stays_within_memory(
    case: tuple[str, dict[str, Any]], budget: Budget
) -> None:
    name, fields = case
    learner = build(name, epochs=1, budget=budget, **fields)
    train, test = data()
    spy, unseen = Spy(train), Spy(test)
    for task in tasks(PROTOCOL, spy, unseen, cumulative=learner.cumulative):
        spy.read.clear()
        handed = {*task.train.rows.tolist(), *learner.memory.samples(spy).rows.tolist()}
        trainer = Trainer(task, seed=0, device=torch.device("cpu"))
        learner.learn(task, trainer)
        learner.remember(task, trainer)
        learner.readouts(task, trainer)
        assert spy.read <= handed
        assert set(task.train.rows.tolist()) <= spy.read
        limit = budget.exemplars if budget.per == "total" else budget.exemplars * task.seen
        assert len(learner.memory) <= (limit if learner.uses_memory else 0)
        assert all(len(rows) == budget.share(task.seen) for rows in learner.memory.by_class.values())
    assert not unseen.read  # test images are the engine's business


def test_two_runs_are_one_and_another_seed_is_another(case: tuple[str, dict[str, Any]]) -> None:
    name, fields = case
    first, second, other = (build(name, **fields) for _ in range(3))
    expected = [lasting(r) for r in run(first)]
    assert [lasting(r) for r in run(second)] == expected
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))
    assert [lasting(r) for r in run(other, seed=1)] != expected


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def attempt_until_done(start: Any) -> tuple[Learner, list[TaskRecord], int]:
    """Call `start` again after every kill; return what the last attempt gave and the number of kills."""
    for kills in range(200):
        try:
            return (*start(), kills)
        except (Killed, Stopped):
            continue
    raise AssertionError("no progress from one kill to the next")


@pytest.mark.parametrize("moment", ["in an epoch", "asked to stop", "after a save", "before a save", "in evaluation"])
def test_resumes_bit_for_bit_wherever_it_is_killed(
    case: tuple[str, dict[str, Any]], moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, fields = case
    whole = build(name, **fields)
    epochs: list[Progress] = []
    expected = run(whole, folder=tmp_path / "whole", observe=lambda p: bool(epochs.append(p)))
    folder = tmp_path / "cut"
    real_save, real_remember = checkpoint.save, Learner.remember
    remembered: set[int] = set()

    def start() -> tuple[Learner, list[TaskRecord]]:
        learner = build(name, **fields)
        seen: list[Progress] = []
        saves: list[Path] = []

        def observe(progress: Progress) -> bool:
            seen.append(progress)
            if moment == "in an epoch" and len(seen) == 2:
                raise Killed  # the first epoch of this attempt is saved, the second is lost
            return moment == "asked to stop"

        def save(path: Path, state: dict[str, Any]) -> None:
            saves.append(path)
            if moment == "before a save" and len(saves) == 2:
                raise Killed
            real_save(path, state)
            if moment == "after a save":
                raise Killed

        def remember(self: Learner, task: Any, trainer: Trainer) -> None:
            real_remember(self, task, trainer)
            if moment == "in evaluation" and task.index not in remembered:
                remembered.add(task.index)
                raise Killed

        monkeypatch.setattr(checkpoint, "save", save)
        monkeypatch.setattr(Learner, "remember", remember)
        return learner, run(learner, folder=folder, observe=observe, checkpoint_seconds=0.0)

    learner, records, kills = attempt_until_done(start)
    trained = sum(p.phase != "evaluate" for p in epochs)
    assert kills >= (3 if moment == "in evaluation" else trained - 1)
    assert [lasting(r) for r in records] == [lasting(r) for r in expected]
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(learner), strict=True))
    assert learner.state == whole.state
    assert {k: v.tolist() for k, v in learner.memory.by_class.items()} == {
        k: v.tolist() for k, v in whole.memory.by_class.items()
    }
    assert sorted(p.name for p in folder.iterdir()) == ["stream.pt"]


def test_a_damaged_checkpoint_costs_time_only(case: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    name, fields = case
    expected = [lasting(r) for r in run(build(name, **fields))]

    def observe(progress: Progress) -> bool:
        return progress.task == 1 and progress.epoch == 1

    with pytest.raises(Stopped):
        run(build(name, **fields), folder=tmp_path, observe=observe, checkpoint_seconds=0.0)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert [lasting(r) for r in run(build(name, **fields), folder=tmp_path)] == expected


def test_footprint_is_the_closed_form(case: tuple[str, dict[str, Any]]) -> None:
    name, fields = case
    learner_class, _ = method(name)
    for t, record in enumerate(run(build(name, epochs=1, **fields))):
        held = record.footprint
        fixed = {"fixed": 1, "per-task": t + 1}
        branches = fixed[learner_class.growth] if learner_class.growth in fixed else record.notes["backbones"]
        classes = 2 * (t + 1)
        assert held.backbone_parameters == branches * TINY_PARAMETERS
        assert held.head_parameters == (WIDTH * branches + 1) * classes
        assert held.parameters == held.backbone_parameters + held.head_parameters
        assert held.buffer_numbers == branches * 2 * (2 * 8 + 1)  # mean, variance and counter of two batch norms
        assert held.state_numbers == 0
        assert held.model_bytes == 4 * held.parameters + branches * 2 * (2 * 8 * 4 + 8)
        assert held.exemplars == (classes * (18 // classes) if learner_class.uses_memory else 0)
        assert held.exemplar_bytes == held.exemplars * 3 * 8 * 8


def test_records_tell_everything_a_table_needs(case: tuple[str, dict[str, Any]]) -> None:
    name, fields = case
    records = run(build(name, **fields))
    for t, record in enumerate(records):
        json.dumps([record.notes, record.phases])  # plain values only
        assert (record.task, record.known, record.seen) == (t, 2 * t, 2 * t + 2)
        assert set(record.labels.tolist()) == set(range(record.seen))
        for best in record.predictions.values():
            assert best.shape == (len(record.labels), min(5, record.seen))
            assert all(len(set(row)) == len(row) and max(row) < record.seen for row in best.tolist())
        assert record.phases
        for phase in record.phases:
            assert all(len(values) == phase["epochs"] for values in phase["losses"].values())
            assert phase["seconds"] > 0
            assert phase["images"] > 0
            assert phase["parameters"] > 0
        assert set(record.seconds) == {"learn", "remember", "evaluate"}
    readouts = ["linear", "nme"] if method(name)[0].uses_memory else ["linear"]
    assert [list(r.predictions) for r in records] == [readouts] * 3


def test_class_variables_are_declared(case: tuple[str, dict[str, Any]]) -> None:
    learner_class, config = method(case[0])
    assert learner_class.title
    assert learner_class.family in ("floor", "single backbone", "expansion", "upper bound")
    assert learner_class.cumulative == (learner_class.family == "upper bound")
    assert (learner_class.__doc__ or "").strip()
    config()  # defaults are valid


def test_a_run_on_unequal_tasks(case: tuple[str, dict[str, Any]]) -> None:
    name, fields = case
    from dataclasses import replace

    uneven = replace(PROTOCOL, name="uneven", base=3, increment=2, budget=Budget(12))
    assert uneven.increments == (3, 2, 1)
    records = run(build(name, epochs=1, budget=uneven.budget, **fields), uneven)
    assert [r.seen for r in records] == [3, 5, 6]


def test_blank_nets_share_nothing() -> None:
    net = build("replay").net
    assert isinstance(net.blank(), IncrementalNet)
    assert net.blank() is not net
    assert SPEC.bytes_per_image == 192
