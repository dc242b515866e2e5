"""CIFAR and Fashion-MNIST in the files that torchvision downloads, read by ourselves so that damage is named.

Below the data folder: `cifar-10-batches-py`, `cifar-100-python` (pickles) and `FashionMNIST/raw` (IDX, gzip or not).
"""

from __future__ import annotations

import gzip
import os
import pickle
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grace.checks import DataError
from grace.streams.catalogue import DatasetSpec


@dataclass(frozen=True)
class Archive:
    """A downloadable dataset: its class in torchvision, and where its files lie below the data folder."""

    torchvision: str
    file: str  # what is downloaded, where it is one file
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: str = ""  # key of a CIFAR pickle


ARCHIVES = {
    "cifar10": Archive("CIFAR10", "cifar-10-python.tar.gz", "cifar-10-batches-py",
                       tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch",), "labels"),
    "cifar100": Archive("CIFAR100", "cifar-100-python.tar.gz", "cifar-100-python",
                        ("train",), ("test",), "fine_labels"),
    "fashion-mnist": Archive("FashionMNIST", "", "FashionMNIST/raw",
                             ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
                             ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")),
}  # fmt: skip


def missing(spec: DatasetSpec, data: Path) -> bool:
    """Whether the dataset is one to download and none of its files is there; a part of them is damage instead."""
    archive = ARCHIVES.get(spec.kind)
    return archive is not None and not any(
        _found(data / archive.folder / name) for name in archive.train + archive.test
    )


def _found(path: Path) -> Path | None:
    """Return the file itself, or its gzip form beside it; None where neither is there."""
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)


def files(spec: DatasetSpec, data: Path) -> list[Path]:
    """Return the paths of all the dataset's files, train first; raises DataError for the first that is missing."""
    archive = ARCHIVES[spec.kind]
    return [_need(spec, data, name) for name in archive.train + archive.test]


def _need(spec: DatasetSpec, data: Path, name: str) -> Path:
    """Return the path of one of the dataset's files; raises DataError with what is there instead."""
    archive = ARCHIVES[spec.kind]
    found = _found(data / archive.folder / name)
    if found:
        return found
    if not missing(spec, data):
        raise DataError(
            f"{data / archive.folder / name}: missing; complete {spec.name}, or delete the folder and download it again"
        )
    others = [a.folder for a in ARCHIVES.values() if (data / a.folder).is_dir() and a != archive]
    there = f"it holds {', '.join(others)}; " if others else "" if data.is_dir() else "there is no such folder; "
    raise DataError(
        f"{spec.name}: no {archive.folder} in {data}; {there}name the folder that it is in, or allow the download"
    )


def cifar(spec: DatasetSpec, data: Path, *, train: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return one split of CIFAR, images uint8 [N, 3, 32, 32] and labels int64 [N]; raises DataError naming the file."""
    archive = ARCHIVES[spec.kind]
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for name in archive.train if train else archive.test:
        path = _need(spec, data, name)
        again = f"delete {path.parent} and download it again"
        try:
            with path.open("rb") as file:
                stored = _Plain(file, encoding="latin1").load()
            entry = {key.decode() if isinstance(key, bytes) else key: value for key, value in stored.items()}
        except Exception as error:  # a damaged pickle can raise nearly anything
            raise DataError(f"{path}: truncated or no CIFAR file ({_line(error)}); {again}") from error
        if archive.labels not in entry or "data" not in entry:
            raise DataError(f"{path}: has no {archive.labels}, so it is not {spec.name}; {again}")
        pixels, found = np.asarray(entry["data"]), entry[archive.labels]
        if pixels.dtype != np.uint8 or pixels.shape != (len(found), 3072):
            raise DataError(f"{path}: {pixels.shape} pixels for {len(found)} labels, not {(len(found), 3072)}; {again}")
        images.append(pixels.reshape(-1, 3, 32, 32))
        labels += found
    return np.concatenate(images), np.array(labels, dtype=np.int64)


class _Plain(pickle.Unpickler):
    """Unpickles arrays and plain values only: a data file may not run code."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what NumPy's own arrays are made of; raises UnpicklingError for anything else."""
        arrays = module.startswith("numpy") and name in {"_reconstruct", "_frombuffer", "ndarray", "dtype", "scalar"}
        if arrays or (module, name) in {("_codecs", "encode"), ("builtins", "bytearray")}:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def idx(spec: DatasetSpec, data: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return one split ("train" or "t10k") in IDX files: images uint8 [N, 1, H, W], labels; raises DataError."""
    images, path = _idx_array(_need(spec, data, f"{split}-images-idx3-ubyte"), 3)
    labels, labels_path = _idx_array(_need(spec, data, f"{split}-labels-idx1-ubyte"), 1)
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path}: {len(labels)} labels for the {len(images)} images of {path.name}; fetch both again"
        )
    return images[:, None], labels.astype(np.int64)


def _idx_array(path: Path, dimensions: int) -> tuple[NDArray[np.uint8], Path]:
    """Return the array of one IDX file of unsigned bytes, and its path."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: truncated or no gzip file ({_line(error)}); delete it and download it again"
        ) from error
    header = 4 + 4 * dimensions
    if len(raw) < header or raw[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(f"{path}: not an IDX file of unsigned bytes in {dimensions} dimensions; download it again")
    shape = tuple(int(n) for n in np.frombuffer(raw[4:header], dtype=">u4"))
    if len(raw) - header != np.prod(shape, dtype=np.int64):
        raise DataError(f"{path}: {len(raw) - header:,} bytes for an array of {shape}; delete it and download it again")
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape).copy(), path


def download(spec: DatasetSpec, data: Path) -> None:
    """Download with torchvision (checksums, progress) to a folder aside, then move what came into place."""
    from torchvision import datasets

    archive = ARCHIVES[spec.kind]
    try:
        data.mkdir(parents=True, exist_ok=True)
        with alone(data / ".download.lock"), tempfile.TemporaryDirectory(dir=data, prefix=".download-") as folder:
            if not missing(spec, data):  # another process has done it meanwhile
                return
            if archive.file and (data / archive.file).is_file():  # fetched by hand, not unpacked yet
                os.symlink((data / archive.file).resolve(), Path(folder) / archive.file)
            getattr(datasets, archive.torchvision)(folder, download=True)
            (data / archive.folder).parent.mkdir(exist_ok=True)
            os.replace(Path(folder) / archive.folder, data / archive.folder)  # whole or not there
    except (OSError, RuntimeError, EOFError) as error:
        raise DataError(f"{spec.name}: cannot be downloaded to {data} ({_line(error)}); put {archive.folder} there "
                        "by hand, or name the folder that it is in") from error  # fmt: skip


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock, so that processes that start together do not all do the same; raises OSError where it cannot be."""
    import fcntl

    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _line(error: BaseException) -> str:
    """Return the first line of what an exception says, or its name."""
    return str(error).partition("\n")[0] or type(error).__name__
