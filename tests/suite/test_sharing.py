"""Runs of one results folder that begin alike: who trains, who waits, and what their records say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from suite import attempt as attempting
from suite import cleaning, local, logs, sharing
from suite.events import Event
from suite.launch import LaunchOptions
from suite.provenance import sources
from suite.queue import Queue
from suite.spec import Allocation, RunSpec
from suite.store import Store
from suite.tally import Run, Tally
from tests.suite.runs_for_tests import Clock, recipe, spec

ALIKE = [spec(), spec(method="finetune"), spec(method="wa")]


def options(root: Path, **changes: Any) -> LaunchOptions:
    place: dict[str, Any] = {"root": root, "data": root, "address": "none", "gpus_per_run": 0}
    return LaunchOptions(**place, checkpoint_seconds=0, **changes)


def launched(specs: list[RunSpec], root: Path, **changes: Any) -> list[Event]:
    events: list[Event] = []
    outcome = local.launch(specs, options(root, **changes), events.append, lambda: False)
    assert sorted(outcome.finished) == sorted(spec.key for spec in specs)
    return events


def mark(root: Path, run: RunSpec) -> str:
    phases = [phase for task in Store.open(root).read(run.key).tasks for phase in task.phases]
    assert all("shared" not in phase for phase in phases[1:])
    return str(phases[0].get("shared", ""))


def entries(root: Path) -> list[Path]:
    return sorted(sharing.folder(root).glob("*.pt"))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("together")
    launched(ALIKE, root)
    return root


def test_one_trains_for_all_and_nothing_else_differs(together: Path, tmp_path: Path) -> None:
    launched(ALIKE, tmp_path, share=False)
    assert not sharing.folder(tmp_path).exists()
    assert len(entries(together)) == 1
    assert [mark(together, run) for run in ALIKE] == ["", ALIKE[0].key, ALIKE[0].key]
    for run in ALIKE:
        one, other = Store.open(together).read(run.key), Store.open(tmp_path).read(run.key)
        assert one.digest() == other.digest()
        assert mark(tmp_path, run) == ""
    trained = Store.open(together).read(ALIKE[0].key).tasks[0].phases[0]["seconds"]
    for run in ALIKE:
        first = Store.open(together).read(run.key).tasks[0]
        assert first.phases[0]["seconds"] == trained
        assert first.seconds["learn"] >= trained


def facts(run: RunSpec, data: str = "d", **environment: Any) -> dict[str, Any]:
    around = {"torch": "2", "threads": 1, "device": "cpu", "host": "a", "engine": "auto", "ray": "2", **environment}
    found: dict[str, Any] = json.loads(sharing.sharing(Path("root"), run, around, data).facts)
    return found


def test_what_shows_in_the_first_task_is_in_the_key() -> None:
    one, base = spec(), facts(spec())
    assert base["code"] == sources()
    other = [
        facts(spec(seed=1)),
        facts(replace(one, order_seed=1994)),
        facts(replace(one, precision="bf16")),
        facts(spec(backbone="resnet14")),
        facts(spec(dataset=replace(one.protocol.dataset, mean=(0.1, 0.2, 0.3)))),
        facts(one, data="e"),
        facts(one, threads=2),
        facts(one, torch="3"),
        facts(one, device="gpu"),
    ]
    texts = {json.dumps(each, sort_keys=True) for each in [base, *other]}
    assert len(texts) == 1 + len(other)


def test_what_does_not_is_not() -> None:
    one = spec()
    share = Allocation(one.protocol.backbone, 10, 2**20)
    same = [
        spec(method="finetune"),
        spec(epochs=2),  # which the recipe of the phase tells
        spec(base=4, increment=2),  # as its images do
        replace(one, smoke=True),
        replace(one, plugin="abc"),
        replace(one, allocation=share),
    ]
    assert [facts(each) for each in same] == [facts(one)] * len(same)
    assert facts(one, host="b", ray="3", engine="eager") == facts(one)  # the phase says which way it goes


def test_what_is_new_of_a_run_parts_it_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    before = facts(spec())
    known = RunSpec.identity
    monkeypatch.setattr(RunSpec, "identity", lambda self: {**known(self), "something": 2})
    assert facts(spec()) == {**before, "something": 2}


def test_another_recipe_is_another_first_task(together: Path) -> None:
    root = together.with_name("another")
    shutil.copytree(sharing.folder(together), sharing.folder(root))
    other = spec(config={"initial": recipe(2)})
    launched([other], root)
    assert (mark(root, other), len(entries(root))) == ("", 2)


OTHER = """
import sys
from pathlib import Path
from suite import local
from suite.launch import LaunchOptions
from tests.suite.runs_for_tests import spec

def observe(event):
    if event.kind == "progress" and event.fields["trained"] == 1:
        print("trains", flush=True)
        sys.stdin.readline()

