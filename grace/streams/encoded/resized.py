"""The images of a split brought to a shorter side once, in one file that all runs, lanes and nodes share.

    DATA/resized/NAME-SPLIT-SIDE-DIGEST.pnm: images as binary Netpbm, one after the other; where each begins and the
    last ends, int64 [N + 1]; N, int64, and `MARK`. Numbers are little-endian.

Pixels, not JPEGs of quality 95: `bench/decode.py` has them decoded in an eighth of the time for five times the room
(34 GB for ImageNet-100), and the test view of 224 pixels is that of the originals bit for bit. The file is read, not
mapped: mapped pages would count as each worker's memory, and a file cut short would kill it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from grace.checks import DataError
from grace.streams.catalogue import DatasetSpec
from grace.streams.encoded import Encoded, decode

if TYPE_CHECKING:
    from PIL.Image import Image

MARK = b"resized1"  # ends a whole file; another number for another format or another way to resize
END = struct.Struct("<q8s")
SLICE = 16  # images that a thread resizes in one go
THREADS = 32  # at most: more would wait for each other's turn at what Python itself does for an image
EVERY = 10.0  # seconds between two lines of progress


@dataclass(frozen=True)
class Resized:
    """One split of resized images; those whose shorter side is no longer than `side` have the size they had."""

    source: Encoded
    file: Path
    side: int  # pixels

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels int64 [N] of the originals."""
        return self.source.labels

    @property
    def stamp(self) -> int:
        """The stamp of the originals."""
        return self.source.stamp

    def read(self, row: int) -> bytes:
        """Return the resized image of one row; raises DataError where the file holds none there."""
        stored = _opened(self.file)
        start, end = int(stored.starts[row]), int(stored.starts[row + 1])
        image = os.pread(stored.descriptor, end - start, start)
        if len(image) < end - start or not image.startswith((b"P5\n", b"P6\n")):
            raise DataError(f"{self.file}: damaged; delete it, and it is made again")
        return image

    def where(self, row: int) -> str:
        """Return the file, and of what it holds a copy."""
        return f"{self.file} (copy of {self.source.where(row)})"

    def contents(self) -> Iterator[str]:
        """Yield what the originals' fingerprint is made of, then the size."""
        yield from self.source.contents()
        yield f"shorter side {self.side}"

    def verify(self) -> None:
        """Do nothing: every image was decoded when the file was made, and `resized` sees whether that is whole."""


def resized(source: Encoded, spec: DatasetSpec, split: str, data: Path) -> Resized:
    """Return the resized copy of a split, made first where it is not there, damaged, or of images since replaced.

    Whoever starts meanwhile waits for it. Raises DataError where an image cannot be read or the copy not be written.
    """
    digest = hashlib.blake2b(f"{MARK!r} {spec.cache} {spec.channels} {source.stamp}".encode(), digest_size=6)
    for line in source.contents():
        digest.update(f"\n{line}".encode())
    file = data / "resized" / f"{spec.name}-{split}-{spec.cache}-{digest.hexdigest()}.pnm"
    count = len(source.labels)
    try:
        if not _whole(file, count):
            file.parent.mkdir(parents=True, exist_ok=True)
            with _alone(file.parent):
                if not _whole(file, count):  # another process may have made it meanwhile
                    _make(source, spec, split, file)
    except OSError as error:
        raise DataError(f"{file.parent}: cannot hold the resized images of {spec.name} ({error.strerror or error}); "
                        "make it writable, make room there, or leave +cache256 out") from error  # fmt: skip
    return Resized(source, file, spec.cache)


def _whole(file: Path, count: int) -> bool:
    """Whether the file is there, and as it was when it was finished, as far as its length and its index tell."""
    try:
        starts = _starts(file)
    except FileNotFoundError:
        return False
    if len(starts) != count + 1:
        _say(f"{file}: damaged; it is made again")
        return False
    return True


