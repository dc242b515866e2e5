"""Lanes on a Ray of our own: kills of a worker and of the whole, stopping, and what must not be left behind."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from suite import lanes, local
from suite.errors import Exit, SuiteError
from suite.events import Event
from suite.lanes.process import PATIENCE, Ended, own_folder
from suite.launch import LaunchOptions, Outcome, launcher
from suite.queue import DEATHS, Queue
from suite.slots import Slot
from suite.store import Store
from tests.suite.runs_for_tests import spec, too_many_exemplars

ROOT = Path(__file__).parents[2]
EPOCHS = 40  # of each of five tasks: some seconds
MARK = "GRACE_SUITE_TEST"  # an environment variable, by which whatever a test started is found

COMMAND = """
import json, sys
from pathlib import Path
from suite.launch import LaunchOptions, launcher
from tests.suite.runs_for_tests import spec, too_many_exemplars
root = Path(sys.argv[1])
options = LaunchOptions(root=root, data=root, max_concurrent=2, gpus_per_run=0, checkpoint_seconds=0.1)
runs = [too_many_exemplars(), *(spec(seed, epochs=40) for seed in range(2))]
def show(event):
    print(json.dumps([event.kind, event.key, event.fields]), flush=True)
launcher(options)(runs, options, show, lambda: False)
"""


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Mark everything that is started from here on; end what a failed test leaves behind."""
    value = uuid.uuid4().hex
    monkeypatch.setenv(MARK, value)
    yield value
    for pid in marked(value):
        os.kill(pid, signal.SIGKILL)


def marked(mark: str, name: str = "") -> list[int]:
    """Processes that carry the mark, zombies aside; with a name, those whose command line starts with it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            ours = f"{MARK}={mark}".encode() in (entry / "environ").read_bytes()
            if ours and (entry / "cmdline").read_bytes().startswith(name.encode()):
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended
    return found


def told(process: subprocess.Popen[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The events that the command prints."""
    assert process.stdout is not None
    for line in process.stdout:
        kind, key, fields = json.loads(line)
        yield kind, key, fields


