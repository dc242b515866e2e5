"""Faults of a sweep on a real cluster of two nodes: its records must come out as if there had been none."""

from __future__ import annotations

import pytest

from bench.faults.kinds import KINDS
from bench.faults.siege import Siege
from bench.faults.trace import redone
from bench.faults.verdict import complaints
from suite.errors import Exit
from tests.suite.faults.conftest import Besiege

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("faults")]

SWEEP = ("run", "-m", "finetune", "replay", "der", "grace", "-p", "toy-b0i2", "--limit-epochs", "3",
         "--checkpoint-seconds", "0", "--name", "besieged")  # fmt: skip
TWELVE = (*SWEEP, "--seeds", "0-2")
EIGHT = (*SWEEP, "--seeds", "0-1")


def lost(siege: Siege) -> dict[str, tuple[int, int]]:
    """Epochs begun again because of each fault, and how many of them had been whole."""
    told = siege.world.moments()
    return {fault.kind: siege.cost(fault, told) for fault in siege.faults}


def test_one_sweep_and_many_faults(besiege: Besiege) -> None:
    siege = besiege(*TWELVE)
    for kind in ("a worker killed in training", "a worker killed while writing a checkpoint", "the queue killed",
                 "a worker killed while writing a record", "a Train controller killed",
                 "SIGTERM to the command"):  # fmt: skip
        assert siege.do(kind, KINDS[kind]), kind
    assert siege.finish() == [Exit.RESUMABLE, Exit.DONE]
    assert complaints(siege.world, siege.expected) == []
    cost = lost(siege)
    assert cost["a worker killed in training"] == (1, 0)
    assert cost["a worker killed while writing a record"] == (0, 0)
    assert cost["SIGTERM to the command"] == (0, 0)
    assert cost["a worker killed while writing a checkpoint"] <= (2, 2)  # the next epoch begins while one is written
    assert redone(siege.world.moments()).begun <= sum(begun for begun, _ in cost.values())
