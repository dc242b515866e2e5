"""Plans: what is left, and what it costs by hand-worked numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite.plan import Cost, cost, plan
from suite.record import Failure
from suite.resolver import Choice
from suite.spec import RunSpec
from suite.store import Store
from suite.sweep import chosen, resolve, sweep_of
from tests.suite.records_for_tests import record


def wanted(**values: Any) -> Any:
    return sweep_of({"methods": ["der"], "protocols": ["cifar100-b50i10"]} | values, "test")


def of(**values: Any) -> Choice:
    return chosen(wanted(**values))[0][1]


def finished(spec: RunSpec, images: int = 100, seconds: float = 1.0) -> Any:
    """A record of `spec` whose three tasks each saw `images` in `seconds` of learning."""
    made = record()
    tasks = [
        replace(
            task,
            phases=[task.phases[0] | {"images": images}],
            seconds={"learn": seconds, "remember": 0.0, "evaluate": 0.0},
        )
        for task in made.tasks
    ]
    return replace(
        made, key=spec.key, method=spec.method, protocol=spec.protocol.name, order_seed=spec.order_seed,
        train_seed=spec.train_seed, spec=spec.identity(), tasks=tasks,
    )  # fmt: skip


def failure(spec: RunSpec) -> Failure:
    return Failure(spec.key, spec.label, "oom", "out of memory", "task 2", "Traceback", "host", "2026-01-01T00:00:00Z")


# cifar100-b50i10: 50 + 5 x 10 classes of 500 images; tests 100 images a class, after tasks of 50, 60, .. 100 classes
TESTED = 100 * (50 + 60 + 70 + 80 + 90 + 100)
FIRST = 200 * 25_000


def test_a_method_that_keeps_nothing() -> None:
    found = cost(of(methods=["finetune"]))
    images = FIRST + 5 * 80 * 5_000
    assert found == Cost((200 + 5 * 80,) * 2, (images,) * 2, (463_504,) * 2, TESTED * 10)


def test_a_method_with_exemplars() -> None:
    # 2000 // known of each known class: 2000 at 50, 1980 at 60, 1960 at 70, 2000 at 80, 1980 at 90
    found = cost(of(methods=["replay"]))
    kept = 2000 + 33 * 60 + 28 * 70 + 25 * 80 + 22 * 90
    images = FIRST + 70 * (5 * 5_000 + kept)
    assert found == Cost((200 + 5 * 70,) * 2, (images,) * 2, (463_504,) * 2, TESTED * 10 * 2)


def test_a_method_that_grows_with_every_task() -> None:
    assert cost(of(methods=["der"])).parameters == (6 * 463_504,) * 2


def test_a_method_whose_images_decide() -> None:
    found, least = cost(of(methods=["grace"])), cost(of(methods=["der"]))
    assert found.parameters == (463_504, 6 * 463_504)
    assert found.epochs == (200 + 5 * 170, 200 + 5 * (170 + 130))
    assert found.images is not None
    assert least.images is not None
    assert found.images[0] == least.images[0] < found.images[1]


def test_an_upper_bound_sees_every_class_again() -> None:
    images = 200 * 500 * (50 + 60 + 70 + 80 + 90 + 100)
    assert cost(of(methods=["joint"])) == Cost((6 * 200,) * 2, (images,) * 2, (463_504,) * 2, TESTED * 10)


def test_exemplars_are_no_more_than_images() -> None:
    # 2000 exemplars of 2 classes would be 1000 of each; cifar100 has 500
    found = cost(of(methods=["replay"], protocols=["cifar100-b2i49"]))
    assert found.images == (200 * 1_000 + 70 * (24_500 + 1_000) + 70 * (24_500 + 51 * 39),) * 2


def test_what_is_not_counted_is_unknown() -> None:
    found = cost(of(protocols=["imagenet100-first-b0i10"]))  # how many training images is not declared
    assert found.images is None
    assert found.epochs == (200 + 9 * 170,) * 2


def test_an_empty_root_has_everything_left_and_stays_empty(tmp_path: Path) -> None:
    found = plan(wanted(seeds=[0, 1], orders=[1, 2]), Store.open(tmp_path / "results"))
    assert len(found.left) == len(found.runs) == 4
    assert found.total("epochs") == (4 * 1_050,) * 2
    assert found.disk == 4 * TESTED * 20
    assert found.untimed == 4
    assert not (tmp_path / "results").exists()


def test_done_runs_are_left_out_and_failed_ones_are_not(tmp_path: Path) -> None:
    sweep = wanted(seeds=[0, 1, 2])
    first, second, third = resolve(sweep)
    store = Store.open(tmp_path, write=True)
    store.write(finished(first))
    store.fail(failure(second))
    found = plan(sweep, store)
    assert [run.done for run in found.runs] == [True, False, False]
    assert [run.spec for run in found.left] == [second, third]
    assert [run.failed for run in found.runs] == ["", "out of memory", ""]
    images = cost(of()).images
    assert images is not None
    assert found.runs[0].row() == {
        "key": first.key,
        "method": "der",
        "protocol": "cifar100-b50i10",
        "order_seed": 1993,
        "train_seed": 0,
        "precision": "fp32",
        "workers": 1,
        "done": True,
        "seconds": (images[0] / 100, images[1] / 100),  # a second for every 100
    }


def test_a_damaged_record_is_planned_again(tmp_path: Path) -> None:
    (spec,) = resolve(wanted())
    store = Store.open(tmp_path, write=True)
    store.write(finished(spec))
    path = tmp_path / "records" / f"{spec.key}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    found = plan(wanted(), store)
    assert [run.done for run in found.runs] == [False]
    assert spec.key in store.damaged[0]


def test_time_is_judged_by_finished_runs_of_the_same_kind(tmp_path: Path) -> None:
    sweep = wanted(methods=["der", "replay"], seeds=[0, 1, 2, 3])
    specs = [spec for spec in resolve(sweep) if spec.method == "der"]
    store = Store.open(tmp_path, write=True)
    for spec, seconds in zip(specs[:3], (1.0, 2.0, 9.0), strict=True):  # of 100 images each: the median is 0.02 s
        store.write(finished(spec, images=100, seconds=seconds))
    found = plan(sweep, store)
    (timed,) = [run for run in found.left if run.spec.method == "der"]
    images = cost(timed.choice).images
    assert images is not None
    assert timed.seconds == pytest.approx((0.02 * images[0], 0.02 * images[1]))
    assert found.seconds == timed.seconds
    assert found.untimed == 4  # the other method's


def test_runs_of_another_precision_are_of_another_kind(tmp_path: Path) -> None:
    store = Store.open(tmp_path, write=True)
    store.write(finished(resolve(wanted(precision="bf16"))[0]))
    assert plan(wanted(seeds=[1]), store).untimed == 1
    assert plan(wanted(seeds=[1], precision="bf16"), store).untimed == 0


def test_borrowed_settings_are_said(tmp_path: Path) -> None:
    found = plan(wanted(methods=["grace", "der"], protocols=["cifar100-b0i10", "digits-b0i2"]), Store.open(tmp_path))
    assert len(found.notes) == 1
    assert found.notes[0].startswith("grace on digits-b0i2: nearest preset: cifar100-b0i10")
