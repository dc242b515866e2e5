"""Small sets as they are used, in one file that all processes of a node map: parsed once, in memory once.

    DATA/mapped/NAME-DIGEST.images: the training and the test images, uint8; both splits' labels, int64; what they are,
    as JSON; the length of that, int64, and `MARK`. Numbers are little-endian.

The pages are the system's, so a second process has them at once and without memory of its own. A mapping is private:
what a process writes into its tensors reaches neither the file nor anybody else. Where nothing can be written, next to
the data or in the folder for temporary files, each process parses for itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grace.streams.archives import alone

MARK = b"mapped-1"  # ends a whole file; another number for another format, or another way to parse or resize
END = struct.Struct("<q8s")
PLACES = ("train", "test")


@dataclass(frozen=True)
class Split:
    """One split held whole: images uint8 [N, C, H, W], labels int64 [N], and the digest of both."""

    x: NDArray[np.uint8]
    y: NDArray[np.int64]
    digest: bytes


Splits = tuple[Split, Split]


def mapped(name: str, data: Path, files: Iterable[Path], made: Callable[[], Splits]) -> Splits:
    """Return the two splits that `made` parses `files` to: mapped from a copy, which is made where there is none.

    A copy belongs to the files' names, sizes and times; one that is not whole is made again. Whoever starts meanwhile
    waits for it. Raises what `made` raises.
    """
    states = [f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    digest = hashlib.blake2b("\n".join([repr(MARK), *states]).encode(), digest_size=8).hexdigest()
    beside, elsewhere = data / "mapped", Path(tempfile.gettempdir()) / f"grace-mapped-{os.getuid()}"
    copies = [folder / f"{name}-{digest}.images" for folder in (beside, elsewhere) if _ours(folder)]
    whole = [found for found in map(_opened, copies) if found]
    if whole:
        return whole[0]
    found, splits = None, None
    for copy in copies:
        with suppress(OSError):  # a folder that we may not write, or that is full
            copy.parent.mkdir(parents=True, exist_ok=True)
            with alone(copy.parent / ".lock"):
                found = _opened(copy)  # another process may have made it meanwhile
                if found is None:
                    splits = splits or made()
                    _write(copy, splits)
                    found = _opened(copy)
        if found is not None:
            return found
    return splits or made()


def _ours(folder: Path) -> bool:
    """Whether a folder is one that nobody else could have filled, or not there yet: the temporary one is for all."""
    try:
        return folder.parent != Path(tempfile.gettempdir()) or folder.lstat().st_uid == os.getuid()
    except OSError:
        return True


def _opened(copy: Path) -> Splits | None:
    """Return the splits of a copy, or None where it is not there or not as it was written, as far as its end tells."""
    try:
        with copy.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - END.size))
            length, mark = END.unpack(file.read().rjust(END.size, b"\0"))
            start = size - END.size - length
            if mark != MARK or not 0 <= start <= size:
                return None
            file.seek(start)
            told = json.loads(file.read(length))
            shapes = [tuple(told[place]["shape"]) for place in PLACES]
            counts, pixels = [shape[0] for shape in shapes], [int(np.prod(shape)) for shape in shapes]
            if sum(pixels) + 8 * sum(counts) != start:
                return None
            file.seek(sum(pixels))
            labels = np.frombuffer(file.read(8 * sum(counts)), dtype="<i8").astype(np.int64)
            images = (
                np.memmap(file, np.uint8, mode="c", offset=offset, shape=shape)
                for offset, shape in zip((0, pixels[0]), shapes, strict=True)
            )
            digests = [bytes.fromhex(told[place]["digest"]) for place in PLACES]
            train, test = map(Split, images, np.split(labels, counts[:1]), digests)
            return train, test
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(copy: Path, splits: Splits) -> None:
    """Write a copy aside and move it into place, for reading only; the caller holds the lock."""
    for orphan in copy.parent.glob(f"{copy.name}.*.part"):
        orphan.unlink(missing_ok=True)
    told = {
        place: {"shape": split.x.shape, "digest": split.digest.hex()}
        for place, split in zip(PLACES, splits, strict=True)
    }
    text = json.dumps(told).encode()
    part = copy.with_name(f"{copy.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as sink:
            for split in splits:
                sink.write(np.ascontiguousarray(split.x).data)
            for split in splits:
                sink.write(split.y.astype("<i8").data)
            sink.write(text + END.pack(len(text), MARK))
            sink.flush()
            os.fsync(sink.fileno())  # or the name could outlive a power cut that the pixels do not
        part.chmod(0o444)
        os.replace(part, copy)
    finally:
        part.unlink(missing_ok=True)
