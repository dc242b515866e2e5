"""`run` and `resume`, with real runs in this process: what they leave, say and return."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from suite.errors import Exit
from suite.store import Store
from tests.suite.cli.conftest import Call

HERE = ("--address", "none", "--limit-epochs", "1")
TWO = ("run", "-m", "finetune", "-p", "toy-b0i5", "--seeds", "0,1", *HERE)
DIVERGES = ("--set", "method.finetune.initial.lr=1e30")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def no_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail as soon as anything would be run."""

    def launcher(*_: Any) -> None:
        raise AssertionError("nothing may be launched")

    monkeypatch.setattr("suite.cli.launching.launcher", launcher)


def seen(monkeypatch: pytest.MonkeyPatch, act: Callable[[Any], None]) -> None:
    """Call `act` with every event, after the live view."""
    from suite.live import Live

    shown = Live.observe

    def observe(self: Any, event: Any) -> None:
        shown(self, event)
        act(event)

    monkeypatch.setattr(Live, "observe", observe)


def test_a_sweep_is_run_once(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = call(*TWO)
    assert first.code == Exit.DONE
    assert "2 runs finished" in first.err
    assert "table --smoke" in first.err
    rows = call("results", "--json").json
    assert [(row["method"], row["protocol"], row["train_seed"]) for row in rows] == [
        ("finetune", "toy-b0i5", 0),
        ("finetune", "toy-b0i5", 1),
    ]
    assert all(run["done"] for run in call("plan", *TWO[1:-4], "--limit-epochs", "1", "--json").json["runs"])
    with monkeypatch.context() as patch:
        patch.setattr("suite.cli.launching.launcher", None)
        again = call(*TWO)
        assert again.code == Exit.DONE
        assert "nothing to do: all 2 runs are done" in again.err
    more = call(*TWO[:6], "0-2", *HERE, "--json")
    assert {key: more.json[key] for key in ("total", "done_before", "failed", "left", "stopped")} == {
        "total": 3,
        "done_before": 2,
        "failed": [],
        "left": 0,
        "stopped": False,
    }
    assert len(more.json["finished"]) == 1
    assert "FineTune" in call("table", "--smoke").out
    assert "toy-b0i5" in call("table", "--smoke", "--to", "csv").out
    assert call("table").code == Exit.NOTHING


def test_a_failed_run_is_one_line_and_the_others_go_on(call: Call, tmp_path: Path) -> None:
    # the learning rate of one method alone makes its loss overflow
    said = call("run", "-m", "finetune", "replay", "-p", "toy-b0i5", *HERE, *DIVERGES)
    assert said.code == Exit.FAILED
    assert "Traceback" not in said.err
    (line,) = [line for line in said.err.splitlines() if line.startswith("failed: ")]
    assert line.startswith("failed: finetune toy-b0i5 o1993 s0: ")
    assert "1 run finished, 1 failed" in said.err
    assert "resume toy-b0i5-" in said.err
    (trace,) = (tmp_path / "results" / "failed").iterdir()
    assert f"results/failed/{trace.name}" in line
    assert [row["method"] for row in call("results", "--json").json] == ["replay"]
    alone = shlex.split(line.partition("alone: ")[2])
    again = call(*alone[1:], "--address", "none", "--json")  # the very run, and no other
    assert (again.code, again.json["total"]) == (Exit.FAILED, 1)
    assert again.json["failed"][0]["key"] == trace.stem
    plan = call("plan", "-m", "finetune", "replay", "-p", "toy-b0i5", "--limit-epochs", "1", *DIVERGES)
    assert "1 failed before" in plan.out
    resumed = call("resume", "--json")
    assert (resumed.code, resumed.json["done_before"], len(resumed.json["failed"])) == (Exit.FAILED, 0, 1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.RESUMABLE)])
def test_the_first_signal_saves_and_resume_goes_on(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: Exit
) -> None:
    def stop(event: Any) -> None:
        if event.kind == "task":
            os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGINT)  # a shell may have had it ignored
    with monkeypatch.context() as patch:
        seen(patch, stop)
        said = call(*TWO)
    assert said.code == code
    assert "stopping: runs save" in said.err
    assert "2 left" in said.err
    assert "Traceback" not in said.err
    assert signal.getsignal(signal.SIGINT) is before
    (name,) = Store.open(tmp_path / "results").sweeps()
    assert f"resume {name}" in said.err
    (key,) = [path.name for path in (tmp_path / "results" / "work").iterdir() if path.is_dir()]
    assert call("resume").code == Exit.DONE
    resumed = Store.open(tmp_path / "results").read(key)
    shutil.rmtree(tmp_path / "results")
    assert call(*TWO).code == Exit.DONE
    assert Store.open(tmp_path / "results").read(key).digest() == resumed.digest()


