"""Parquet shards as the Hugging Face hub lays them out: ROOT/data/train-*.parquet and ROOT/data/test-*.parquet.

`validation-*` serves where there is no labelled test split; all files may also lie in ROOT or another folder of it.
A row is `image` (or `img`), a struct with `bytes` or plain binary, and `label` (or `fine_label`), an integer.
Compressed Parquet has no random access, so the encoded images are copied once into a memory-mapped Arrow file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from grace.checks import DataError
from grace.streams.catalogue import DatasetSpec
from grace.streams.encoded import complete, decodes
from grace.streams.encoded.subsets import TESTS, members, roots

if TYPE_CHECKING:
    import pyarrow as pa

IMAGES = ("image", "img")
LABELS = ("label", "fine_label", "labels")


@dataclass(frozen=True)
class Shards:
    """One split of Parquet shards."""

    files: tuple[Path, ...]
    arrow: Path  # the encoded images of all the files, memory-mapped
    rows: NDArray[np.int64]  # which of the images belong to the dataset
    labels: NDArray[np.int64]
    names: tuple[str, ...]  # of the classes, or their numbers

    def read(self, row: int) -> bytes:
        """Return the encoded image of one row."""
        chunks, starts = _mapped(self.arrow)
        index = int(self.rows[row])
        chunk = int(np.searchsorted(starts, index, side="right")) - 1
        encoded: bytes = chunks[chunk][index - int(starts[chunk])].as_py()
        return encoded

    def where(self, row: int) -> str:
        """Return the folder of the shards and the number of the image in them."""
        return f"{self.files[0].parent}: image {int(self.rows[row])} of {_pattern(self.files)}"

    def contents(self) -> Iterator[str]:
        """Yield the names of the classes, then name and size of every shard."""
        yield from self.names
        yield from (f"{file.name} {file.stat().st_size}" for file in self.files)

    @property
    def stamp(self) -> int:
        """The shards' times of change, in nanoseconds, added up."""
        return sum(file.stat().st_mtime_ns for file in self.files)

    def verify(self) -> None:
        """Do nothing: every image was looked at when the Arrow file was written."""


def find_shards(spec: DatasetSpec, data: Path) -> tuple[Shards, Shards]:
    """List the two splits of Parquet shards; raises DataError naming what is missing, damaged or does not fit."""
    places = roots(spec, data)
    below = [p for place in places if place != data for p in sorted(place.glob("[!.]*/"))]  # the hub's configurations
    folders = [folder for place in places for folder in (place / "data", place)] + below
    folder = next((folder for folder in folders if _files(folder, "train")), None)
    if folder is None:
        raise DataError(f"{spec.name}: there is no {places[0] / 'data' / 'train-*.parquet'}; lay the shards out as the "
                        "Hugging Face hub does: data/train-*.parquet and data/test-*.parquet")  # fmt: skip
    train = _files(folder, "train")
    tests = [files for name in TESTS if (files := _files(folder, name))]
    labelled = ((files, labels) for files in tests if (labels := _labels(files)).size and labels.min() >= 0)
    test = next(labelled, None)
    if test is None:
        raise DataError(f"{spec.name}: {folder} has no test-*.parquet or validation-*.parquet with labels; add the "
                        "test split")  # fmt: skip
    return _split(spec, train, _labels(train)), _split(spec, *test)


def _files(folder: Path, split: str) -> tuple[Path, ...]:
    """Return the shards of a split in `folder`; raises DataError where their names announce more of them."""
    files = tuple(sorted(folder.glob(f"{split}[-.]*parquet")))
    announced = {int(match[1]) for file in files if (match := re.search(r"-of-(\d+)", file.name))}
    if announced and announced != {len(files)}:
        raise DataError(
            f"{folder}: {len(files)} of {max(announced)} shards {_pattern(files)}; fetch those that are missing"
        )
    return files


def _pattern(files: tuple[Path, ...]) -> str:
    """Return how the shards of a split are called together."""
    return files[0].name if len(files) == 1 else f"{files[0].name.partition('-')[0]}-*.parquet"


def _column(file: Path, names: tuple[str, ...]) -> str:
    """Return which of the columns `names` a shard has; raises DataError if it has none, or is no whole Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_schema(file).names
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{file}: no whole Parquet file ({reason}); fetch it again") from error
    found = next((name for name in names if name in columns), None)
    if found is None:
        raise DataError(
            f"{file}: no column {' or '.join(names)} among {', '.join(columns)}; rename the one that is meant"
        )
    return found


def _read(file: Path, column: str) -> Iterator[pa.Array]:
    """Yield one column of a shard in pieces; raises DataError where the file is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(file, memory_map=True).iter_batches(batch_size=256, columns=[column]):
            yield batch.column(0)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: damaged ({str(error).partition(chr(10))[0]}); fetch it again") from error