def _starts(file: Path) -> NDArray[np.int64]:
    """Return where the images of a file begin and the last ends, int64 [N + 1]; empty where it is not whole."""
    with file.open("rb") as stored:
        size = stored.seek(0, os.SEEK_END)
        stored.seek(max(0, size - END.size))
        count, mark = END.unpack(stored.read().rjust(END.size, b"\0"))
        index = size - END.size - 8 * (count + 1)
        if mark != MARK or count < 0 or index < 0:
            return np.empty(0, dtype=np.int64)
        stored.seek(index)
        starts = np.frombuffer(stored.read(8 * (count + 1)), dtype="<i8").astype(np.int64)
    in_order = starts[0] == 0 and starts[-1] == index and bool((np.diff(starts) > 0).all())
    return starts if in_order else np.empty(0, dtype=np.int64)


class _Opened:
    """A whole file, open for as long as this is held; raises DataError where it is not whole."""

    descriptor = -1

    def __init__(self, file: Path) -> None:
        self.descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        self.starts = _starts(file)
        if not len(self.starts):
            raise DataError(f"{file}: damaged; delete it, and it is made again")

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


_opened = lru_cache(maxsize=8)(_Opened)  # per process: workers open the file for themselves


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system gives back however a process ends; say so where that takes waiting."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"{folder}: another process resizes images there; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(source: Encoded, spec: DatasetSpec, split: str, file: Path) -> None:
    """Write the file aside and move it into place; the caller holds the lock, so that other parts are left-overs."""
    for orphan in file.parent.glob(f"{file.name}.*.part"):
        orphan.unlink(missing_ok=True)
    count = len(source.labels)
    sample = range(0, count, -(-count // 64))
    room = count * sum(map(len, _resize(source, sample, spec))) // len(sample)
    free = shutil.disk_usage(file.parent).free
    if free < room:
        raise DataError(f"{file.parent}: {_bytes(free)} are free, the resized images of {spec.name} {split} take about "
                        f"{_bytes(room)}; make room there, or leave +cache256 out")  # fmt: skip
    _say(f"{spec.name}: resizing {count:,} {split} images once, about {_bytes(room)}, to {file}")
    part = file.with_name(f"{file.name}.{socket.gethostname()}-{os.getpid()}.part")
    try:
        with part.open("xb") as sink:
            starts = [0]
            started = told = time.monotonic()
            for image in _in_order(source, spec):
                sink.write(image)
                starts.append(starts[-1] + len(image))
                done, now = len(starts) - 1, time.monotonic()
                if now - told >= EVERY:
                    left = (now - started) / done * (count - done)
                    _say(f"{spec.name}: {done:,} of {count:,} {split} images resized, {left / 60:.1f} min left")
                    told = now
            sink.write(np.array(starts, dtype="<i8").tobytes() + END.pack(count, MARK))
            sink.flush()
            os.fsync(sink.fileno())  # or the name could outlive a power cut that the pixels do not
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
    _opened.cache_clear()  # this process may have had a damaged one open


def _in_order(source: Encoded, spec: DatasetSpec) -> Iterator[bytes]:
    """Yield every resized image, threads working a few slices ahead: Pillow decodes and resizes without the lock."""
    count, threads = len(source.labels), min(THREADS, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads)
    ahead: deque[Future[list[bytes]]] = deque()
    try:
        for start in range(0, count, SLICE):
            ahead.append(pool.submit(_resize, source, range(start, min(start + SLICE, count)), spec))
            if len(ahead) > 2 * threads:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _resize(source: Encoded, rows: range, spec: DatasetSpec) -> list[bytes]:
    """Return the images of some rows as they are stored."""
    return [_netpbm(shrunk(decode(source, row, spec.channels), spec.cache)) for row in rows]


def shrunk(image: Image, side: int) -> Image:
    """Return an image with its shorter side brought to `side` as torchvision's `resize` does; never an enlarged one."""
    from PIL import Image as P

    shorter, (width, height) = min(image.size), image.size
    if shorter <= side:
        return image
    return image.resize((int(side * width / shorter), int(side * height / shorter)), P.Resampling.BILINEAR)


def _netpbm(image: Image) -> bytes:
    kind = "P5" if image.mode == "L" else "P6"
    return f"{kind}\n{image.width} {image.height}\n255\n".encode() + image.tobytes()


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _say(text: str) -> None:
    """Tell whoever waits; on the error stream, as torchvision does when it downloads."""
    print(text, file=sys.stderr, flush=True)
