"""Image folders: ROOT/train/CLASS/*.jpg and ROOT/test/CLASS/* (or val)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grace.checks import DataError
from grace.streams.catalogue import DatasetSpec
from grace.streams.encoded import complete, decodes
from grace.streams.encoded.subsets import TESTS, members, roots

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SLICE = 1000  # files that a thread looks at in one go


@dataclass(frozen=True)
class Folder:
    """One split of an image folder: classes in order of name, files in order of path within a class.

    A million paths are arrays rather than tuples: every worker process holds them, in a fifth of the memory.
    """

    root: Path
    names: tuple[str, ...]  # of the classes
    files: NDArray[np.bytes_]  # relative to root, as the file system spells them
    sizes: NDArray[np.int64]  # bytes
    labels: NDArray[np.int64]  # position of the class in `names`
    stamp: int  # of all the files' times of change

    def read(self, row: int) -> bytes:
        """Return the encoded image of one row."""
        return Path(self.where(row)).read_bytes()

    def where(self, row: int) -> str:
        """Return the path of one row's image."""
        return str(self.root / os.fsdecode(self.files[row]))

    def contents(self) -> Iterator[str]:
        """Yield the names of the classes, then name and size of every file."""
        yield from self.names
        yield from (f"{os.fsdecode(file)} {size}" for file, size in zip(self.files, self.sizes, strict=True))

    def verify(self) -> None:
        """Look at every file's two ends; raises DataError for the first that is truncated or no image."""
        slices = [range(start, min(start + SLICE, len(self.files))) for start in range(0, len(self.files), SLICE)]
        with ThreadPoolExecutor(16) as pool:  # the time goes into waiting for the file system
            fault = next(filter(None, pool.map(self._fault, slices)), None)
        if fault:
            raise DataError(f"{fault}; restore the image or delete it")

    def _fault(self, rows: range) -> str | None:
        """Return what is wrong with the first damaged image among `rows`, if one is."""
        for row in rows:
            try:
                with open(self.where(row), "rb") as file:
                    head = file.read(16)
                    file.seek(max(0, int(self.sizes[row]) - 16))
                    whole = complete(head, file.read())
                if not whole and not decodes(self.read(row)):
                    return f"{self.where(row)}: truncated, or no image"
            except OSError as error:
                return f"{self.where(row)}: {error.strerror}"
        return None


def find_folders(spec: DatasetSpec, data: Path) -> tuple[Folder, Folder]:
    """List the two splits of an image folder; raises DataError naming what is missing or does not fit."""
    places = roots(spec, data)
    root = next((place for place in places if (place / "train").is_dir()), None)
    if root is None:
        raise DataError(f"{spec.name}: there is no {places[0] / 'train'}; lay the images out as "
                        f"{places[0]}/train/CLASS/*.jpg and {places[0]}/test/CLASS/*.jpg (or val)")  # fmt: skip
    train = root / "train"
    names = _folders(train)
    chosen = [names[i] for i in members(spec, names, train)]
    test = next((root / name for name in TESTS if _folders(root / name)), None)
    if test is None:
        raise DataError(f"{spec.name}: {root} has no test or val folder with a folder per class; "
                        "sort the test images into test/CLASS")  # fmt: skip
    odd = {*chosen} - {*_folders(test)} or {*_folders(test)} - {*names}
    if odd:
        raise DataError(f'{spec.name}: {train} and {test} do not have the same classes ("{min(odd)}" is only in one, '
                        f"{len(odd)} such); give both the same folders")  # fmt: skip
    return _listed(train, chosen), _listed(test, chosen)


def _folders(folder: Path) -> list[str]:
    """Return the sorted names of the class folders in `folder`; none where there is no such folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _listed(root: Path, names: list[str]) -> Folder:
    """List the images of the classes `names` below `root`; raises DataError for an empty class or an empty file."""
    files: list[bytes] = []
    sizes: list[int] = []
    labels: list[int] = []
    stamp = 0
    for label, name in enumerate(names):
        found = sorted(_images(root / name))
        if not found:
            raise DataError(f"{root / name}: holds no images ({' '.join(SUFFIXES)}); put those of the class there")
        for file, size, changed in found:
            if size == 0:
                raise DataError(f"{file}: empty file; restore the image or delete it")
            files.append(os.fsencode(Path(file).relative_to(root).as_posix()))
            sizes.append(size)
            labels.append(label)
            stamp += changed
    return Folder(root, tuple(names), np.array(files), np.array(sizes), np.array(labels, dtype=np.int64), stamp)


def _images(folder: Path | str) -> Iterator[tuple[str, int, int]]:
    """Yield path, size in bytes and time of change in nanoseconds of every image below `folder`."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _images(entry.path)
            elif entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith("."):
                stat = entry.stat()
                yield entry.path, stat.st_size, stat.st_mtime_ns
