"""Budgets, priorities and what is tried again, on the command line; nothing is trained but where it says so."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from suite.errors import Exit, SuiteError
from suite.launch import LaunchOptions, Outcome
from suite.record import Failure
from suite.spec import RunSpec
from suite.store import Store
from suite.sweep import read_sweep
from tests.suite.cli.conftest import Call
from tests.suite.cli.test_bad_input import one_line

WHAT = ("-m", "finetune", "replay", "-p", "toy-b0i5", "--limit-epochs", "1")
TWO = ("run", *WHAT, "--name", "two")
FULL = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB."
Given = list[tuple[list[str], LaunchOptions]]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """What launches are given: the methods of the runs in their order, and the options. They stop at once."""
    found: Given = []

    def launch(specs: Sequence[RunSpec], options: LaunchOptions, *_: Any) -> Outcome:
        found.append(([spec.method for spec in specs], options))
        return Outcome(stopped=True)

    monkeypatch.setattr("suite.cli.launching.launcher", lambda options: launch)
    return found


def kept(folder: Path) -> dict[str, Any]:
    """What the sweep's file says about how to launch it."""
    return read_sweep(folder / "results" / "sweeps" / "two.toml").launch.model_dump(exclude_defaults=True)


def fail(folder: Path, call: Call, *kinds: Any, size: int = 1) -> None:
    """Have runs of the sweep failed before, in their order."""
    runs = call("plan", *WHAT, "--json").json["runs"]
    for run, kind in zip(runs, kinds, strict=False):
        label, reason = f"{run['method']} toy-b0i5 o1993 s0", FULL if kind == "oom" else "ValueError: no"
        failure = Failure(run["key"], label, kind, reason, "", "", "n1", "2026-01-01T00:00:00Z", size)
        Store.open(folder / "results", write=True).fail(failure)


def test_a_budget_stops_runs_at_a_safe_point_and_resume_goes_on(call: Call, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    said = call(*TWO, "--address", "none", "--budget", "0.00001cpuh")  # less than any run takes; these are trained
    assert said.code == Exit.RESUMABLE
    assert "budget of 1e-05 cpuh used up: runs save at their next safe point" in said.err
    assert " left, 0.00 of 1e-05 cpuh spent" in said.err
    assert "next: " in said.err
    assert kept(tmp_path) == {"address": "none", "budget": "1e-05cpuh"}
    again = call("resume", "two", "--budget", "none", "--json")
    assert again.code == Exit.DONE
    assert again.json["left"] == 0
    assert again.json["spent"]["cpuh"] > 0 == again.json["spent"]["gpuh"]
    assert "budget" not in kept(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--budget", "40gpu"), ["--budget", "40gpuh", "8cpuh", "12h"]),
        (("--budget", "4gpuh", "--gpus-per-run", "0"), ["4 gpuh", "--gpus-per-run 0", "cpuh"]),
        (("--gpus-per-run", "0.4"), ["--gpus-per-run", "2 runs of 0.4", "use 0.5"]),
    ],
)
@pytest.mark.parametrize("verb", ["run", "plan"])
def test_what_cannot_be_meant(call: Call, given: Given, verb: str, options: tuple[str, ...], words: list[str]) -> None:
    one_line(call(verb, *WHAT, *options), Exit.USAGE, *words)
    assert given == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for what is missing")
def test_gpu_hours_without_a_gpu_are_refused_before_the_first_run(call: Call, tmp_path: Path) -> None:
    one_line(call(*TWO, "--address", "none", "--budget", "4gpuh", "-q"), Exit.USAGE, "4 gpuh", "no GPU", "cpuh or h")
    assert list((tmp_path / "results" / "work").iterdir()) == []


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_priority_that_no_run_has(call: Call, given: Given, verb: str) -> None:
    one_line(call(verb, *WHAT, "--priority", "repaly"), Exit.SPEC, '"repaly"', 'did you mean "replay"?')
    assert given == []