def test_the_second_ctrl_c_stops_at_once(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = []

    def stop(event: Any) -> None:
        events.append(event.kind)
        if event.kind in ("task", "progress"):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        seen(patch, stop)
        said = call(*TWO)
    assert said.code == Exit.INTERRUPTED
    assert "Traceback" not in said.err
    assert events.count("task") + events.count("progress") == 1
    assert call("resume").code == Exit.DONE


def test_what_could_not_start_is_no_sweep(call: Call, no_launch: None) -> None:
    said = call("run", "-m", "joint", "-p", "imagenet100-b0i10", "--data", "none")
    assert said.code == Exit.DATA
    assert call("resume").code == Exit.NOTHING


def test_resume_remembers_how_a_sweep_was_run(call: Call, tmp_path: Path) -> None:
    assert call(*TWO, "--name", "first", "--data", "images").code == Exit.DONE
    assert call(*TWO, "--name", "second").code == Exit.DONE
    text = (tmp_path / "results" / "sweeps" / "first.toml").read_text()
    assert f'data = "{tmp_path}/images"' in text
    assert 'address = "none"' in text
    assert "sweep second" in call("resume").err
    assert call("resume", "first").code == Exit.DONE
    said = call("resume", "frist")
    assert said.code == Exit.SPEC
    assert said.err == 'error: unknown sweep "frist"; did you mean "first"?\n'


def test_how_runs_are_carried_out_is_remembered_and_precision_is_what_they_are(call: Call, tmp_path: Path) -> None:
    command = ("run", "-m", "finetune", "-p", "toy-b0i5", "--precision", "bf16", *HERE, "--engine", "plain")
    assert call(*command, "--name", "half").code == Exit.DONE
    text = (tmp_path / "results" / "sweeps" / "half.toml").read_text()
    assert 'precision = "bf16"' in text
    assert 'engine = "plain"' in text
    assert "nothing to do" in call("resume", "half", "--engine", "eager").err
    assert 'engine = "eager"' in (tmp_path / "results" / "sweeps" / "half.toml").read_text()
    (row,) = call("results", "--json").json
    assert row["precision"] == "bf16"
    record = Store.open(tmp_path / "results").read(row["key"])
    assert record.provenance["engine"] == "plain"
    failed = call(*command[:-2], "--set", "method.finetune.later.lr=1e30")
    assert failed.code == Exit.FAILED
    (line,) = [line for line in failed.err.splitlines() if line.startswith("failed: ")]
    assert line.startswith("failed: finetune toy-b0i5 o1993 s0 bf16: ")
    assert "--seeds 0 --precision bf16 " in line.partition("alone: ")[2]


def test_a_protocol_of_ones_own_is_run_and_resumed(call: Call, tmp_path: Path) -> None:
    made = call(
        "new", "protocol", "mine-b4", "--dataset", "toy", "--base", "4", "--increment", "6", "--memory", "3/class"
    )
    assert made.out == "mine-b4.toml: mine-b4, 2 tasks: 4+6\n"
    command = ("run", "-m", "replay", "-p", "mine-b4", "--protocols", "mine-b4.toml", *HERE)
    assert call(*command).code == Exit.DONE
    assert call("resume").code == Exit.DONE
    (row,) = call("results", "--json").json
    assert (row["protocol"], row["exemplars"]) == ("mine-b4", 30)


def test_a_damaged_record_is_named_set_aside_and_run_again(call: Call, tmp_path: Path) -> None:
    call(*TWO)
    (first, second) = sorted((tmp_path / "results" / "records").iterdir())
    whole = first.read_bytes()
    first.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    said = call("plan", *TWO[1:-4], "--limit-epochs", "1")
    assert said.code == Exit.DONE
    (line,) = said.err.splitlines()
    assert line.startswith("warning: ")
    assert first.stem in line
    assert "set aside" in line
    assert "1 done, 1 to run" in said.out
    again = call(*TWO)
    assert "1 run finished, 1 done before" in again.err
    assert first.exists()
    assert second.exists()
    assert any((tmp_path / "results" / "damaged").iterdir())
