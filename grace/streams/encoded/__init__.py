"""Encoded images where they lie, in class folders or Parquet shards: listed, checked, read one by one; no torch."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from grace.checks import DataError
from grace.streams.catalogue import DatasetSpec

if TYPE_CHECKING:
    from PIL.Image import Image


class Encoded(Protocol):
    """One split of encoded images; it can be pickled, since worker processes read it."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels int64 [N] in the dataset's own order of classes."""

    def read(self, row: int) -> bytes:
        """Return the encoded image of one row."""

    def where(self, row: int) -> str:
        """Return what one row's image is called in messages."""

    def contents(self) -> Iterator[str]:
        """Yield what a fingerprint is made of, labels aside."""

    @property
    def stamp(self) -> int:
        """A number that is another one once a file has been replaced, even by one of the same name and size."""

    def verify(self) -> None:
        """Look at every image's two ends; raises DataError for the first that is truncated or no image."""


def find(spec: DatasetSpec, data: Path) -> tuple[Encoded, Encoded]:
    """List both splits of `spec` below the data folder, resized copies where it asks for them, which are made once.

    Raises DataError naming what is missing, damaged or does not fit.
    """
    train, test = _originals(spec, data)
    if not spec.cache:
        return train, test
    from grace.streams.encoded.resized import resized

    return resized(train, spec, "train", data), resized(test, spec, "test", data)


def _originals(spec: DatasetSpec, data: Path) -> tuple[Encoded, Encoded]:
    if spec.kind == "folder":
        from grace.streams.encoded.folders import find_folders

        return find_folders(spec, data)
    from grace.streams.encoded.shards import find_shards

    return find_shards(spec, data)


def complete(head: bytes, tail: bytes) -> bool:
    """Whether first and last bytes are those of a whole JPEG or PNG."""
    jpeg = head.startswith(b"\xff\xd8\xff") and tail.endswith(b"\xff\xd9")
    return jpeg or (head.startswith(b"\x89PNG\r\n\x1a\n") and tail.endswith(b"IEND\xaeB`\x82"))


def decodes(encoded: bytes) -> bool:
    """Whether an image that by its ends is neither a whole JPEG nor a whole PNG can be decoded all the same."""
    from PIL import Image

    try:
        Image.open(BytesIO(encoded)).load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def decode(source: Encoded, row: int, channels: int) -> Image:
    """Return one image in mode "RGB" or, for one channel, "L"; raises DataError naming it if it cannot be read."""
    from PIL import Image

    mode = "L" if channels == 1 else "RGB"
    try:
        image = Image.open(BytesIO(source.read(row)))
        image.load()
        return image if image.mode == mode else image.convert(mode)  # to its own mode it would be copied
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{source.where(row)}: cannot be read ({reason}); restore it or delete it") from error
