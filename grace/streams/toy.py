"""A tiny synthetic dataset with classes that a small net learns in seconds: for tests and examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grace.streams.catalogue import DatasetSpec

TRAIN_PER_CLASS = 40
TEST_PER_CLASS = 20
NOISE = 40.0  # standard deviation, of 255


def toy(spec: DatasetSpec, train: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images uint8 [N, C, H, W] and labels int64 [N] of one split: a prototype per class, plus noise.

    Prototypes are mirror images of themselves, so that a flip does not change the class. A class looks the same however
    many others there are.
    """
    per_class = TRAIN_PER_CLASS if train else TEST_PER_CLASS
    shape = (spec.channels, spec.size, spec.size)
    images = np.empty((spec.classes, per_class, *shape), dtype=np.uint8)
    for label in range(spec.classes):
        blocks = np.random.RandomState(label).uniform(0, 255, (spec.channels, 4, 2))
        coarse = np.concatenate([blocks, blocks[:, :, ::-1]], axis=2)
        nearest = np.arange(spec.size) * 4 // spec.size
        noise = np.random.RandomState([label, int(train)]).normal(0, NOISE, (per_class, *shape))
        images[label] = np.clip(coarse[:, nearest][:, :, nearest] + noise, 0, 255).astype(np.uint8)
    labels = np.tile(np.arange(spec.classes, dtype=np.int64), per_class)  # classes take turns, as in a shuffled set
    return images.swapaxes(0, 1).reshape(-1, *shape), labels
