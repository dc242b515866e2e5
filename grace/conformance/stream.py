"""A tiny stream and a tiny backbone: a run of all its tasks takes a second or two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from grace.nets.backbone import Backbone
from grace.streams.catalogue import Augmentation, DatasetSpec
from grace.streams.datasets import load
from grace.streams.protocol import Budget, Protocol
from grace.streams.samples import Dataset, View

SPEC = DatasetSpec(
    name="toy-six",
    kind="toy",
    classes=6,
    size=8,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    augmentation=Augmentation(padding=1, flip=True, brightness=0.1),
)
PROTOCOL = Protocol(
    name="toy-six-b0i2", dataset=SPEC, base=0, increment=2, budget=Budget(18), backbone="tiny", schedule=1.0
)
UNEVEN = Protocol(
    name="toy-six-b3i2", dataset=SPEC, base=3, increment=2, budget=Budget(12), backbone="tiny", schedule=1.0
)
WIDTH = 8
TINY_PARAMETERS = 3 * 8 * 9 + 16 + 2 * (8 * 8 * 9 + 16)


def tiny(signed: bool = False) -> Backbone:
    """Return one convolution and two stages, 3 -> 8 -> 8 -> 8 channels; a signed one ends without a ReLU."""

    def block(inputs: int, last: bool = False) -> nn.Module:
        convolution = nn.Conv2d(inputs, WIDTH, 3, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(WIDTH), nn.Identity() if signed and last else nn.ReLU())

    return Backbone(WIDTH, block(3), [block(WIDTH), block(WIDTH, last=True)])


def data(protocol: Protocol = PROTOCOL, order_seed: int = 1993) -> tuple[Dataset, Dataset]:
    """Return the train and the test split of a protocol on the toy."""
    return load(protocol.dataset, Path("unused"), protocol.class_order(order_seed))


class Spy(Dataset):
    """Stands for a split and notes which rows are read."""

    def __init__(self, inner: Dataset) -> None:
        self.inner, self.y, self.bytes_per_image = inner, inner.y, inner.bytes_per_image
        self.read: set[int] = set()

    def batch(self, rows: Tensor, view: View, seed: int) -> Tensor:
        """Note the rows and return what the split does."""
        self.read |= set(rows.tolist())
        return self.inner.batch(rows, view, seed)


@contextmanager
def settled() -> Iterator[None]:
    """Compute as a run does: by deterministic algorithms on one thread; then as before."""
    threads, exact = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(exact)