def test_what_goes_first_is_kept_for_resume(call: Call, given: Given, tmp_path: Path) -> None:
    call(*TWO, "--address", "none")
    call(*TWO)  # on Ray: replay has more images to go through
    call(*TWO, "--address", "none", "--priority", "replay", "--grace-seconds", "9", "--max-concurrent", "1")
    call("resume", "two")
    call("resume", "two", "--address", "auto", "--priority", "toy-b0i5", "finetune")
    call("resume", "two", "--address", "auto", "--priority", "none")
    orders = [methods for methods, _ in given]
    written, other = ["finetune", "replay"], ["replay", "finetune"]
    assert orders == [written, other, other, other, written, other]
    assert [options.max_concurrent for _, options in given] == [None, None, 1, 1, 1, 1]
    assert kept(tmp_path) == {"address": "auto", "max_concurrent": 1, "grace_seconds": 9.0}


def test_all_failures_are_tried_again_and_those_without_memory_get_more(
    call: Call, given: Given, tmp_path: Path
) -> None:
    fail(tmp_path, call, "error", "oom")
    assert FULL in call("plan", *WHAT, "--gpus-per-run", "0.25").out
    said = call(*TWO, "--gpus-per-run", "0.25")
    assert "1 run that was out of memory gets 2 slots" in said.err
    ((methods, options),) = given
    assert sorted(methods) == ["finetune", "replay"]
    assert list(options.sizes.values()) == [2]


def test_only_the_kinds_named_are_tried_again(call: Call, given: Given, tmp_path: Path) -> None:
    fail(tmp_path, call, "error", "crashed")
    call(*TWO)
    said = call("resume", "two", "--retry", "crashed", "hung")
    assert given[-1][0] == ["replay"]
    assert "1 failed before, left as it is" in said.err
    none = call("resume", "two", "--retry", "none")
    assert len(given) == 2
    assert none.code == Exit.FAILED
    assert "2 failed before, left as they are" in none.err
    assert len(call("resume", "two", "--retry", "none", "--json").json["left_failed"]) == 2
    one_line(call("resume", "two", "--retry", "omm"), Exit.USAGE, 'did you mean "oom"?', "known: ", "none")


def test_a_run_that_had_a_whole_gpu_stays_failed(call: Call, given: Given, tmp_path: Path) -> None:
    fail(tmp_path, call, "oom", size=4)
    call(*TWO, "--gpus-per-run", "0.25")
    assert given[-1][0] == ["replay", "finetune"]  # it may be another machine by now
    said = call("resume", "two", "--retry", "oom")
    (line,) = [line for line in said.err.splitlines() if "stays failed" in line]
    assert line.startswith("finetune toy-b0i5 o1993 s0 was out of memory with a whole GPU to itself")
    assert f"{FULL[:-1]}; it takes a larger GPU" in line
    assert "smaller batch" in line
    assert given[-1][0] == ["replay"]
    assert given[-1][1].sizes == {}


def test_a_launch_that_falls_with_the_same_sigterm_can_be_resumed(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As where a scheduler sends it to every process, those of Ray among them."""

    def launch(*_: Any) -> Outcome:
        os.kill(os.getpid(), signal.SIGTERM)
        raise SuiteError("the process that held Ray ended", Exit.ENVIRONMENT)

    monkeypatch.setattr("suite.cli.launching.launcher", lambda options: launch)
    said = call(*TWO)
    assert said.code == Exit.RESUMABLE
    assert "the process that held Ray ended" in said.err
    assert "0 runs finished, 2 left" in said.err
    assert "next: " in said.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("budget = '4gpu'", ["launch.budget", "40gpuh"]),
        ("gpus_per_run = 0.4", ["launch.gpus_per_run", "use 0.5"]),
        ("priority = ['repaly']", ['did you mean "replay"?']),
    ],
)
@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_file_is_held_to_the_same(
    call: Call, given: Given, tmp_path: Path, verb: str, line: str, words: list[str]
) -> None:
    (tmp_path / "sweep.toml").write_text(f"methods = ['replay']\nprotocols = ['toy-b0i5']\n[launch]\n{line}\n")
    one_line(call(verb, "sweep.toml"), Exit.SPEC, *words)
    assert given == []
