"""`watch` beside real sweeps: what it says while they run, when they are over, and when their process is gone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from suite.cli import watch
from suite.errors import Exit
from suite.ledger import told
from suite.picture import Failed, Working
from suite.watching import View, Watcher
from tests.suite.cli.conftest import Call
from tests.suite.cli.test_startup import imported

SWEEP = ("-m", "finetune", "-p", "toy-b0i5", "--seeds", "0,1", "--address", "none", "--limit-epochs", "1")
SCRIPT = Path(__file__).parents[3] / "run_suite.py"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def test_a_sweep_that_is_over(call: Call, tmp_path: Path) -> None:
    assert call("run", *SWEEP).code == Exit.DONE
    said = call("watch")
    assert said.code == Exit.DONE
    first, second, *rest = said.out.splitlines()
    assert first.startswith("toy-b0i5-")
    assert "  done, " in first
    assert "resume" not in first
    assert second == "2/2 done"
    assert sorted(line.split("  ")[1].strip() for line in rest if line.startswith("done")) == [] or len(rest) == 2
    plain = call("watch", first.split()[0], "--json").json
    assert (plain["state"], plain["done"], plain["failed"], plain["end"]) == ("ended", 2, 0, "done")
    name = first.split()[0]
    wrong = call("watch", name[:-1])
    assert (wrong.code, wrong.out) == (Exit.SPEC, "")
    assert wrong.err == f'error: unknown sweep "{name[:-1]}"; did you mean "{name}"?\n'


def test_no_sweep_at_all(call: Call) -> None:
    said = call("watch")
    assert (said.code, said.err) == (Exit.NOTHING, "error: no sweep under results; run starts one\n")


def test_failures_are_told_with_their_reasons(call: Call) -> None:
    diverges = ("--set", "method.finetune.initial.lr=1e30")
    assert call("run", *SWEEP, *diverges).code == Exit.FAILED
    said = call("watch", "--once")
    assert "0/2 done, 2 failed" in said.out
    assert "go on with: " in said.out
    lines = [line for line in said.out.splitlines() if line.startswith("failed ")]
    assert len(lines) == 2
    assert all("task 0, phase initial, epoch 0" in line for line in lines)
    plain = call("watch", "--json").json
    assert {each["label"] for each in plain["failures"]} == {f"finetune toy-b0i5 o1993 s{seed}" for seed in (0, 1)}


def test_records_that_came_by_copying_count(call: Call, tmp_path: Path) -> None:
    call("run", *SWEEP)
    (name,) = [path.name for path in (tmp_path / "results" / "live").iterdir()]
    (entry,) = (tmp_path / "results" / "live" / name).glob("*.json")
    plain = json.loads(entry.read_text())
    plain["process"]["born"] = "0"  # it died early on
    entry.write_text(json.dumps(plain | {"end": "", "picture": {"total": 2, "waiting": 2}}))
    found = call("watch", "--json").json
    assert (found["state"], found["done"], found["waiting"]) == ("dead", 2, 0)
    entry.unlink()
    assert "no process has told of this sweep" in call("watch").out
    assert "2/2 done" in call("watch").out


@pytest.fixture
def sweep(tmp_path: Path) -> Any:
    """A sweep in a process of its own that takes a while."""
    command = [sys.executable, str(SCRIPT), "run", *SWEEP[:-1], "1000", "-q", "--root", str(tmp_path / "results")]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_sweep_at_work_its_death_and_its_end(call: Call, tmp_path: Path, sweep: Any) -> None:
    live = tmp_path / "results" / "live"
    until(lambda: any(each.picture.working for name in live.glob("*") for each in told(live.parent, name.name)))
    said = call("watch", "--once")
    assert f"process {sweep.pid} on " in said.out
    assert "0/2 done, 1 running, 1 waiting" in said.out
    (line,) = [line for line in said.out.splitlines() if line.startswith("finetune toy-b0i5 o1993 s0")]
    assert "cpu" in line
    assert call("watch", "--json").json["state"] == "working"
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()
    said = call("watch")  # without --once: there is nothing to wait for
    assert f"process {sweep.pid} on {os.uname().nodename} is dead" in said.out
    assert "go on with: " in said.out
    assert "0/2 done, 2 waiting" in said.out


def test_lines_where_there_is_no_terminal(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    call("run", *SWEEP)
    over = Watcher(Path("results"), "toy").look()
    views = iter([
        View(over.picture.__class__(total=2, running=2), "working", 0.0, "process 1 on n01"),
        View(over.picture.__class__(total=2, running=2), "working", 0.0, "process 1 on n01"),
        View(over.picture.__class__(total=2, running=2), "working", 0.0, "process 1 on n01"),
        View(over.picture.__class__(total=2, done=1, running=1), "silent", 200.0, "process 1 on n01"),
        View(over.picture.__class__(total=2, done=2), "ended", 1.0, "process 1 on n01", "done"),
    ])  # fmt: skip
    monkeypatch.setattr(Watcher, "look", lambda self: next(views))
    monkeypatch.setattr(watch, "GLANCE", 0)
    lines = call("watch").out.splitlines()
    assert lines[0].strip() == "0/2 done, 2 running"
    assert "no news for 3 min: process 1 on n01 may be dead; if it is: " in lines[1]
    assert lines[2].startswith("2/2 done  done, 1 s ago")
    assert len(lines) == 3


def test_a_terminal_keeps_the_last_state(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    call("run", *SWEEP)
    picture = Watcher(Path("results"), "toy").look().picture
    first = replace(picture, total=2, running=1, waiting=1, working=(Working("k", "run k", "n01", "gpu1", 0, 5),))
    last = replace(picture, total=2, done=1, failed=1, failures=(Failed("k", "run k", "oom", "too [b]big"),))
    views = [View(first, "working", 0.0, "process 1 on n01"), View(last, "ended", 1.0, "p", "done")]
    looks = iter([views[0], views[0], views[1]])
    monkeypatch.setattr(Watcher, "look", lambda self: next(looks))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", call("watch").out)
    assert "run k" in text
    assert "1/2 done, 1 failed" in text
    assert "oom: too [b]big" in text


def test_ctrl_c_closes_the_view_and_nothing_else(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    call("run", *SWEEP)
    working = View(Watcher(Path("results"), "toy").look().picture, "working", 0.0)
    monkeypatch.setattr(Watcher, "look", lambda self: working)

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("suite.cli.watch.time.sleep", interrupt)
    said = call("watch")
    assert (said.code, said.err) == (Exit.DONE, "")


def test_it_imports_nothing_heavy(tmp_path: Path) -> None:
    sweeps = tmp_path / "results" / "sweeps"
    sweeps.mkdir(parents=True)
    (sweeps / "toy.toml").write_text('methods = ["replay"]\nprotocols = ["toy-b0i2"]\n')
    heavy = {"torch", "torchvision", "ray", "numpy", "pyarrow", "tensorboardX", "filelock"}
    assert imported(tmp_path, ["watch", "watch toy --json"], heavy) == "[]"


def test_trackers_are_kept_with_the_sweep_and_are_no_part_of_it(call: Call, tmp_path: Path) -> None:
    said = call("run", *SWEEP, "--track", "tensorboard")
    assert said.code == Exit.DONE
    (file,) = (tmp_path / "results" / "sweeps").iterdir()
    assert 'track = ["tensorboard"]' in file.read_text()
    runs = {path.name for path in (tmp_path / "results" / "tracking" / file.stem).iterdir()}
    assert runs == {path.stem for path in (tmp_path / "results" / "records").iterdir()}
    assert "nothing to do" in call("run", *SWEEP).err  # the same sweep under the same name
    assert "track" not in file.read_text()
    assert "nothing to do" in call("resume", "--track", "tensorboard").err
    assert "nothing to do" in call("resume").err
    assert 'track = ["tensorboard"]' in file.read_text()
    call("resume", "--track", "none")
    assert "track" not in file.read_text()


def test_a_tracker_that_is_not_there(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = call("run", *SWEEP, "--track", "tensorbord")
    assert (said.code, 'did you mean "tensorboard"?' in said.err) == (Exit.USAGE, True)
    monkeypatch.setattr("suite.trackers.find_spec", lambda name: None)
    said = call("run", *SWEEP, "--track", "mlflow", "wandb")
    assert said.code == Exit.ENVIRONMENT
    assert said.err.startswith("error: --track mlflow needs the package mlflow, which is not installed: pip install ")
    assert not (tmp_path / "results").exists()
