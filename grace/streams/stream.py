"""The stream of tasks that a protocol makes of a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

import torch
from torch import Tensor

from grace.streams.protocol import Protocol
from grace.streams.samples import Dataset, Samples, Task


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
