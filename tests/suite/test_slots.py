"""How many lanes the nodes of a cluster hold, of which kinds, and what is said where none fits."""

from __future__ import annotations

from suite.slots import LANE_BYTES, Slot, lacking, places, room, slot

LAPTOP, SERVER = {"CPU": 8.0, "memory": 8 * LANE_BYTES}, {"CPU": 64.0, "GPU": 4.0, "memory": 256e9}


def test_how_many_lanes_fit() -> None:
    assert room([LAPTOP], slot(1, 1, 0)) == 8
    assert room([LAPTOP], slot(1, 3, 0)) == 2
    assert room([{**LAPTOP, "memory": 4 * LANE_BYTES}], slot(1, 1, 0)) == 4
    assert room([{**LAPTOP, "memory": 1.0}], slot(1, 1, 0)) == 1  # tried all the same
    assert room([SERVER, LAPTOP], slot(1, 1, 1)) == 4
    assert room([SERVER], slot(1, 1, 0.5)) == 8
    assert room([SERVER], slot(1, 1, 0.4)) == 8  # two to a GPU
    assert room([SERVER], slot(1, 1, 1 / 3)) == 12
    assert room([SERVER, SERVER], slot(1, 32, 1)) == 4  # by cores
    assert room([LAPTOP], slot(1, 9, 0)) == 0
    assert room([LAPTOP], slot(1, 1, 1)) == 0
    assert room([], slot(1, 1, 0)) == 0


def test_a_larger_slot_has_more_of_a_gpu_or_keeps_more_cores_free() -> None:
    assert slot(2, 4, 0.25) == Slot(2, 4, 0.5)
    assert slot(8, 4, 0.25) == Slot(8, 4, 1.0)  # one GPU is all that there is
    assert slot(4, 2, 0) == Slot(4, 8, 0.0)


def test_runs_get_no_larger_slots_than_there_are() -> None:
    assert places([LAPTOP], 1, 0, {"a": 2, "b": 64}, False) == (
        [Slot(1, 1), Slot(2, 2)], {"a": 2, "b": 2})  # fmt: skip
    assert places([LAPTOP], 8, 0, {"a": 2}, False) == ([Slot(1, 8)], {"a": 1})
    assert places([SERVER], 1, 0.25, {"a": 2}, False) == ([Slot(1, 1, 0.25), Slot(2, 1, 0.5)], {"a": 2})


def test_on_a_mixed_cluster_lanes_without_a_gpu_keep_to_nodes_without_any() -> None:
    kinds, _ = places([SERVER, LAPTOP], 2, 1, {}, True)
    assert [room([SERVER, LAPTOP], kind) for kind in kinds] == [4, 4]
    assert kinds[1] == Slot(cpus=2, bare=True)
    assert places([SERVER, LAPTOP], 2, 0, {}, True)[0] == [Slot(1, 2)]  # all are alike without GPUs


def test_what_is_said_where_none_fits() -> None:
    said = lacking([LAPTOP], slot(1, 9, 0))
    assert said.startswith("a run wants 9 CPUs and 0 GPUs; the largest node has 8 CPUs and 0 GPUs; lower --cpus")