@pytest.mark.ray
def test_kills_change_nothing(tmp_path: Path, mark: str) -> None:
    """Kill -9 a worker in mid-run, then all of it; the same command goes on; then it is stopped."""
    root = tmp_path / "results"
    runs = [spec(seed, epochs=EPOCHS) for seed in range(2)]
    attempts: dict[str, int] = {}
    killed, failed = "", []
    command = [sys.executable, "-c", COMMAND, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        for kind, key, fields in told(process):
            if kind == "claimed":
                attempts[key] = fields["attempt"]
            elif kind == "failed":
                failed.append((key, fields["kind"]))
            elif kind == "progress" and not killed and any(Store.open(root).work(key).glob("*.pt")):
                killed = key  # some of it is saved
                (worker,) = workers(mark, root, key)
                os.kill(worker, signal.SIGKILL)
            elif kind == "progress" and key == killed and attempts[key] == 2:
                break  # it was started again and goes on with its run
        process.kill()
        assert process.stderr is not None
        assert process.stderr.read() == ""  # Ray says nothing to the user
    assert attempts[killed] == 2
    assert all(number == 1 for key, number in attempts.items() if key != killed)
    assert failed == [(too_many_exemplars().key, "data")]  # and the others went on
    gone_within(mark, seconds=10)
    assert not Store.open(root).done(killed)
    assert any(Store.open(root).work(killed).glob("*.pt"))

    events: list[Event] = []
    options = LaunchOptions(
        root=root, data=tmp_path, max_concurrent=1, gpus_per_run=0, checkpoint_seconds=0.1, share=False
    )
    endless = spec(2, epochs=100_000)  # of a first task, which it would save where others find it, too
    outcome = lanes.launch(
        [*runs, endless], options, events.append, lambda: ("progress", endless.key) in [(e.kind, e.key) for e in events]
    )
    assert outcome == Outcome(finished=[run.key for run in runs], stopped=True)
    turns = [event.kind for event in events if event.kind in ("claimed", "finished", "stopped")]
    assert turns == ["claimed", "finished", "claimed", "finished", "claimed", "stopped"]  # one at a time
    assert list(Store.open(root).work(endless.key).glob("*.pt"))  # saved
    assert marked(mark) == []
    assert not (root / "ray").exists()

    whole = LaunchOptions(root=tmp_path / "whole", data=tmp_path, gpus_per_run=0)
    local.launch(runs, whole, lambda event: None, lambda: False)
    for run in runs:
        assert Store.open(root).read(run.key).result() == Store.open(whole.root).read(run.key).result()


def workers(mark: str, root: Path, key: str) -> list[int]:
    """The lane's process that holds the lock of a run."""
    lock = (root / "work" / f"{key}.lock").resolve()
    found = []
    for pid in marked(mark, "ray::RayTrainWorker"):
        opened = [os.path.realpath(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.exists()]
        found += [pid] if str(lock) in opened else []
    return found


def gone_within(mark: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while marked(mark):
        assert time.monotonic() < deadline, f"still there: {marked(mark)}"
        time.sleep(0.05)


SIGNALLED = """
import os, signal, time
from suite.lanes import driver
from suite.lanes.process import Ended
driver.join = lambda options, session: None
def task(*arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
    return Ended(stopped=True)
driver.main(task)
"""


def test_a_signal_to_the_process_that_holds_ray_is_left_to_who_started_it(tmp_path: Path) -> None:
    """As `ray job stop` sends it, to every process of a job."""
    (tmp_path / "job").write_bytes(pickle.dumps(([], None, {}, tmp_path, str(tmp_path / "session"))))
    read, write = os.pipe()
    command = [sys.executable, "-c", SIGNALLED, str(tmp_path / "job"), str(write)]
    with subprocess.Popen(command, pass_fds=[write], cwd=ROOT, stdin=subprocess.PIPE) as process:
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            assert pickle.load(pipe).fields == {"state": "connected"}
            assert pickle.load(pipe) == Ended(stopped=True)
        assert process.wait(60) == 0


@pytest.mark.ray
def test_more_than_the_machine_has_is_refused_in_one_line(tmp_path: Path, mark: str) -> None:
    options = LaunchOptions(root=tmp_path, data=tmp_path, gpus_per_run=0, cpus_per_run=100_000)
    with pytest.raises(SuiteError, match="a run wants 100000 CPUs and 0 GPUs; the largest node has") as caught:
        lanes.launch([spec()], options, lambda event: None, lambda: False)
    assert caught.value.code is Exit.ENVIRONMENT
    assert marked(mark) == []


@pytest.mark.ray
def test_ctrl_c_twice_ends_all_at_once(tmp_path: Path, mark: str) -> None:
    def interrupt(event: Event) -> None:
        if event.fields.get("state") == "connected":
            raise KeyboardInterrupt

    options = LaunchOptions(root=tmp_path, data=tmp_path, gpus_per_run=0)
    outcome = lanes.launch([spec()], options, interrupt, lambda: False)
    assert outcome == Outcome(stopped=True)
    assert marked(mark) == []


@pytest.mark.ray
def test_an_address_that_is_none(tmp_path: Path) -> None:
    unreachable("nonsense", tmp_path)


def test_nothing_listens_at_the_address(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: nobody else can listen there either
        port = taken.getsockname()[1]
        unreachable(f"127.0.0.1:{port}", tmp_path)
        unreachable(f"ray://127.0.0.1:{port}", tmp_path)


def unreachable(address: str, root: Path) -> None:
    options = LaunchOptions(root=root / "results", data=root, address=address)
    began = time.monotonic()
    with pytest.raises(SuiteError, match=f"no Ray cluster answers at {address}: .*--address none works") as caught:
        launcher(options)([spec()], options, lambda event: None, lambda: False)
    assert caught.value.code is Exit.ENVIRONMENT
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < PATIENCE


def test_nothing_to_do_starts_nothing(tmp_path: Path, mark: str) -> None:
    options = LaunchOptions(root=tmp_path / "results", data=tmp_path)
    assert lanes.launch([], options, lambda event: None, lambda: False) == Outcome()
    assert not (tmp_path / "results").exists()


class Actor:
    """A queue in this process that is called as an actor is."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def __getattr__(self, method: str) -> Any:
        return SimpleNamespace(remote=getattr(self._queue, method))


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What runs in a lane, with a queue in this process and no Ray."""
    from suite.lanes import lane as module

    def start(queue: Queue, options: LaunchOptions, runs: list[Any], work: Any) -> list[Event]:
        monkeypatch.setattr(
            module,
            "ray",
            SimpleNamespace(
                get_actor=lambda name: Actor(queue),
                get=lambda answer: answer,
                get_runtime_context=lambda: SimpleNamespace(get_node_id=lambda: "node"),
            ),
        )
        Store.open(options.root, write=True)
        job = module.Job("queue", {run.key: run for run in runs}, options, {}, work)
        module.lane({"job": job, "lane": "lane0", "slot": Slot()})
        return queue.look().events

    return start


def test_a_run_that_keeps_killing_its_process_is_failed_with_its_reason(lane: Any, tmp_path: Path) -> None:
    runs = [spec(0), spec(1)]
    options = LaunchOptions(root=tmp_path, data=tmp_path)
    queue = Queue([run.key for run in runs])
    for _ in range(DEATHS):
        queue.claim("lane0")
        queue.died("lane0", "signal 11")
    events = lane(queue, options, runs, lambda run, *rest: Event("finished", run.key, {"seconds": 1.0}))
    assert [(event.kind, event.key) for event in events[-3:]] == [
        ("failed", runs[0].key), ("claimed", runs[1].key), ("finished", runs[1].key)]  # fmt: skip
    failure = Store.open(tmp_path).failures()[runs[0].key]
    assert failure.kind == "crashed"
    assert "3 times" in failure.reason
    assert "signal 11" in failure.reason
    assert vars(failure) == events[-3].fields


def test_a_lane_that_cannot_work_says_why_and_ends(lane: Any, tmp_path: Path) -> None:
    def work(*arguments: Any) -> Event:
        raise SuiteError("cannot write to here: No space left on device", Exit.ENVIRONMENT)

    events = lane(Queue([spec().key]), LaunchOptions(root=tmp_path, data=tmp_path), [spec()], work)
    assert events[-1].kind == "stopped"  # its run is for others
    assert events[-2].fields == {"lane": "lane0", "state": "broken", "code": 6,
                                 "reason": "cannot write to here: No space left on device"}  # fmt: skip


def test_what_killed_processes_left_is_removed_but_not_what_others_use(tmp_path: Path) -> None:
    root, session = tmp_path / "ray", tmp_path / "ray-abc"
    (root / "old").mkdir(parents=True)
    session.mkdir()
    (root / "old" / "lock").touch()
    (root / "old" / "session").symlink_to(session)
    with own_folder(root) as one:
        assert not (root / "old").exists()
        assert not session.exists()
        with own_folder(root) as two:
            assert one.is_dir()
            assert two.is_dir()
        assert not two.exists()
        assert one.is_dir()
    assert not root.exists()
    with pytest.raises(ValueError, match="kept"), own_folder(root) as kept:
        raise ValueError("kept")
    assert kept.is_dir()


def test_the_cause_of_a_death_in_a_few_words() -> None:
    from suite.lanes.lane import cause

    died = "The actor died.\n\tpid: 7\nWorker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits."
    assert cause(RuntimeError(f"{died} Some common causes include: (1) ...")) == "Worker unexpectedly exits."
    assert (
        cause(RuntimeError("controller error:\n  File x\nRuntimeError: no such device\n"))
        == "RuntimeError: no such device"
    )
    assert cause(TimeoutError()) == "TimeoutError"