def _labels(files: tuple[Path, ...]) -> NDArray[np.int64]:
    """Return the labels int64 [N] of the shards; raises DataError if they are no integers."""
    import pyarrow as pa

    parts = [np.empty(0, dtype=np.int64)]
    for file in files:
        name = _column(file, LABELS)
        for piece in _read(file, name):
            if not pa.types.is_integer(piece.type) or piece.null_count:
                raise DataError(f'{file}: column "{name}" holds {piece.type} or gaps; labels are integers from 0')
            parts.append(piece.to_numpy().astype(np.int64))
    return np.concatenate(parts)


def _names(file: Path) -> list[str]:
    """Return the class names that the hub keeps in a shard's metadata, or none."""
    import pyarrow.parquet as pq

    stored = (pq.read_schema(file).metadata or {}).get(b"huggingface", b"{}")
    feature: dict[str, Any] = json.loads(stored).get("info", {}).get("features", {}).get(_column(file, LABELS), {})
    return [str(name) for name in feature.get("names") or []]


def _split(spec: DatasetSpec, files: tuple[Path, ...], labels: NDArray[np.int64]) -> Shards:
    """Return one split, cut down to the dataset's classes."""
    where = files[0].parent / _pattern(files)
    names = _names(files[0]) or [str(i) for i in range(int(labels.max(initial=-1)) + 1)]
    kept = members(spec, names, where)
    odd = labels[(labels < 0) | (labels >= len(names))]
    if len(odd):
        raise DataError(
            f"{where}: has label {odd[0]}, {spec.name} has classes 0 to {len(names) - 1}; correct the labels"
        )
    position = np.full(len(names), -1)
    position[kept] = np.arange(len(kept))
    rows = np.flatnonzero(position[labels] >= 0)
    return Shards(files, _arrow(files), rows, position[labels][rows], tuple(names[i] for i in kept))


def _arrow(files: tuple[Path, ...]) -> Path:
    """Return the Arrow file of the shards' images: written once, beside them or in the folder for temporary files."""
    states = [f"{file.resolve()} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    name = f"{hashlib.blake2b(chr(10).join(states).encode(), digest_size=8).hexdigest()}.arrow"
    places = [files[0].parent / ".arrow", Path(tempfile.gettempdir()) / f"grace-arrow-{os.getuid()}"]
    for place in places:
        if (place / name).exists():
            return place / name
    for place in places:
        try:
            place.mkdir(exist_ok=True)
            handle, part = tempfile.mkstemp(dir=place, suffix=".part")
        except OSError:
            continue  # a folder that we may read and not write
        try:
            with os.fdopen(handle, "wb") as sink:
                _copy(files, sink)
            os.replace(part, place / name)  # whole or not there, however many processes do this at once
        except OSError as error:
            raise DataError(
                f"{place}: cannot take the images of {files[0].parent} ({error}); make room there"
            ) from error
        finally:
            Path(part).unlink(missing_ok=True)
        return place / name
    raise DataError(f"{places[0]}: cannot be written, nor can {places[1]}; make one of them writable")


def _copy(files: tuple[Path, ...], sink: Any) -> None:
    """Write the images of the shards as Arrow batches; raises DataError for the first that is truncated or none."""
    import pyarrow as pa

    schema = pa.schema([("image", pa.large_binary())])
    with pa.ipc.new_file(sink, schema) as writer:
        for file in files:
            done = 0
            for images in _read(file, _column(file, IMAGES)):
                nested = pa.types.is_struct(images.type) and images.type.get_field_index("bytes") >= 0
                encoded = images.field("bytes") if nested else images
                if not (pa.types.is_binary(encoded.type) or pa.types.is_large_binary(encoded.type)):
                    raise DataError(
                        f"{file}: the images are {images.type}, not encoded bytes; embed them as the hub does"
                    )
                for row, image in enumerate(encoded.to_pylist()):
                    if not image or not (complete(image[:16], image[-16:]) or decodes(image)):
                        raise DataError(f"{file}: image {done + row} is truncated or no image; fetch the file again")
                writer.write_batch(pa.record_batch([encoded.cast(pa.large_binary())], schema=schema))
                done += len(images)


@lru_cache(maxsize=8)  # per process: workers map the file for themselves
def _mapped(arrow: Path) -> tuple[list[pa.Array], NDArray[np.int64]]:
    """Return the memory-mapped batches of images and the number of the first image of each."""
    import pyarrow as pa

    chunks = pa.ipc.open_file(pa.memory_map(str(arrow))).read_all().column("image").chunks
    return chunks, np.cumsum([0, *(len(chunk) for chunk in chunks[:-1])])
