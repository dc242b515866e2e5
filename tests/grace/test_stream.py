"""Streams of tasks: class order, relabelling, and which rows a task holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grace.streams.catalogue import DatasetSpec
from grace.streams.datasets import load, smallest_class
from grace.streams.protocol import Budget, Protocol
from grace.streams.samples import Dataset, Part, Task
from grace.streams.stream import held_out, tasks
from tests.grace.streams_for_tests import PROTOCOL, SPEC, data

torch.set_num_threads(1)
ORDER_1993 = """
68 56 78 8 23 84 90 65 74 76 40 89 3 92 55 9 26 80 43 38 58 70 77 1 85 19 17 50 28 53 13 81 45 82 6 59 83 16 15 44
91 41 72 60 79 52 20 10 31 54 37 95 14 71 96 98 97 2 64 66 42 22 35 86 24 34 87 21 99 0 88 27 18 94 11 12 47 25 30 46
62 69 36 61 7 63 75 5 32 4 51 48 73 93 39 67 29 49 57 33
"""


def protocol(classes: int, base: int, increment: int) -> Protocol:
    spec = DatasetSpec(name="toy", kind="toy", classes=classes, size=8, mean=(0.5,) * 3, std=(0.25,) * 3)
    return Protocol(name="toy", dataset=spec, base=base, increment=increment, budget=Budget(20), backbone="tiny")


class Labels(Dataset):
    """A split of which only the labels are asked for."""

    def __init__(self, y: torch.Tensor) -> None:
        self.y, self.bytes_per_image = y, 1


def shuffled(classes: int, per_class: int, seed: int) -> Labels:
    y = torch.arange(classes).repeat(per_class)
    return Labels(y[torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))])


def test_order_1993_is_the_fields_list() -> None:
    assert protocol(100, 0, 10).class_order(1993) == tuple(map(int, ORDER_1993.split()))


def test_labels_are_positions_in_the_class_order() -> None:
    spec = protocol(10, 0, 2).dataset
    order = (3, 7, 0, 9, 1, 2, 8, 6, 5, 4)
    plain, _ = load(spec, Path("unused"), range(10))
    train, test = load(spec, Path("unused"), order)
    assert plain.y.tolist() == list(range(10)) * 40  # classes take turns in the toy
    assert torch.equal(train.y, torch.tensor([order.index(int(label)) for label in plain.y]))
    assert sorted(set(test.y.tolist())) == list(range(10))
    rows = torch.arange(len(plain.y))
    assert torch.equal(train.batch(rows, "test", 0), plain.batch(rows, "test", 0))


@pytest.mark.parametrize("order", [range(9), range(11), [0] * 10, [*range(9), 10]])
def test_an_order_that_does_not_list_every_class_once_is_refused(order: list[int]) -> None:
    with pytest.raises(ValueError, match="0 to 9 once"):
        load(protocol(10, 0, 2).dataset, Path("unused"), order)


@settings(max_examples=60, deadline=None)
@given(
    classes=st.integers(2, 23),
    base=st.integers(0, 23),
    increment=st.integers(1, 23),
    per_class=st.integers(1, 4),
    cumulative=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_tasks_partition_the_stream(
    classes: int, base: int, increment: int, per_class: int, cumulative: bool, seed: int
) -> None:
    base, increment = min(base, classes), min(increment, classes)
    train, test = shuffled(classes, per_class, seed), shuffled(classes, 2, seed + 1)
    found = list(tasks(protocol(classes, base, increment), train, test, cumulative=cumulative))
    assert [task.index for task in found] == list(range(len(found)))
    assert [task.known for task in found] == [0, *(task.seen for task in found[:-1])]
    assert found[-1].seen == classes
    assert found[0].size == (base or increment)
    assert all(task.size == increment for task in found[1:-1])
    assert all(1 <= task.size <= max(increment, base) for task in found)
    for task in found:
        first = 0 if cumulative else task.known
        assert sorted(task.train.y.tolist()) == sorted(list(range(first, task.seen)) * per_class)
        assert sorted(task.test.y.tolist()) == sorted(list(range(task.seen)) * 2)
        for samples in (task.train, task.test):
            assert samples.rows.dtype == torch.int64
            assert (samples.rows.diff() > 0).all()  # dataset order, none twice
        assert task.train.source is train
        assert task.test.source is test
    if not cumulative:
        rows = torch.cat([task.train.rows for task in found])
        assert sorted(rows.tolist()) == list(range(len(train.y)))


def outline(task: Task) -> tuple[int, int, int, list[int], list[int]]:
    return task.index, task.known, task.seen, task.train.rows.tolist(), task.test.rows.tolist()


def test_a_stream_can_start_later() -> None:
    train, test = shuffled(10, 3, 1), shuffled(10, 2, 2)
    whole = list(tasks(protocol(10, 4, 3), train, test))
    assert [task.size for task in whole] == [4, 3, 3]
    later = list(tasks(protocol(10, 4, 3), train, test, start=1))
    assert [outline(task) for task in later] == [outline(task) for task in whole[1:]]
    assert list(tasks(protocol(10, 4, 3), train, test, start=3)) == []


def test_a_remainder_makes_a_smaller_last_task() -> None:
    train, test = shuffled(10, 1, 1), shuffled(10, 1, 2)
    assert [task.size for task in tasks(protocol(10, 0, 4), train, test)] == [4, 4, 2]


def test_smallest_class() -> None:
    assert smallest_class(Labels(torch.tensor([0, 0, 1, 2, 2, 2, 1, 0, 0]))) == 2


@pytest.mark.parametrize("cumulative", [False, True])
def test_a_stream_of_few_shots_trains_on_the_first_of_each_class(cumulative: bool) -> None:
    train, test = data()
    few = replace(PROTOCOL, dataset=replace(SPEC, shots=5))
    handed = [task.train.rows.tolist() for task in tasks(few, train, test, cumulative=cumulative)]
    assert len(handed) == 3
    for index, rows in enumerate(handed):
        labels = range(2 * index + 2) if cumulative else range(2 * index, 2 * index + 2)
        expected = [row for label in labels for row in (train.y == label).nonzero()[:5, 0].tolist()]
        assert rows == sorted(expected)
    whole = [len(task.test) for task in tasks(PROTOCOL, train, test)]
    assert [len(task.test) for task in tasks(few, train, test)] == whole


@given(st.integers(0, 2**32), st.sampled_from([0.05, 0.1, 0.3, 0.5]), st.sampled_from([0, 7]))
@settings(max_examples=20, deadline=None)
def test_what_is_held_out_is_a_part_of_each_class_that_is_not_left(seed: int, share: float, shots: int) -> None:
    stream = protocol(6, 0, 2)
    stream = replace(stream, dataset=replace(stream.dataset, shots=shots))
    whole = shuffled(6, 20, seed)
    left, held = held_out(stream, whole, share, seed, classes=4)
    assert not set(left.rows.tolist()) & set(held.rows.tolist())
    first = [(whole.y == label).nonzero()[: shots or 20, 0].tolist() for label in range(4)]
    assert sorted([*left.rows.tolist(), *held.rows.tolist()]) == sorted(row for rows in first for row in rows)
    assert held.y.bincount().tolist() == [max(1, round(share * (shots or 20)))] * 4
    assert left.rows.tolist() == sorted(left.rows.tolist())
    again = held_out(stream, whole, share, seed, classes=4)[1]
    assert torch.equal(again.rows, held.rows)


def test_another_seed_holds_other_images_out() -> None:
    whole = shuffled(4, 50, 0)
    first, second = (held_out(protocol(4, 0, 2), whole, 0.2, seed)[1].rows for seed in (0, 1))
    assert not torch.equal(first, second)


def test_a_class_of_one_image_cannot_be_parted() -> None:
    whole = Labels(torch.tensor([0, 0, 1, 2, 2, 3, 3]))
    with pytest.raises(ValueError, match="class 1 of the stream has 1 images"):
        held_out(protocol(4, 0, 2), whole, 0.1, 0)


def test_a_part_shows_the_images_of_its_rows() -> None:
    train, _ = load(protocol(4, 0, 2).dataset, Path("unused"), range(4))
    part = Part(train, torch.tensor([5, 9, 30]))
    own = torch.tensor([2, 0])
    for view in ("train", "test"):
        there = train.batch(torch.tensor([30, 5]), view, 3)  # type: ignore[arg-type]
        assert torch.equal(part.batch(own, view, 3), there)  # type: ignore[arg-type]
        assert torch.equal(torch.cat(list(part.stream(own, 1, view, 3))), there)  # type: ignore[arg-type]
    assert torch.equal(part.y, train.y[[5, 9, 30]])
