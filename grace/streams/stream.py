"""The stream of tasks that a protocol makes of a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

import torch
from torch import Tensor

from grace.checks import require
from grace.seeds import derive
from grace.streams.protocol import Protocol
from grace.streams.samples import Dataset, Part, Samples, Task


def tasks(
    protocol: Protocol, train: Dataset, test: Dataset, start: int = 0, cumulative: bool = False
) -> Iterator[Task]:
    """Yield the tasks from number `start` on; rows in dataset order, labels of both splits in stream order.

    A task trains on its new classes, or with `cumulative` on every class seen; it tests on every class seen. Where the
    dataset is limited to some shots, the first of each class in the dataset's order are trained on.
    """
    used = _first(train.y, protocol.dataset.shots)
    ends = list(accumulate(protocol.increments))
    for index, (known, seen) in enumerate(zip([0, *ends], ends, strict=False)):
        if index >= start:
            new = (train.y < seen) if cumulative else (train.y >= known) & (train.y < seen)
            yield Task(index, known, seen, _where(train, new & used), _where(test, test.y < seen))


def held_out(
    protocol: Protocol, train: Dataset, share: float, seed: int, classes: int | None = None
) -> tuple[Part, Part]:
    """Return what is left of a training split, and a random `share` of each class (a fraction), held out of it.

    At least one image of a class is held out and at least one left; of a class's shots where the dataset is limited to
    some. With `classes` only the first so many of the stream are in either. Both keep the dataset's order. Raises
    ValueError where a class has but one image.
    """
    end = sum(protocol.increments) if classes is None else classes
    samples = _where(train, (train.y < end) & _first(train.y, protocol.dataset.shots))
    held = torch.zeros(len(train.y), dtype=torch.bool)
    for label in range(end):
        own = samples.of_class(label)
        require(len(own) > 1, f"{protocol.name}: class {label} of the stream has {len(own)} images, none to hold out")
        count = min(max(1, round(share * len(own))), len(own) - 1)
        generator = torch.Generator().manual_seed(derive(seed, "held out", label))
        held[own.split(count, generator)[1].rows] = True
    left = torch.zeros_like(held)
    left[samples.rows] = True
    return Part(train, (left & ~held).nonzero()[:, 0]), Part(train, held.nonzero()[:, 0])


def _first(labels: Tensor, count: int) -> Tensor:
    """Return bool [N]: whether a row is among the first `count` of its class; all are where it is 0."""
    if not count:
        return torch.ones_like(labels, dtype=torch.bool)
    used = torch.zeros_like(labels, dtype=torch.bool)
    for label in set(labels.tolist()):
        used[(labels == label).nonzero()[:count, 0]] = True
    return used


def _where(source: Dataset, chosen: Tensor) -> Samples:
    """Return the rows of a split where `chosen` bool [N] holds."""
    return Samples(source, chosen.nonzero().flatten())
