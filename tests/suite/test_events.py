"""What a real run tells of itself, beside what its record says."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch

from suite import local
from suite.events import MEASURED, Event, ready
from suite.launch import LaunchOptions
from suite.store import Store
from tests.suite.runs_for_tests import TASKS, spec


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def options(tmp_path: Path) -> LaunchOptions:
    return LaunchOptions(root=tmp_path, data=tmp_path, address="none", gpus_per_run=0, checkpoint_seconds=0)


def test_a_task_tells_what_its_record_says(options: LaunchOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.attempt.EVERY", 0.0)
    run, events = spec(epochs=2), list[Event]()
    local.launch([run], options, events.append, lambda: False)
    record = Store.open(options.root).read(run.key)
    told = [event.fields for event in events if event.kind == "task"]
    assert len(told) == len(record.tasks) == TASKS
    for fields, task in zip(told, record.tasks, strict=True):
        assert set(MEASURED) < set(fields)
        best, held = task.predictions[next(iter(task.predictions))][:, 0], task.footprint
        right, old = best == task.labels, task.labels < task.known
        assert fields["accuracy"] == pytest.approx(right.mean())
        assert fields["new"] == pytest.approx(right[~old].mean())
        assert fields["old"] == (pytest.approx(right[old].mean()) if task.known else None)
        assert (fields["seen"], fields["parameters"]) == (task.seen, held["parameters"])
        assert fields["memory_bytes"] == held["model_bytes"] + held["exemplar_bytes"]
        assert fields["backbones"] == 1
    epochs = [event for event in events if event.kind == "progress"]
    assert [event.fields["trained"] for event in epochs] == list(range(1, 2 * TASKS + 1))
    losses = [loss for event in events for loss in event.fields.get("losses", ())]
    assert [trained for trained, *_ in losses] == list(range(1, 2 * TASKS + 1))
    of_record = [value for task in record.tasks for phase in task.phases for value in phase["losses"]["ce"]]
    assert [terms["ce"] for *_, terms in losses] == pytest.approx(of_record)


def test_epochs_keep_their_numbers_when_a_run_goes_on(options: LaunchOptions) -> None:
    run, before, after = spec(epochs=2), list[Event](), list[Event]()
    local.launch([run], options, before.append, lambda: any(event.kind == "task" for event in before[:-1]))
    local.launch([run], options, after.append, lambda: False)
    steps = [
        [trained for event in events for trained, *_ in event.fields.get("losses", ())] for events in (before, after)
    ]
    assert sorted(steps[0] + steps[1])[-1] == 2 * TASKS
    assert min(steps[1]) > 1
    assert [event.fields["trained"] for event in after if event.kind == "task"][-1] == 2 * TASKS


def test_few_events_tell_of_every_epoch(options: LaunchOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.attempt.EVERY", 1e9)
    events: list[Event] = []
    local.launch([spec(epochs=3)], options, events.append, lambda: False)
    assert sum(event.kind == "progress" for event in events) == 1  # the first
    losses = [trained for event in events for trained, *_ in event.fields.get("losses", ())]
    assert losses == list(range(1, 3 * TASKS + 1))


@pytest.mark.parametrize(
    ("visible", "device"), [(None, "gpu0"), ("3", "gpu3"), ("2,5", "gpu2"), ("MIG-c6d4f1ef", "gpu"), ("", "gpu")]
)
def test_where_a_lane_is(monkeypatch: pytest.MonkeyPatch, visible: str | None, device: str) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    where = {"lane": "lane0", "state": "ready", "host": socket.gethostname()}
    assert ready("lane0", True).fields == {**where, "device": device}
    assert ready("lane0", False).fields == {**where, "device": "cpu"}
