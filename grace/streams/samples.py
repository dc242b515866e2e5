"""All that a learner may touch: the samples of one dataset split that it has been handed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

View = Literal["train", "test"]


class Dataset:
    """One labelled split. `y` int64 [N] on the CPU in stream order (0 arrives first); images are asked for by row.

    Subclasses hold images whole (`images.TensorImages`) or decode them on demand (`images.EncodedImages`).
    """

    y: Tensor
    bytes_per_image: int

    def batch(self, rows: Tensor, view: View, seed: int) -> Tensor:
        """Return inputs float32 [B, 3, H, W] for `rows` int64 [B].

        The test view ignores `seed`; the train view's draws are a function of (seed, row) alone.
        """
        raise NotImplementedError

    def stream(self, rows: Tensor, size: int, view: View, seed: int, more: Sequence[int] = ()) -> Iterator[Tensor]:
        """Yield `batch` of consecutive pieces of `rows`, `size` at a time; overridden where workers decode ahead.

        With `more` seeds each is followed by further views of its images: [(1 + len(more)) * B, 3, H, W].
        """
        for piece in torch.split(rows, size):
            yield side_by_side([self.batch(piece, view, each) for each in (seed, *more)])

    def to(self, device: torch.device) -> Dataset:
        """Return the split with its images where they are used, if they are held whole."""
        return self


class Part(Dataset):
    """Some rows of another split as a split of their own, numbered from 0 in the order in which they are given."""

    def __init__(self, whole: Dataset, rows: Tensor) -> None:
        self.whole, self.rows, self.y = whole, rows, whole.y[rows]
        self.bytes_per_image = whole.bytes_per_image

    def batch(self, rows: Tensor, view: View, seed: int) -> Tensor:
        """Return what the other split makes of its rows."""
        return self.whole.batch(self.rows[rows.cpu()], view, seed)

    def stream(self, rows: Tensor, size: int, view: View, seed: int, more: Sequence[int] = ()) -> Iterator[Tensor]:
        """Yield what the other split makes of its rows."""
        return self.whole.stream(self.rows[rows.cpu()], size, view, seed, more)

    def to(self, device: torch.device) -> Part:
        """Return the same part of the other split where that is used."""
        return Part(self.whole.to(device), self.rows)


def side_by_side(views: Sequence[Tensor]) -> Tensor:
    """Return the views of a batch, [B, ...] each, as one [views * B, ...]: view after view."""
    return views[0] if len(views) == 1 else torch.cat(list(views))


@dataclass(frozen=True)
class Samples:
    """Rows of one dataset split; adding two of them concatenates their rows."""

    source: Dataset
    rows: Tensor  # int64 [n]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.rows)

    def __add__(self, other: Samples) -> Samples:
        """Return the rows of both, in order."""
        return Samples(self.source, torch.cat([self.rows, other.rows]))

    @property
    def y(self) -> Tensor:
        """Labels int64 [n] in stream order."""
        return self.source.y[self.rows]

    def of_class(self, label: int) -> Samples:
        """Return the samples of one class, in dataset order."""
        return Samples(self.source, self.rows[self.y == label])

    def split(self, per_class: int, generator: torch.Generator) -> tuple[Samples, Samples]:
        """Return what is left and a random hold-out of at most `per_class` samples of each class; disjoint."""
        labels = self.y
        held = torch.zeros(len(self), dtype=torch.bool)
        for label in sorted(set(labels.tolist())):
            own = (labels == label).nonzero()[:, 0]
            held[own[torch.randperm(len(own), generator=generator)[:per_class]]] = True
        return Samples(self.source, self.rows[~held]), Samples(self.source, self.rows[held])


@dataclass(frozen=True)
class Batch:
    """What a loss sees: x float [B, 3, H, W], augmented and normalised; y int64 [B] in stream order.

    In a phase of several views both are [views * B]: view after view, in the same order of images.
    """

    x: Tensor
    y: Tensor
    images: int = 0  # of the whole batch, of which a rank of a data-parallel run sees its share; 0: these


@dataclass(frozen=True)
class Task:
    """One step of a stream: the new classes `known .. seen - 1`."""

    index: int
    known: int  # classes learned before this task
    seen: int  # classes learned after it
    train: Samples  # the new classes only (every class seen, for a learner that declares itself cumulative)
    test: Samples  # every class seen so far

    @property
    def size(self) -> int:
        """Number of new classes."""
        return self.seen - self.known
