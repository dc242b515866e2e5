"""Which failed runs are tried again, and with how much room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from suite.again import KINDS, Again
from suite.launch import HERE
from suite.plan import Planned, plan
from suite.store import Store
from tests.suite.test_plan import failure, wanted

FULL = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB"


@pytest.fixture
def run(tmp_path: Path) -> Planned:
    return plan(wanted(), Store.open(tmp_path)).runs[0]


def failed(run: Planned, kind: Literal["error", "oom"] = "oom", **more: Any) -> Planned:
    return replace(run, failure=replace(failure(run.spec), **{"kind": kind, "reason": FULL, **more}))


def test_the_kinds_are_those_of_failures() -> None:
    assert KINDS == ("error", "oom", "non-finite", "data", "crashed", "hung")


def test_all_are_tried_again_unless_kinds_are_named(run: Planned) -> None:
    error = failed(run, "error")
    assert Again(None, None, None).takes(error)
    assert Again(["error", "hung"], None, None).takes(error)
    assert not Again(["oom"], None, None).takes(error)
    assert not Again([], None, None).takes(error)
    assert Again([], None, None).takes(run)  # it has not failed


@pytest.mark.parametrize(
    ("gpus", "size", "slots"),
    [(0.25, 1, 2), (0.25, 2, 4), (0.33, 2, 4), (0.5, 1, 2), (0, 1, 2), (0, 8, 16), (0.25, 4, None), (0.33, 4, None),
     (1, 1, None)],
)  # fmt: skip
def test_out_of_memory_gets_twice_the_room_up_to_a_whole_gpu(
    run: Planned, gpus: float, size: int, slots: int | None
) -> None:
    short = failed(run, size=size)
    for kinds in (None, ["oom"]):
        again = Again(kinds, gpus, None)
        assert again.sizes([short, failed(run, "error"), run]) == ({} if slots is None else {run.spec.key: slots})
        assert again.whole(short) is (slots is None)
        assert again.takes(short) is (slots is not None or kinds is None)


def test_without_a_share_the_message_tells_a_gpu_from_a_cpu(run: Planned) -> None:
    assert Again(["oom"], None, None).whole(failed(run))
    on_cpu = failed(run, reason="RuntimeError: [enforce fail at alloc_cpu.cpp:117] can't allocate memory: 8 bytes")
    assert Again(["oom"], None, None).sizes([on_cpu]) == {run.spec.key: 2}


def test_without_ray_there_is_one_size(run: Planned) -> None:
    assert Again(None, 0, HERE).sizes([failed(run)]) == {}
    assert Again(["oom"], 0, HERE).takes(failed(run))
