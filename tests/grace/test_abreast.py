"""What is at rest is computed beside what learns: by stand-ins for CUDA's streams, who waits for whom, and when."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from grace.nets import abreast, incremental
from grace.nets.incremental import IncrementalNet, Output
from tests.grace.streams_for_tests import tiny

CPU = torch.device("cpu")
Waits = list[tuple[str, str]]  # who waits for whom


class Stream:
    """Stands for a CUDA stream."""

    made = 0
    waits: Waits

    def __init__(self, device: object = None) -> None:
        Stream.made += 1
        self.name = f"side {Stream.made}"

    def wait_stream(self, other: Stream) -> None:
        Stream.waits.append((self.name, other.name))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waits]:
    """Let it look as if a graph were captured, and tell who waits for whom."""
    Stream.made, Stream.waits = 0, []
    main = Stream()
    main.name, Stream.made = "main", 0
    now = [main]

    @contextmanager
    def streaming(stream: Stream) -> Iterator[None]:
        now.append(stream)
        yield
        now.pop()

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: now[-1])
    monkeypatch.setattr(torch.cuda, "stream", streaming)
    for module in (abreast, incremental):
        monkeypatch.setattr(module, "overlaps", lambda x: not x.requires_grad)
    abreast._streams.cache_clear()
    yield Stream.waits
    abreast.join()
    abreast._streams.cache_clear()


def made(branches: int) -> IncrementalNet:
    torch.manual_seed(4)
    net = IncrementalNet(tiny, CPU)
    for _ in range(branches):
        net.add_branch()
    net.add_classes(3)
    return net


def test_branches_at_rest_run_beside_what_learns(waits: Waits) -> None:
    where: list[tuple[int, str]] = []

    def call(index: int) -> Tensor:
        where.append((index, torch.cuda.current_stream().name))
        return torch.full((2,), float(index))

    calls = [lambda x, index=index: call(index) for index in range(6)]
    found = abreast.abreast(calls, [False, True, False, False, False, False], torch.ones(2))
    assert [int(value[0]) for value in found] == list(range(6))
    sides = ["side 1", "side 2", "side 3"]
    assert where == [(0, sides[0]), (2, sides[1]), (3, sides[2]), (4, sides[0]), (5, sides[1]), (1, "main")]
    assert waits == [*((side, "main") for side in sides), *(("main", side) for side in sides)]


@pytest.mark.parametrize("branches", [1, 3])
def test_a_net_at_rest_is_waited_for_when_one_looks(waits: Waits, branches: int) -> None:
    net, x = made(branches), torch.randn(2, 3, 8, 8)
    with pytest.MonkeyPatch.context() as plain:
        for module in (abreast, incremental):
            plain.setattr(module, "overlaps", lambda x: False)
        expected: Output = net(x)
    assert waits == []
    found: Output = net(x)
    begun = list(waits)
    assert begun[0] == ("side 1", "main")
    assert ("main", "side 1") not in begun
    assert torch.equal(found.logits, expected.logits)
    assert waits == [*begun, ("main", "side 1")]
    assert torch.equal(found.features, expected.features)
    assert all(torch.equal(a, b) for a, b in zip(found.maps, expected.maps, strict=True))
    assert len(waits) == len(begun) + 1


def test_images_are_held_until_then(waits: Waits) -> None:
    x = torch.randn(2, 3, 8, 8)
    gone = weakref.ref(x)
    found = made(1)(x)
    del x
    assert gone() is not None
    assert len(found.logits) == 2
    assert gone() is None


def test_what_nobody_looks_at_is_waited_for_in_the_end(waits: Waits) -> None:
    net = made(1)
    first, second = net(torch.randn(2, 3, 8, 8)), net(torch.randn(2, 3, 8, 8))
    assert waits == [("side 1", "main"), ("main", "side 1"), ("side 1", "main")]  # one at a time
    abreast.join()
    abreast.join()
    assert waits[3:] == [("main", "side 1")]
    assert len(first.logits) == len(second.logits) == 2
    assert len(waits) == 4


@pytest.mark.parametrize("part", ["head", "branch", "statistics"])
def test_a_net_of_which_something_learns_is_computed_at_once(waits: Waits, part: str) -> None:
    net = made(1)
    if part == "statistics":
        net.newest.train()
    else:
        next(iter((net.head if part == "head" else net.newest).parameters())).requires_grad_(True)
    assert not net.rests
    assert type(net(torch.randn(2, 3, 8, 8))) is Output
    assert waits == []


def test_outside_of_a_capture_nothing_is_put_off() -> None:
    net = made(2)
    assert net.rests
    assert type(net(torch.randn(2, 3, 8, 8))) is Output
    assert not abreast.Beside.pending