root = Path(sys.argv[1])
options = LaunchOptions(root=root, data=root, address="none", gpus_per_run=0, checkpoint_seconds=0)
local.launch([spec(epochs=2)], options, observe, lambda: False)
"""


@pytest.mark.parametrize("fate", ["goes on", "is killed"])
def test_while_another_process_trains_the_first_task_other_work_goes_first(
    fate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempting, "SOON", 0.01)
    theirs, waiting, other = spec(epochs=2), spec(method="wa", epochs=2), spec(seed=1)
    command = [sys.executable, "-c", OTHER, str(tmp_path / "root")]
    here = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=here, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "trains\n"  # and stays in its first epoch
        events: list[Event] = []

        def observe(event: Event) -> None:
            events.append(event)
            if (event.kind, event.key) == ("finished", other.key):
                if fate == "is killed":
                    process.kill()
                assert process.stdin is not None
                process.stdin.close()

        outcome = local.launch([waiting, other], options(tmp_path / "root"), observe, lambda: False)
        process.wait()
    assert outcome.finished == [other.key, waiting.key]
    away = [event for event in events if event.kind == "elsewhere"]
    assert {event.key for event in away} == {waiting.key}
    assert mark(tmp_path / "root", waiting) == ("" if fate == "is killed" else theirs.key)
    launched([waiting], tmp_path / "alone", share=False)
    found = [Store.open(tmp_path / name).read(waiting.key).digest() for name in ("root", "alone")]
    assert found[0] == found[1]
    text = logs.path(tmp_path / "root", waiting.key).read_text()
    assert text.count("another run trains its first task") == 1  # however often it is tried


def test_a_run_alone_does_not_wait_for_one_that_was_killed(together: Path, tmp_path: Path) -> None:
    shutil.copytree(sharing.folder(together), sharing.folder(tmp_path))
    (entry,) = entries(tmp_path)
    entry.unlink()  # its lock is there, and nobody holds it
    assert (sharing.folder(tmp_path) / f"{entry.stem}.lock").exists()
    events = launched([ALIKE[1]], tmp_path)
    assert [event for event in events if event.kind == "elsewhere"] == []
    assert mark(tmp_path, ALIKE[1]) == ""
    assert entries(tmp_path) == [entry]


def test_the_longer_the_wait_the_later_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = attempting._Wait("key", since=100.0)
    pauses = []
    for now in (100.0, 150.0, 10_000.0):
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        pauses.append(wait.event("run").fields["pause"])
    assert pauses == [2.0, 5.0, 30.0]


def test_the_queue_offers_it_again_when_it_says() -> None:
    clock = Clock()
    queue = Queue(["a", "b"], clock=clock)
    event = Event("elsewhere", "a", {"shared": "k", "pause": 7.0})
    assert queue.claim("lane").key == "a"
    queue.report("lane", "a", [event])
    assert queue.claim("lane").key == "b"
    queue.report("lane", "b", [Event("finished", "b")])
    clock.now += 6.0
    assert queue.claim("lane").wait == pytest.approx(1.0)
    clock.now += 1.5
    assert queue.claim("lane").key == "a"
    queue.report("lane", "a", [event])  # told each time, or it would be taken for running
    assert [each.kind for each in queue.look().events if each.key == "a"] == ["claimed", "elsewhere"] * 2


def test_a_run_that_waits_is_counted_as_waiting_and_what_others_trained_as_done() -> None:
    clock = Clock()
    tally = Tally({"a": Run("a", 10.0)}, clock)
    tally.add(Event("claimed", "a", {"lane": "one"}))
    tally.add(Event("elsewhere", "a", {"shared": "k", "pause": 2.0}))
    assert (tally.count("waiting"), tally.count("running", "elsewhere")) == (1, 0)
    tally.add(Event("claimed", "a", {"lane": "one"}))
    tally.add(Event("task", "a", {"task": 0, "tasks": 5, "trained": 6, "work": 0, "losses": []}))
    assert (tally.runs["a"].left, tally.gained) == (4.0, 0.0)


def test_gc_takes_first_tasks_that_nobody_wants(together: Path, tmp_path: Path) -> None:
    shutil.copytree(together, tmp_path / "root")
    store = Store.open(tmp_path / "root")
    (entry,) = entries(store.root)
    lock = entry.with_suffix(".lock")

    def found(**how: bool) -> set[Path]:
        return {waste.path for waste in cleaning.waste(store, **how)} & {entry, lock}

    assert found() == set()
    assert found(unfinished=True) == {entry, lock}
    old = time.time() - cleaning.UNUSED - 60
    os.utime(entry, (old, old))
    assert found() == {entry, lock}
    with FileLock(lock):
        assert found(unfinished=True) == set()
    os.utime(entry, (old, old))
    launched([spec(method="lwf")], store.root)  # which takes it up
    assert found() == set()
    entry.unlink()
    assert found() == {lock}
