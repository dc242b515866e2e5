"""`run --detach` and `resume --detach`: what goes on without a terminal, and what is said before that."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite.cli import detaching
from suite.errors import Exit
from suite.ledger import told
from tests.suite.cli.conftest import Call
from tests.suite.cli.test_watch import SCRIPT, until

ENDLESS = ("-m", "finetune", "-p", "toy-b0i5", "--set", "method.finetune.initial.epochs=100000")
QUICK = ("-m", "finetune", "-p", "toy-b0i5", "--limit-epochs", "1")
DEAD = ("--address", "127.0.0.1:1")  # nothing listens there


@pytest.fixture
def detached(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A sweep that goes on for ever in the background: its name and the process."""
    command = [sys.executable, str(SCRIPT), "run", *ENDLESS, "--address", "none", "--detach", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    said = json.loads(done.stdout)
    assert said["begun"]
    yield said["sweep"], said["pid"]
    if alive(said["pid"]):
        os.kill(said["pid"], signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_it_goes_on_is_seen_and_stops(call: Call, tmp_path: Path, detached: tuple[str, int]) -> None:
    name, pid = detached
    assert os.getsid(pid) == pid  # no terminal is theirs
    os.kill(pid, signal.SIGHUP)  # and it would not matter
    seen = call("watch", name, "--json").json
    assert (seen["state"], seen["running"]) == ("working", 1)

    again = call("run", *ENDLESS, *DEAD, "--detach")
    assert (again.code, again.out) == (Exit.ENVIRONMENT, "")
    warning, error = (line for line in again.err.splitlines() if not line.startswith("data "))
    assert warning.startswith(f"warning: process {pid} on ")
    assert warning.endswith(f"works on sweep {name} already; this is one more, they share the runs")
    assert error.startswith("error: no Ray cluster answers at 127.0.0.1:1: ")

    assert call("stop", name).code == Exit.DONE
    until(lambda: not alive(pid))
    assert "stopped" in [each.end for each in told(tmp_path / "results", name)]
    assert list((tmp_path / "results").glob("*/**/*.pt"))  # saved
    resumed = call("resume", name, *DEAD, "--detach")
    assert (resumed.code, resumed.err.count("error: ")) == (Exit.ENVIRONMENT, 1)
    log = (tmp_path / "results" / "live" / name / "detached.log").read_text()
    assert "asked to stop: runs save at their next safe point" in log
    assert log.count("--detach") == 3


def test_what_is_in_the_way_is_said_at_once(call: Call, tmp_path: Path) -> None:
    said = call("run", "-m", "finetune", "-p", "imagenet1000-b0i100", "--detach")
    assert (said.code, said.out, said.err.count("\n")) == (Exit.DATA, "", 1)
    assert said.err.startswith("error: imagenet1000: there is no ")
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_is_over_before_anybody_looks(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detaching, "told", lambda *arguments: [])  # too late to see a run begin
    said = call("run", *QUICK, "--address", "none", "--detach")
    assert said.code == Exit.DONE
    assert "1 run finished" in said.err.splitlines()
    assert "next: grace-suite table --smoke" in said.err.splitlines()
    again = call("run", *QUICK, "--detach")
    assert again.err.startswith("nothing to do: all 1 runs are done\n")


def test_no_run_begins_for_want_of_room(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process waits for a cluster; the command does not."""

    class Process:
        returncode, pid = None, 7

        def __init__(self, *arguments: object, **options: object) -> None:
            pass

        def poll(self) -> None:
            pass

    monkeypatch.setattr(detaching, "BEGINNING", 0.1)
    monkeypatch.setattr(detaching.subprocess, "Popen", Process)
    said = call("run", *QUICK, "--detach", "--root", "elsewhere")
    assert said.code == Exit.DONE
    _, first, second, third = said.err.splitlines()
    assert first.startswith("sweep toy-b0i5-")
    assert " goes on in the background (pid 7 on " in first
    assert first.endswith(" --root elsewhere")
    assert second == "no run has begun yet: the cluster may have no room now, or be adding nodes"
    assert third.startswith(f"log: {tmp_path}/elsewhere/live/toy-b0i5-")
