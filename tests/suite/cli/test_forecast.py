"""What a plan says about sharing GPUs, their memory and a budget, by records that were made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite.store import Store
from suite.sweep import Sweep, resolve, sweep_of
from tests.suite.cli.conftest import Call
from tests.suite.test_plan import finished

GIB = 2**30
PLAN = ("plan", "-m", "der", "replay", "-p", "cifar100-b50i10", "--seeds", "0-4")


def sweep() -> Sweep:
    found: Sweep = sweep_of(
        {"methods": ["der", "replay"], "protocols": ["cifar100-b50i10"], "seeds": [0, 1, 2, 3, 4]}, ""
    )
    return found


def peaked(made: Any, *peaks: float, total: float | None = 24) -> Any:
    """The record with GPU memory at the most in each of its tasks, on a GPU of `total` GiB."""
    tasks = [
        replace(task, phases=[task.phases[0] | {"peak_bytes": int(peak * GIB)}])
        for task, peak in zip(made.tasks, peaks, strict=True)
    ]
    about = {**made.provenance, "device": "Small GPU", "device_bytes": total and int(total * GIB)}
    return replace(made, tasks=tasks, provenance=about)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "results", write=True)


def done(store: Store, method: str, *peaks: float, seconds: float = 1.0, total: float | None = 24) -> None:
    spec = next(spec for spec in resolve(sweep()) if spec.method == method and not store.done(spec.key))
    made = finished(spec, seconds=seconds)
    store.write(peaked(made, *peaks, total=total) if peaks else made)


def line(text: str, name: str) -> str:
    """What a plan says behind a name, nothing where it does not have it."""
    return "".join(each[10:] for each in text.splitlines() if each.startswith(f"{name} "))


def test_a_share_says_how_many_runs_a_gpu_holds(call: Call) -> None:
    assert line(call(*PLAN, "--gpus-per-run", "0.25").out, "at once") == "4 runs on each GPU"
    assert line(call(*PLAN, "--gpus-per-run", "1").out, "at once") == "1 run on each GPU"
    assert line(call(*PLAN).out, "at once") == ""
    assert line(call(*PLAN, "--workers", "2", "--gpus-per-run", "0.5").out, "at once") == "2 workers on each GPU"
    assert call(*PLAN, "--gpus-per-run", "0.33", "--json").json["runs_on_each_gpu"] == 3


def test_what_finished_runs_took_of_a_gpu_says_how_many_fit(call: Call, store: Store) -> None:
    assert line(call(*PLAN).out, "memory") == ""
    done(store, "der", 1.0, 3.1, 2.0)
    done(store, "der", 0.5, 0.5, 0.5)
    # 1.1 x 3.1 + 0.6 GiB = 4.01: five on 24
    fits = "finished runs of der on cifar100-b50i10 peaked at 3.1 GiB: 0.2 would fit on Small GPU of 24 GiB (5 at once)"
    assert line(call(*PLAN).out, "memory") == f"{fits}; unknown for 5 runs"
    assert line(call(*PLAN, "--gpus-per-run", "0").out, "memory") == ""
    done(store, "replay", 0.2, 0.2, 0.2)
    assert line(call(*PLAN).out, "memory") == fits
    little = "peaked at 3.1 GiB: 0.12 is too little on Small GPU of 24 GiB, 0.2 would fit (5 at once)"
    assert line(call(*PLAN, "--gpus-per-run", "0.12").out, "memory").endswith(little)
    assert "0.05 is too little on Small GPU" in line(call(*PLAN, "--gpus-per-run", "0.05").out, "memory")
    assert "0.25 is too little" not in line(call(*PLAN, "--gpus-per-run", "0.25").out, "memory")
    found = call(*PLAN, "--json").json["gpu_memory"]
    assert (found["method"], found["device_bytes"], found["fit"]) == ("der", 24 * GIB, 5)


def test_a_run_that_fills_a_gpu_and_a_gpu_of_unknown_size(call: Call, store: Store) -> None:
    done(store, "replay", 1.0, 2.0, 3.0, total=None)
    assert line(call(*PLAN).out, "memory").startswith(
        "finished runs of replay on cifar100-b50i10 peaked at 3.0 GiB; unk"
    )
    done(store, "der", 15.0, 20.0, 20.0)
    alone = "finished runs of der on cifar100-b50i10 peaked at 20.0 GiB: a run wants Small GPU of 24 GiB to itself"
    assert line(call(*PLAN).out, "memory") == alone


def test_how_far_a_budget_reaches(call: Call, store: Store) -> None:
    unknown = "4 gpuh: how far it reaches is unknown: no finished run to judge by"
    assert line(call(*PLAN, "--budget", "4gpuh").out, "budget") == unknown
    done(store, "der", seconds=1.0)
    (expected,) = {tuple(run["seconds"]) for run in call(*PLAN, "--json").json["runs"] if run["method"] == "der"}
    hours = expected[0] / 3600  # of each of the four that are left
    two = f"{2.5 * hours:.3f}"
    said = line(call(*PLAN, "--budget", f"{two}gpuh").out, "budget")
    assert said.endswith("gpuh: about 2 of 4 runs, by finished runs; unknown for 5 runs")
    done(store, "replay", seconds=0.0001)
    # the longest begin, and of four at a GPU each is charged a quarter
    assert "about 2 of 8 runs" in line(call(*PLAN, "--budget", f"{two}gpuh").out, "budget")
    assert "enough for 8 runs" in line(call(*PLAN, "--budget", f"{two}gpuh", "--gpus-per-run", "0.25").out, "budget")
    first = call(*PLAN, "--budget", f"{two}gpuh", "--priority", "replay", "--json").json["budget"]
    assert first == {"given": f"{float(two):g}gpuh", "reaches": 4 + 2, "timed": 8}
    clock = line(call(*PLAN, "--budget", f"{two}h").out, "budget")
    assert clock.endswith("h: about 2 of 8 runs, one after the other, by finished runs")
    three = line(call(*PLAN, "--budget", f"{two}h", "--max-concurrent", "3").out, "budget")
    assert three.endswith("h: enough for 8 runs, by finished runs")


def test_what_was_told_is_in_the_command_to_type(call: Call) -> None:
    said = call(*PLAN, "--budget", "4gpuh", "--priority", "replay", "der", "--gpus-per-run", "0.5")
    (command,) = [each for each in said.out.splitlines() if each.startswith("next: ")]
    assert command.endswith("--gpus-per-run 0.5 --budget 4gpuh --priority replay der")


def test_a_sweep_file_says_it_too(call: Call, tmp_path: Path) -> None:
    launch = "[launch]\ngpus_per_run = 0.5\nbudget = '4gpuh'\n"
    (tmp_path / "sweep.toml").write_text(f"methods = ['der']\nprotocols = ['cifar100-b50i10']\n{launch}")
    out = call("plan", "sweep.toml").out
    assert line(out, "at once") == "2 runs on each GPU"
    assert line(out, "budget").startswith("4 gpuh: ")
