"""A search on a Ray of our own: killed, taken up again, with a trial that fails and one that is behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MARK = "GRACE_SUITE_TEST"  # an environment variable, by which whatever a test started is found


def marked(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended
    return found


@pytest.mark.ray
def test_a_search_that_is_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    command = [
        *(sys.executable, str(ROOT / "run_suite.py"), "tune", "replay", "toy-b0i2", "--name", "one", "--json"),
        *("--search", "initial.lr={1e-7,1e30}", "later.lr={1e-7}", "--trials", "3", "--limit-epochs", "4"),
        *("--gpus-per-run", "0", "--max-concurrent", "1", "--root", str(tmp_path), "--checkpoint-seconds", "0"),
    ]
    first = tmp_path / "tuning" / "one" / "trial-000-s0.json"
    deadline = time.monotonic() + 200
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while not (first.exists() and json.loads(first.read_text())["state"] == "finished"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
        assert process.stderr is not None
        assert process.stderr.read() == ""  # Ray says nothing to the user
    while marked(mark):
        assert time.monotonic() < deadline
        time.sleep(0.1)

    before = first.read_bytes()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert first.read_bytes() == before  # not trained again
    found: dict[str, Any] = json.loads(done.stdout)
    states = {each["values"].get("initial", {}).get("lr"): each for each in found["trials"]}
    assert states[None]["state"] == "finished"
    assert (states[1e30]["state"], states[1e30]["kind"]) == ("failed", "non-finite")
    behind = states[1e-7]
    assert (behind["state"], len(behind["scores"])) == ("stopped", 2)  # of three tasks: it learns nothing
    assert found["best"] is None
    assert not (tmp_path / "ray").exists()
    assert not any((tmp_path / "tuning" / "one" / "work").iterdir())


@pytest.mark.ray
def test_ctrl_c_leaves_what_was_learned(tmp_path: Path) -> None:
    command = [
        *(sys.executable, str(ROOT / "run_suite.py"), "tune", "replay", "toy-b0i2", "--name", "long", "--trials", "2"),
        *("--gpus-per-run", "0", "--max-concurrent", "1", "--root", str(tmp_path), "--checkpoint-seconds", "0"),
    ]
    work = tmp_path / "tuning" / "long" / "work"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 200
        while not list(work.glob("*/*.pt")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped: 0 of 2 trials done" in errors
    assert "next: " in errors
    assert list(work.glob("*/*.pt"))
    assert not (tmp_path / "ray").exists()
