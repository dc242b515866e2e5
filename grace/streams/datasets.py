"""Datasets from disk: checked before training, loaded with labels in stream order, fingerprinted for the record."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from grace.checks import DataError, require
from grace.streams import archives
from grace.streams.catalogue import DatasetSpec
from grace.streams.mapped import Split, Splits, mapped
from grace.streams.toy import toy

if TYPE_CHECKING:
    import torch

    from grace.streams.images import EncodedImages, TensorImages
    from grace.streams.samples import Dataset

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]  # images [N, C, H, W], labels [N]


def check(spec: DatasetSpec, data: Path, download: bool = True) -> str:
    """Return in words what is there; raises DataError where images are missing, damaged or of another dataset.

    Small sets are read in full; of image folders every file's two ends are looked at; Parquet shards are copied to
    their memory-mapped form. Imports no torch.
    """
    if spec.encoded:
        from grace.streams import encoded

        splits = encoded.find(spec, data)
        labels = [split.labels for split in splits]
        _complete(spec, *labels)
        for split in splits:
            split.verify()
    elif download and archives.missing(spec, data):
        return f"not there yet, will be downloaded to {data}"
    else:
        labels = [split[1] for split in _read(spec, data)]
    return f"{len(labels[0]):,} + {len(labels[1]):,} images of {spec.classes} classes"


def fetch(spec: DatasetSpec, data: Path) -> None:
    """Download a small set that is missing, with torchvision, showing progress; raises DataError if that fails."""
    if archives.missing(spec, data):
        archives.download(spec, data)


def load(
    spec: DatasetSpec, data: Path, order: Sequence[int], *, download: bool = True, workers: int = 0
) -> tuple[TensorImages, TensorImages] | tuple[EncodedImages, EncodedImages]:
    """Return the train and the test split, labelled by position in `order` (original classes in order of arrival).

    `workers` processes decode ahead where images are encoded. Raises ValueError where `order` does not list every
    class once, and DataError naming path and fix where images are missing, damaged or of another dataset.
    """
    import torch

    from grace.streams.images import EncodedImages, TensorImages

    require(
        sorted(order) == list(range(spec.classes)), f"{spec.name}: a class order lists 0 to {spec.classes - 1} once"
    )
    position = torch.empty(spec.classes, dtype=torch.int64)
    position[torch.tensor(order)] = torch.arange(spec.classes)
    if spec.encoded:
        from grace.streams import encoded

        sources = encoded.find(spec, data)
        _complete(spec, *(source.labels for source in sources))
        first, second = (EncodedImages(s, position[torch.from_numpy(s.labels)], spec, workers) for s in sources)
        return first, second
    if download:
        fetch(spec, data)
    splits = _whole(spec, data)
    _fits(spec, splits[0].x.shape[1], *(split.y for split in splits))
    train, test = (
        TensorImages(torch.from_numpy(split.x), position[torch.from_numpy(split.y)], spec, split.digest)
        for split in splits
    )
    return train, test


def fingerprint(train: Dataset, test: Dataset) -> str:
    """Return 32 hexadecimal digits that tell whether two runs saw the same images; independent of the class order.

    Pixels count for small sets, names and sizes of files for encoded ones, and for both which images share a class.
    """
    from grace.streams.images import EncodedImages, TensorImages

    digest = hashlib.blake2b(digest_size=16)
    for split in (train, test):
        require(isinstance(split, TensorImages | EncodedImages), f"no fingerprint of a {type(split).__name__}")
        digest.update(split.digest())  # type: ignore[attr-defined]
    return digest.hexdigest()


def smallest_class(train: Dataset) -> int:
    """Return the number of images of the smallest class: no more exemplars than these can be kept of every class."""
    return int(train.y.bincount().min())


def _whole(spec: DatasetSpec, data: Path) -> Splits:
    """Return both splits of a small set in the size of the inputs: parsed and resized once per node, then mapped."""

    def made() -> Splits:
        import torch

        from grace.streams.images import TensorImages

        splits = [(_sized(torch.from_numpy(x), spec.size), y) for x, y in _read(spec, data)]
        digests = [TensorImages(x, torch.from_numpy(y), spec).digest() for x, y in splits]
        train, test = (Split(x.numpy(), y, digest) for (x, y), digest in zip(splits, digests, strict=True))
        return train, test

    if spec.kind not in archives.ARCHIVES:  # made or unpacked in no time
        return made()
    return mapped(f"{spec.kind}-{spec.size}", data, archives.files(spec, data), made)


def _read(spec: DatasetSpec, data: Path) -> tuple[Arrays, Arrays]:
    """Return both splits of a small set, in the dataset's own labels; raises DataError for whatever is wrong."""
    if spec.kind == "toy":
        splits = toy(spec, train=True), toy(spec, train=False)
    elif spec.kind == "digits":
        splits = digits()
    elif spec.kind == "fashion-mnist":
        splits = archives.idx(spec, data, "train"), archives.idx(spec, data, "t10k")
    else:
        splits = archives.cifar(spec, data, train=True), archives.cifar(spec, data, train=False)
    _fits(spec, splits[0][0].shape[1], splits[0][1], splits[1][1])
    return splits


def _fits(spec: DatasetSpec, channels: int, train: NDArray[np.int64], test: NDArray[np.int64]) -> None:
    """Raise for images of other channels than are declared, ValueError, and for labels that are not complete."""
    require(
        channels == spec.channels, f"{spec.name}: images of {spec.kind} have {channels} channels, not {spec.channels}"
    )
    _complete(spec, train, test)


def _complete(spec: DatasetSpec, train: NDArray[np.int64], test: NDArray[np.int64]) -> None:
    """Raise DataError unless both splits have images of every class, and of no other."""
    for split, labels in (("training", train), ("test", test)):
        counts = np.bincount(labels, minlength=spec.classes)
        if len(counts) > spec.classes:
            raise DataError(f"{spec.name}: {split} labels run to {len(counts) - 1}, the dataset has {spec.classes} "
                            "classes; name the folder of the right dataset")  # fmt: skip
        if not counts.all():
            none = np.flatnonzero(counts == 0)
            raise DataError(f"{spec.name}: no {split} images of class {none[0]} ({len(none)} of {spec.classes} classes "
                            "have none); complete the dataset, or name another folder")  # fmt: skip


def digits() -> tuple[Arrays, Arrays]:
    """Return the UCI optical digits that come with the package (DIGITS.md): images uint8 [N, 1, 8, 8], 0..255.

    The last fifth of every class, in the order of the source, is the test split.
    """
    with np.load(Path(__file__).with_name("digits.npz")) as stored:
        images, labels = stored["images"], stored["labels"].astype(np.int64)
    x = ((images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)[:, None]  # 0..16, one to one
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        rows = np.flatnonzero(labels == label)
        test[rows[len(rows) - len(rows) // 5 :]] = True
    return (x[~test], labels[~test]), (x[test], labels[test])


def _sized(x: torch.Tensor, size: int) -> torch.Tensor:
    """Return images uint8 [N, C, size, size]: resized once, where a protocol asks for another size than is stored."""
    if x.shape[-2:] == (size, size):
        return x
    import torch
    from torchvision.transforms.functional import resize

    return torch.cat([resize(piece, [size, size], antialias=True) for piece in torch.split(x, 1000)])
