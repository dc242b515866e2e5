"""Faults of a sweep on a real cluster of two nodes: its records must come out as if there had been none."""

from __future__ import annotations

import pytest

from bench.faults.kinds import KINDS
from bench.faults.siege import Siege
from bench.faults.trace import again, redone
from bench.faults.verdict import complaints
from suite.errors import Exit
from tests.suite.faults.conftest import Besiege

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200), pytest.mark.xdist_group("faults")]

SWEEP = ("run", "-m", "finetune", "replay", "der", "grace", "-p", "toy-b0i2", "--limit-epochs", "3",
         "--checkpoint-seconds", "0", "--name", "besieged")  # fmt: skip
KILLED = -9


def done(siege: Siege, *kinds: str, pace: float = 0.5) -> dict[str, tuple[int, int]]:
    """Do the faults one after the other and let the sweep come to its end.

    Return per fault how many epochs were begun again because of it, and how many of them had been whole.
    """
    siege.world.put("pace", pace)  # or the runs would be over before the faults are
    for kind in kinds:
        fault = siege.do(kind, KINDS[kind])
        assert fault, f"{kind}: the sweep had ended"
        assert not fault.wrong
    siege.finish()
    assert complaints(siege.world, siege.expected) == [], siege.world.told()
    told = siege.world.moments()
    cost = {fault.kind: siege.cost(fault, told) for fault in siege.faults}
    lost, why = redone(told), [siege.faults, again(told)]
    assert lost.whole <= sum(whole for _, whole in cost.values()), why
    # an epoch cut short as it began that no fault explains was seen once, on a busy machine
    assert lost.begun <= sum(begun for begun, _ in cost.values()) + 1, why
    return cost


def test_one_sweep_and_many_faults(besiege: Besiege) -> None:
    siege = besiege(*SWEEP, "--seeds", "0-2")
    cost = done(
        siege,
        "a worker killed in training",
        "a worker killed while writing a checkpoint",
        "the queue killed",
        "a worker killed while writing a record",
        "SIGTERM to the command",
        "a node lost, another one comes",
    )
    assert siege.codes == [Exit.RESUMABLE, Exit.DONE]
    assert cost["a worker killed in training"] <= (1, 0)  # the one that had just begun; none if another run shares it
    assert cost["a worker killed while writing a checkpoint"] <= (1, 1)
    assert cost["a worker killed while writing a record"] == (0, 0)
    assert cost["SIGTERM to the command"] == (0, 0)
    assert cost["a node lost, another one comes"] <= (1, 1)


@pytest.mark.soak
def test_whatever_holds_the_sweep_together_is_killed(besiege: Besiege) -> None:
    siege = besiege(*SWEEP, "--seeds", "0-1")
    cost = done(
        siege,
        "a worker killed in evaluation",
        "a worker killed, and the next while it starts",
        "a Train controller killed",
        "the process that holds Ray killed",
        "the command killed, started from another folder",
        "a second command on the same root",
        "the cluster restarted",
    )
    assert sorted(siege.codes) == [KILLED, Exit.DONE, Exit.DONE]
    assert cost["a worker killed in evaluation"] == (0, 0)
    assert max(cost.values()) <= (4, 2)  # two runs at a time


@pytest.mark.soak
def test_a_node_on_which_no_lane_can_start(besiege: Besiege) -> None:
    siege = besiege(*SWEEP, "--seeds", "0")
    where, nodes = siege.caught("epoch"), siege.world.nodes
    assert where is not None
    assert nodes is not None
    number = nodes.of(where.pid)
    assert number is not None
    (siege.world.folder / "barren" / str(nodes.raylets[number])).touch()
    siege.world.kill(where.pid)
    assert siege.finish() == [Exit.DONE]
    assert complaints(siege.world, siege.expected) == [], siege.world.told()
    assert redone(siege.world.moments()).begun <= 1
    assert where.pid not in siege.world.at_work()


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["a run that hangs", "a worker's process frozen"])
def test_a_run_that_makes_no_progress_is_ended_and_tried_again(besiege: Besiege, kind: str) -> None:
    siege = besiege(*SWEEP, "--seeds", "0", but=["--stall-minutes", "0.2"])
    assert done(siege, kind, pace=0.0)[kind] <= (1, 0)
    assert siege.codes == [Exit.DONE]
    assert "nothing was heard of its run" in siege.world.told()
