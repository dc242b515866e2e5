"""Dataset splits: held whole as one tensor, or decoded on demand, in worker processes if there are some."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from grace.checks import DataError
from grace.streams.catalogue import DatasetSpec
from grace.streams.encoded import Encoded, decode
from grace.streams.samples import Dataset, View
from grace.streams.views import augment, fit, normalise

Piece = tuple[Tensor, View, int]  # rows, view, seed: what a worker is asked for


class TensorImages(Dataset):
    """One split held whole: x uint8 [N, C, H, W] on any device, y int64 [N] in stream order on the CPU."""

    def __init__(self, x: Tensor, y: Tensor, spec: DatasetSpec) -> None:
        self.x, self.y, self.spec = x, y, spec
        self.bytes_per_image = spec.bytes_per_image

    def batch(self, rows: Tensor, view: View, seed: int) -> Tensor:
        """Return inputs float32 [B, 3, H, W] on the images' device; the whole batch is augmented at once."""
        rows = rows.to(self.x.device)
        x = self.x[rows]
        return normalise(augment(x, rows, seed, self.spec.augmentation) if view == "train" else x, self.spec)

    def to(self, device: torch.device) -> TensorImages:
        """Return the same split with its images on `device`."""
        return TensorImages(self.x.to(device), self.y, self.spec)

    def digest(self) -> bytes:
        """Return a hash of the pixels and of which images share a class; the order of classes is no part of it."""
        return _digest(self.y, self.x.cpu().contiguous().numpy().data)


class EncodedImages(Dataset):
    """One split decoded on demand: y int64 [N] in stream order; `workers` processes decode ahead in `stream`.

    The processes import the main module anew: a script that asks for workers needs `if __name__ == "__main__":`.
    """

    def __init__(self, source: Encoded, y: Tensor, spec: DatasetSpec, workers: int = 0) -> None:
        self.y, self.spec, self.workers = y, spec, workers
        self.bytes_per_image = spec.bytes_per_image
        self.decoder = Decoder(source, spec)
        self.device = torch.device("cpu")
        self._plan: list[Piece] = []
        self._loader: DataLoader[Tensor | str] | None = None
        self._busy = False

    def batch(self, rows: Tensor, view: View, seed: int) -> Tensor:
        """Return inputs float32 [B, 3, size, size]; raises DataError naming an image that cannot be read."""
        return self._finished(self.decoder[rows.cpu(), view, seed])

    def stream(self, rows: Tensor, size: int, view: View, seed: int) -> Iterator[Tensor]:
        """Yield `batch` of consecutive pieces of `rows`, decoded ahead by the workers; equal to it bit for bit."""
        if not self.workers or self._busy:  # a second stream at the same time would have to share their queue
            yield from super().stream(rows, size, view, seed)
            return
        self._busy = True
        try:
            self._plan[:] = [(piece, view, seed) for piece in torch.split(rows.cpu(), size)]
            for decoded in self._workers():
                yield self._finished(decoded)
        finally:
            self._busy = False

    def to(self, device: torch.device) -> EncodedImages:
        """Return the same split, whose batches are brought to `device` as bytes and normalised there."""
        moved = EncodedImages(self.decoder.source, self.y, self.spec, self.workers)
        moved.device = device
        return moved

    def digest(self) -> bytes:
        """Return a hash of names and sizes and of which images share a class, without reading the images."""
        return _digest(self.y, "\n".join(self.decoder.source.contents()).encode())

    def _finished(self, decoded: Tensor | str) -> Tensor:
        if isinstance(decoded, str):
            raise DataError(decoded)
        return normalise(decoded.to(self.device, non_blocking=True), self.spec)

    def _workers(self) -> DataLoader[Tensor | str]:
        """Return the loader; its processes start with the first stream and stay for all later ones."""
        if self._loader is None:
            from multiprocessing import get_context

            context = get_context("forkserver")  # a plain fork would copy the threads' locks of torch and Ray
            context.set_forkserver_preload([__name__])
            self._loader = DataLoader(
                self.decoder,  # type: ignore[arg-type]  # asked by piece, which its type does not foresee
                batch_size=None,
                sampler=self._plan,
                num_workers=self.workers,
                multiprocessing_context=context,
                persistent_workers=True,
                generator=torch.Generator(),  # or it would draw from the global one
            )
        return self._loader


class Decoder:
    """What a worker process holds: it reads, fits and augments pieces of a split, and has no state."""

    def __init__(self, source: Encoded, spec: DatasetSpec) -> None:
        self.source, self.spec = source, spec

    def __getitem__(self, piece: Piece) -> Tensor | str:
        """Return images uint8 [B, C, size, size], or what is wrong with one (an exception would lose its form)."""
        rows, view, seed = piece
        images = []
        try:
            for row in rows.tolist():
                images.append(fit(decode(self.source, row, self.spec.channels), row, view, seed, self.spec))
        except DataError as error:
            return str(error)
        x = torch.stack(images)
        return augment(x, rows, seed, self.spec.augmentation) if view == "train" else x


def _digest(y: Tensor, content: Any) -> bytes:
    """Return the hash of a split's content, and of its labels up to the naming of classes."""
    labels, inverse = torch.unique(y, return_inverse=True)
    first = torch.full((len(labels),), len(y)).scatter_reduce(0, inverse, torch.arange(len(y)), "amin")
    digest = hashlib.blake2b(first.argsort().argsort()[inverse].numpy().tobytes(), digest_size=32)
    digest.update(content)
    return digest.digest()
