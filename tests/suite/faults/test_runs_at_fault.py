"""Runs that are themselves at fault, beside sound ones, on a real cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import faults
from bench.faults.verdict import complaints
from bench.faults.world import World
from suite.errors import Exit
from suite.store import Store
from tests.suite.faults.conftest import Besiege

pytestmark = [pytest.mark.ray, pytest.mark.soak, pytest.mark.timeout(1200), pytest.mark.xdist_group("faults")]

METHODS = Path(faults.__path__[0]) / "methods"
HUNGRY, CRASHES = (str(METHODS / name) for name in ("hungry.py", "crashes.py"))
SWEEP = ("run", "-m", "finetune", "replay", "der", "-p", "toy-b0i5", "--limit-epochs", "2", "--name", "faulty")


def test_a_run_that_always_crashes_its_process_is_given_up(besiege: Besiege, cluster: World) -> None:
    siege = besiege(*SWEEP, but=["-m", "crashes", "--plugin", CRASHES])
    assert siege.command.wait() == Exit.FAILED
    failures = Store.open(cluster.root).failures()
    assert complaints(cluster, siege.expected, failures) == [], cluster.told()
    assert {failure.label.partition(" ")[0] for failure in failures.values()} == {"crashes"}
    for failure in failures.values():
        assert failure.kind == "crashed"
        assert "3 times" in failure.reason
        assert "Segmentation fault" in failure.reason
        tries = {moment.pid for moment in cluster.moments() if moment.key == failure.key}
        assert len(tries) in (3, 4)  # the first news may die with the first: then the second came further


def test_a_run_that_is_out_of_memory_gets_a_larger_slot(besiege: Besiege, cluster: World) -> None:
    assert cluster.nodes is not None
    cluster.nodes.add(cpus=2)
    sweep = (*SWEEP, "-m", "hungry", "--plugin", HUNGRY)
    siege = besiege(*sweep)
    assert siege.command.wait() == Exit.FAILED
    (failure,) = Store.open(cluster.root).failures().values()
    assert failure.kind == "oom"
    assert "Tried to allocate 2.00 GiB" in failure.reason
    assert failure.size == 1
    assert cluster.on_ray("resume", "--retry", "oom").wait() == Exit.DONE, cluster.told()
    assert complaints(cluster, siege.expected) == [], cluster.told()
