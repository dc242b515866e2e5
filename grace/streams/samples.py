"""All that a learner may touch: the samples of one dataset split that it has been handed."""

from __future__ import annotations

from collections.abc import Iterator
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

    def stream(self, rows: Tensor, size: int, view: View, seed: int) -> Iterator[Tensor]:
        """Yield `batch` of consecutive pieces of `rows`, `size` at a time; overridden where workers decode ahead."""
        for piece in torch.split(rows, size):
            yield self.batch(piece, view, seed)

    def to(self, device: torch.device) -> Dataset:
        """Return the split with its images where they are used, if they are held whole."""
        return self


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


@dataclass(frozen=True)
class Batch:
    """What a loss sees: x float [B, 3, H, W], augmented and normalised; y int64 [B] in stream order."""

    x: Tensor
    y: Tensor


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
