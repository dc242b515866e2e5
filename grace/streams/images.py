"""Dataset splits: held whole as one tensor, or decoded on demand, in worker processes if there are some."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from grace.checks import DataError
from grace.streams.catalogue import DatasetSpec
from grace.streams.encoded import Encoded, decode
from grace.streams.samples import Dataset, View, side_by_side
from grace.streams.views import augment, fit, normalise, sent

AHEAD = {"cpu": 2**23, "cuda": 2**23}  # bytes of inputs made at a time: what a cache holds; what fills a GPU
Piece = tuple[Tensor, View, int]  # rows, view, seed: what a worker is asked for
# A worker is asked for few images at a time, so that all share in a stream's first batch, for which training waits,
# and that what they hold ready, PIECE * EARLY images each, does not grow with the batch (shared memory may be small).
PIECE, EARLY = 32, 4


class TensorImages(Dataset):
    """One split held whole: x uint8 [N, C, H, W] on any device, y int64 [N] in stream order on the CPU.

    `known` is its digest, where that has been taken before; it counts as long as neither is written to.
    """

    def __init__(self, x: Tensor, y: Tensor, spec: DatasetSpec, known: bytes = b"") -> None:
        self.x, self.y, self.spec = x, y, spec
        self._known, self._versions = known, (x._version, y._version)
        self.bytes_per_image = spec.bytes_per_image

    def batch(self, rows: Tensor, view: View, seed: int) -> Tensor:
        """Return inputs float32 [B, 3, H, W] on the images' device; the whole batch is augmented at once."""
        x = self.x[sent(rows, self.x.device)]
        return normalise(augment(x, rows, seed, self.spec.augmentation) if view == "train" else x, self.spec)

    def stream(self, rows: Tensor, size: int, view: View, seed: int, more: Sequence[int] = ()) -> Iterator[Tensor]:
        """Yield `batch` of consecutive pieces of `rows`, several made at a time: views of few images are mostly calls.

        A view is a function of (seed, row), so that nothing depends on how many are made at once.
        """
        most = AHEAD.get(self.x.device.type, 0) // (4 * 3 * self.spec.size**2)  # images whose inputs are that large
        for piece in torch.split(rows, max(size, most // size * size)):
            views = [torch.split(self.batch(piece, view, each), size) for each in (seed, *more)]
            yield from map(side_by_side, zip(*views, strict=True))

    def to(self, device: torch.device) -> TensorImages:
        """Return the same split with its images on `device`."""
        return TensorImages(self.x.to(device), self.y, self.spec, self._still_known())

    def digest(self) -> bytes:
        """Return a hash of the pixels and of which images share a class; the order of classes is no part of it."""
        return self._still_known() or _digest(self.y, self.x.cpu().contiguous().numpy().data)

    def _still_known(self) -> bytes:
        return self._known if (self.x._version, self.y._version) == self._versions else b""


class EncodedImages(Dataset):
    """One split decoded on demand: y int64 [N] in stream order; `workers` processes decode ahead in `stream`.

    The processes import the main module anew: a script that asks for workers needs `if __name__ == "__main__":`.
    """

    def __init__(
        self, source: Encoded, y: Tensor, spec: DatasetSpec, workers: int = 0, device: torch.device | None = None
    ) -> None:
        self.y, self.spec, self.workers = y, spec, workers
        self.bytes_per_image = spec.bytes_per_image
        self.device = device or torch.device("cpu")
        # A GPU takes the views off the workers' hands, but for AutoAugment on resized crops, which is done one by one.
        one_by_one = spec.augmentation.autoaugment and spec.augmentation.crop == "resized"
        self.decoder = Decoder(source, spec, augments=self.device.type == "cpu" or one_by_one)
        self._plan: list[Piece] = []
        self._loader: DataLoader[Tensor | str] | None = None
        self._busy = False

    def batch(self, rows: Tensor, view: View, seed: int) -> Tensor:
        """Return inputs float32 [B, 3, size, size]; raises DataError naming an image that cannot be read."""
        return self._finished(iter([self.decoder[rows.cpu(), view, seed]]), rows, view, seed)

    def stream(self, rows: Tensor, size: int, view: View, seed: int, more: Sequence[int] = ()) -> Iterator[Tensor]:
        """Yield `batch` of consecutive pieces of `rows`, decoded ahead by the workers; equal to it bit for bit."""
        if not self.workers or self._busy:  # a second stream at the same time would have to share their queue
            yield from super().stream(rows, size, view, seed, more)
            return
        seeds = (seed, *more)
        self._busy = True
        try:
            batches = torch.split(rows.cpu(), size)
            views = [(batch, each) for batch in batches for each in seeds]
            self._plan[:] = [(piece, view, each) for batch, each in views for piece in torch.split(batch, PIECE)]
            decoded = iter(self._workers())
            for batch in batches:
                yield side_by_side([self._finished(decoded, batch, view, each) for each in seeds])
        finally:
            self._busy = False

    def to(self, device: torch.device) -> EncodedImages:
        """Return the same split, whose batches are brought to `device` as bytes and normalised there."""
        return EncodedImages(self.decoder.source, self.y, self.spec, self.workers, device)

    def digest(self) -> bytes:
        """Return a hash of names and sizes and of which images share a class, without reading the images."""
        return _digest(self.y, "\n".join(self.decoder.source.contents()).encode())

    def _finished(self, decoded: Iterator[Tensor | str], rows: Tensor, view: View, seed: int) -> Tensor:
        """Return the inputs of one batch, of as many pieces as its rows are; they are put together on the device."""
        pieces: list[Tensor] = []
        while sum(map(len, pieces)) < len(rows):
            piece = next(decoded)
            if isinstance(piece, str):
                raise DataError(piece)
            pieces.append(piece.to(self.device, non_blocking=True))
        x = torch.cat(pieces)
        if view == "train" and not self.decoder.augments:
            x = augment(x, rows, seed, self.spec.augmentation)
        return normalise(x, self.spec)

    def _workers(self) -> DataLoader[Tensor | str]:
        """Return the loader; its processes start with the first stream and stay for all later ones."""
        if self._loader is None:
            from multiprocessing import get_context

            context = get_context("forkserver")  # a plain fork would copy the threads' locks of torch and Ray
            # What workers import is imported once, before they part: it would take each a second and 140 MB of its own.
            context.set_forkserver_preload([__name__, "torchvision.transforms"])
            self._loader = DataLoader(
                self.decoder,  # type: ignore[arg-type]  # asked by piece, which its type does not foresee
                batch_size=None,
                sampler=self._plan,
                num_workers=self.workers,
                prefetch_factor=EARLY,
                multiprocessing_context=context,
                worker_init_fn=_give_back,
                persistent_workers=True,
                pin_memory=self.device.type == "cuda",  # the copy to the device then waits for nothing
                generator=torch.Generator(),  # or it would draw from the global one
            )
        return self._loader


class Decoder:
    """What a worker process holds: it reads, fits and, if it is to, augments pieces of a split; it has no state."""

    def __init__(self, source: Encoded, spec: DatasetSpec, augments: bool = True) -> None:
        self.source, self.spec, self.augments = source, spec, augments

    def __getitem__(self, piece: Piece) -> Tensor | str:
        """Return images uint8 [B, C, size, size], or what is wrong with one (an exception would lose its form)."""
        rows, view, seed = piece
        x = torch.empty((len(rows), self.spec.channels, self.spec.size, self.spec.size), dtype=torch.uint8)
        try:
            for place, row in enumerate(rows.tolist()):
                x[place] = fit(decode(self.source, row, self.spec.channels), row, view, seed, self.spec)
        except DataError as error:
            return str(error)
        return augment(x, rows, seed, self.spec.augmentation) if view == "train" and self.augments else x


def _give_back(worker: int) -> None:
    """Have a worker give the memory of whole pieces back at once: glibc would keep holes of hundreds of megabytes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
    if mallopt:
        mallopt(-3, 2**20)  # M_MMAP_THRESHOLD, which otherwise grows with what is freed


def _digest(y: Tensor, content: Any) -> bytes:
    """Return the hash of a split's content, and of its labels up to the naming of classes."""
    labels, inverse = torch.unique(y, return_inverse=True)
    first = torch.full((len(labels),), len(y)).scatter_reduce(0, inverse, torch.arange(len(y)), "amin")
    digest = hashlib.blake2b(first.argsort().argsort()[inverse].numpy().tobytes(), digest_size=32)
    digest.update(content)
    return digest.digest()
