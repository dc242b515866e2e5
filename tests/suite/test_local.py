"""Launching in this process: order, outcomes, stopping, and two processes on one root."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from suite import launch as launching
from suite import local
from suite.errors import Exit, SuiteError
from suite.events import Event
from suite.launch import LaunchOptions, Outcome, launcher
from suite.store import Store
from tests.suite.runs_for_tests import spec, too_many_exemplars

ROOT = Path(__file__).parents[2]


@pytest.fixture
def options(tmp_path: Path) -> LaunchOptions:
    return LaunchOptions(root=tmp_path / "results", data=tmp_path, address="none", gpus_per_run=0, checkpoint_seconds=0)


def never() -> bool:
    return False


def test_several_workers_are_not_one(options: LaunchOptions) -> None:
    with pytest.raises(SuiteError, match="runs of 2 workers need Ray; leave --address none out"):
        launcher(options)([replace(spec(), workers=2)], options, lambda event: None, never)


def test_a_failed_run_does_not_stop_the_others(options: LaunchOptions) -> None:
    runs, events = [spec(0), too_many_exemplars(), spec(1)], list[Event]()
    outcome = launcher(options)(runs, options, events.append, never)
    assert outcome.finished == [runs[0].key, runs[2].key]
    assert list(outcome.failed) == [runs[1].key]
    assert outcome.failed[runs[1].key] == Store.open(options.root).failures()[runs[1].key]
    assert not outcome.stopped
    assert [event.key for event in events if event.kind == "claimed"] == [run.key for run in runs]


def test_the_same_launch_again_trains_nothing_and_retries_what_failed(options: LaunchOptions) -> None:
    runs = [spec(0), too_many_exemplars()]
    local.launch(runs, options, lambda event: None, never)
    events: list[Event] = []
    outcome = local.launch(runs, options, events.append, never)
    assert outcome.finished == [runs[0].key]
    assert list(outcome.failed) == [runs[1].key]
    assert [event.kind for event in events] == ["lane", "claimed", "finished", "claimed", "failed"]
    where = {"lane": "here", "state": "ready", "host": socket.gethostname(), "device": "cpu"}
    assert (events[0].fields, events[2].fields) == (where, {"already": True})


def test_stopping_saves_and_the_next_launch_ends_with_the_same_results(options: LaunchOptions, tmp_path: Path) -> None:
    runs, tasks = [spec(0), spec(1)], list[Event]()

    def note(event: Event) -> None:
        if event.kind == "task":
            tasks.append(event)

    outcome = local.launch(runs, options, note, lambda: len(tasks) >= 2)
    assert outcome == Outcome(stopped=True)
    assert Store.open(options.root).work(runs[0].key).is_dir()
    outcome = local.launch(runs, options, note, never)
    assert outcome.finished == [run.key for run in runs]
    assert len({(event.key, event.fields["task"]) for event in tasks}) == len(tasks)  # none was learned twice
    whole = LaunchOptions(root=tmp_path / "whole", data=tmp_path, gpus_per_run=0)
    local.launch(runs, whole, lambda event: None, never)
    for run in runs:
        assert Store.open(options.root).read(run.key).result() == Store.open(whole.root).read(run.key).result()


def test_ctrl_c_twice_stops_at_once(options: LaunchOptions) -> None:
    def interrupt(event: Event) -> None:
        if event.kind == "task":
            raise KeyboardInterrupt

    outcome = local.launch([spec(0), spec(1)], options, interrupt, never)
    assert outcome == Outcome(stopped=True)
    assert local.launch([spec(0)], options, lambda event: None, never).finished == [spec(0).key]


def test_a_wish_to_stop_that_comes_too_late_stops_nothing(options: LaunchOptions) -> None:
    events: list[Event] = []
    outcome = local.launch([spec(0)], options, events.append, lambda: any(e.kind == "finished" for e in events))
    assert outcome == Outcome(finished=[spec(0).key])


SECOND = """
import sys
from pathlib import Path
from suite import local
from suite.launch import LaunchOptions
from tests.suite.runs_for_tests import spec
import torch
torch.set_num_threads(1)
options = LaunchOptions(root=Path(sys.argv[1]), data=Path("."), gpus_per_run=0)
def show(event):
    print(event.kind, event.key, event.fields.get("already", False), flush=True)
outcome = local.launch([spec(seed) for seed in range(3)], options, show, lambda: False)
print("outcome", *outcome.finished)
"""


def test_two_launches_on_one_root_do_everything_once(options: LaunchOptions) -> None:
    runs, events = [spec(seed) for seed in range(3)], list[Event]()
    command = [sys.executable, "-c", SECOND, str(options.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as other:
        assert other.stdout is not None
        lines = [other.stdout.readline()]  # it is at work
        outcome = local.launch(runs, options, events.append, never)
        lines += other.stdout.readlines()
    assert sorted(outcome.finished) == sorted(run.key for run in runs)
    assert sorted(lines[-1].split()[1:]) == sorted(run.key for run in runs)
    here = [event.key for event in events if event.kind == "finished" and not event.fields.get("already")]
    there = [line.split()[1] for line in lines if line.startswith("finished") and line.endswith("False\n")]
    assert sorted(here + there) == sorted(run.key for run in runs)  # each was trained by one of the two
    assert sorted(Store.open(options.root).keys()) == sorted(run.key for run in runs)


def test_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    options = LaunchOptions(root=tmp_path / "file", data=tmp_path, address="none", gpus_per_run=0)
    with pytest.raises(SuiteError, match="is not a folder") as caught:
        local.launch([spec()], options, lambda event: None, never)
    assert caught.value.code is Exit.ENVIRONMENT


def test_nothing_to_do(options: LaunchOptions) -> None:
    assert local.launch([], options, lambda event: None, never) == Outcome()


def test_launching_here_needs_no_ray() -> None:
    probe = (
        "import sys; from suite.launch import *; from pathlib import Path;"
        "launcher(LaunchOptions(root=Path('.'), data=Path('.'), address='none'));"
        "sys.exit('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", probe], cwd=ROOT).returncode == 0
    assert launching.HERE == "none"
