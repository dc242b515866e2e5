"""Where a dataset of encoded images may lie, and which of the classes found there are its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grace.checks import DataError
from grace.streams.catalogue import DatasetSpec

TESTS = ("test", "val", "validation", "valid")  # names of the test split; the first one with labels is taken

# ImageNet-100 is the name of several subsets of the 1000 sorted classes: UCIR's draw, and the first by name.
SUBSETS: dict[str, Callable[[int], NDArray[np.int64]]] = {
    "ucir": lambda count: np.sort(np.random.RandomState(1993).permutation(1000)[:count]),
    "first": lambda count: np.arange(count),
}
DIGESTS = {  # BLAKE2b of the 100 sorted WordNet ids, joined by newlines: tells which subset a folder of 100 classes is
    "ucir": "accc21e4315f60a81ab97f1c71b7876e",
    "first": "2c83ed00613b72aa8e8b282a76a098ba",
}


def roots(spec: DatasetSpec, data: Path) -> list[Path]:
    """Return the folders in which `spec` may lie, likeliest first; the data folder itself may be the one."""
    own = data / (Path(spec.path).expanduser() if spec.path else spec.name)
    if Path(spec.path).is_absolute():
        return [own]
    wholes = ("imagenet100", "imagenet1000", "imagenet") if spec.subset else ()
    return [own, *(data / whole for whole in wholes), data]


def members(spec: DatasetSpec, names: list[str], where: Path) -> list[int]:
    """Return which of the sorted classes `names` belong to the dataset; raises DataError where they do not fit it."""
    if spec.subset and len(names) == 1000:
        return [int(i) for i in SUBSETS[spec.subset](spec.classes)]
    if len(names) != spec.classes:
        whole = " (or the 1000 that they are part of)" if spec.subset else ""
        raise DataError(f"{spec.name}: found {len(names)} classes in {where}, the dataset has {spec.classes}{whole}; "
                        f"complete it, or name the folder that holds {spec.name}")  # fmt: skip
    digest = hashlib.blake2b("\n".join(names).encode(), digest_size=16).hexdigest()
    other = next((name for name, known in DIGESTS.items() if known == digest and spec.subset not in ("", name)), None)
    if other:
        raise DataError(f'{spec.name}: {where} holds the ImageNet-100 subset "{other}", not "{spec.subset}"; '
                        "use the dataset of that subset (results do not mix), or another folder")  # fmt: skip
    return list(range(len(names)))
