"""The order of runs: what the user wants first, then what takes longest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite.errors import SuiteError
from suite.ordering import in_order, longest_first, meant
from suite.plan import Plan, plan
from suite.store import Store
from tests.suite.test_plan import finished, wanted


def test_the_longest_runs_begin(tmp_path: Path) -> None:
    sweep = wanted(methods=["finetune", "der", "replay"], seeds=[0, 1])
    store = Store.open(tmp_path, write=True)
    before = plan(sweep, store)
    assert [run.spec.method for run in longest_first(before.left)] == ["der"] * 2 + ["replay"] * 2 + ["finetune"] * 2
    assert [run.spec.train_seed for run in longest_first(before.left)] == [0, 1] * 3
    slow = next(run.spec for run in before.runs if run.spec.method == "finetune")
    quick = next(run.spec for run in before.runs if run.spec.method == "der")
    store.write(finished(slow, images=100, seconds=500.0))
    store.write(finished(quick, images=100, seconds=1.0))
    after = plan(sweep, store)
    # replay is judged by the middle of the two: more images than finetune, but not five hundred times as many
    assert [run.spec.method for run in longest_first(after.left)] == ["finetune", "replay", "replay", "der"]
    unknown = [replace(run, cost=replace(run.cost, images=None)) for run in after.left[-1:]]
    assert longest_first([*after.left[:-1], *unknown])[0] is unknown[0]


def grid(tmp_path: Path) -> Plan:
    streams = ["cifar100-b0i10", "cifar100-b50i10"]
    return plan(wanted(methods=["finetune", "der"], protocols=streams), Store.open(tmp_path))


def order(found: Plan, *names: str, longest: bool = False) -> list[tuple[str, str]]:
    runs = in_order(found.left, meant(names, found), longest=longest)
    return [(run.spec.method, run.spec.protocol.name.removeprefix("cifar100-")) for run in runs]


def test_without_a_wish_runs_stay_or_the_longest_begin(tmp_path: Path) -> None:
    found = grid(tmp_path)
    assert order(found) == [("finetune", "b0i10"), ("der", "b0i10"), ("finetune", "b50i10"), ("der", "b50i10")]
    # images of der: 200 x 5,000 + 170 x 9 x 7,000 and 200 x 25,000 + 170 x 5 x 7,000; of finetune: without exemplars
    assert order(found, longest=True) == [
        ("der", "b0i10"), ("der", "b50i10"), ("finetune", "b50i10"), ("finetune", "b0i10"),
    ]  # fmt: skip


def test_a_method_goes_first_and_the_longest_among_its_runs(tmp_path: Path) -> None:
    found = grid(tmp_path)
    assert order(found, "finetune", longest=True)[:2] == [("finetune", "b50i10"), ("finetune", "b0i10")]
    assert order(found, "der") == [("der", "b0i10"), ("der", "b50i10"), ("finetune", "b0i10"), ("finetune", "b50i10")]


def test_names_count_in_their_order(tmp_path: Path) -> None:
    both = order(grid(tmp_path), "CIFAR-100 B50 5 steps", "der")  # a protocol by any spelling
    assert both == [("der", "b50i10"), ("finetune", "b50i10"), ("der", "b0i10"), ("finetune", "b0i10")]


@pytest.mark.parametrize(("name", "near"), [("derr", "der"), ("cifar100-b0i20", "cifar100-b0i10"), ("replay", "known")])
def test_a_name_that_no_run_has(tmp_path: Path, name: str, near: str) -> None:
    with pytest.raises(SuiteError, match=f'unknown method or protocol of the sweep "{name}".*{near}'):
        meant([name], grid(tmp_path))


def test_what_waits_may_be_named(tmp_path: Path) -> None:
    found = plan(wanted(methods=["replay"], protocols=["cifar100-b0i10+align=grace"]), Store.open(tmp_path))
    assert [run.spec.method for run in found.left] == ["grace"]
    assert meant(["replay", "cifar100-b0i10+align=grace", "cifar100-b0i10"], found) == [
        {"replay"}, {"cifar100-b0i10+align=grace"}, {"cifar100-b0i10"},
    ]  # fmt: skip
