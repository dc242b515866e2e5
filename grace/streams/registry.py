"""Datasets by name, as values; `load` in grace.streams.datasets reads their images. Imports neither numpy nor torch."""

from __future__ import annotations

import re
from difflib import get_close_matches

from grace.streams.catalogue import Augmentation, DatasetSpec

_IMAGENET = "ImageNet terms of access: non-commercial research and education"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BRIGHTNESS = 63 / 255  # PyCIL's jitter

_SPECS = [
    DatasetSpec(
        name="cifar10",
        kind="cifar10",
        classes=10,
        size=32,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        augmentation=Augmentation(brightness=_BRIGHTNESS),
        per_class=5000,
        train_images=50_000,
        test_images=10_000,
        source="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; views as in PyCIL",
        licence="none stated; cite the report",
    ),
    DatasetSpec(
        name="cifar100",
        kind="cifar100",
        classes=100,
        size=32,
        mean=(0.5071, 0.4867, 0.4408),
        std=(0.2675, 0.2565, 0.2761),
        augmentation=Augmentation(brightness=_BRIGHTNESS),
        per_class=500,
        train_images=50_000,
        test_images=10_000,
        source="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; views as in PyCIL",
        licence="none stated; cite the report",
    ),
    DatasetSpec(
        name="digits",
        kind="digits",
        classes=10,
        size=8,
        channels=1,
        mean=(0.3054,),
        std=(0.3753,),
        augmentation=Augmentation(padding=1, flip=False),  # a mirrored digit is another sign
        per_class=140,
        train_images=1442,
        test_images=355,
        source="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998",
        licence="CC BY 4.0",
    ),
    DatasetSpec(
        name="fashion-mnist",
        kind="fashion-mnist",
        classes=10,
        size=28,
        channels=1,
        mean=(0.2860,),
        std=(0.3530,),
        # Garments are scaled until they touch the frame on one axis and leave about three pixels on the other: a
        # shift by 4 would cut a seventh off, 2 does not. A mirrored garment is still that garment.
        augmentation=Augmentation(padding=2),
        per_class=6000,
        train_images=60_000,
        test_images=10_000,
        source="Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv 1708.07747",
        licence="MIT",
    ),
    DatasetSpec(
        name="imagenet100-ucir",
        kind="folder",
        classes=100,
        size=224,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        augmentation=Augmentation(crop="resized", padding=0),
        subset="ucir",
        per_class=1034,
        train_images=128_856,
        test_images=5000,
        path="imagenet100-ucir",
        source="the first 100 of the seed-1993 permutation of ILSVRC 2012's 1000 classes (UCIR, FOSTER, PyCIL)",
        licence=_IMAGENET,
    ),
    DatasetSpec(
        name="imagenet100-first",
        kind="folder",
        classes=100,
        size=224,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        augmentation=Augmentation(crop="resized", padding=0),
        subset="first",
        test_images=5000,
        path="imagenet100-first",
        source="the first 100 classes of ILSVRC 2012 by WordNet id (PODNet, DER, DyTox)",
        licence=_IMAGENET,
    ),
    DatasetSpec(
        name="imagenet1000",
        kind="folder",
        classes=1000,
        size=224,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        augmentation=Augmentation(crop="resized", padding=0, brightness=_BRIGHTNESS),
        per_class=732,
        train_images=1_281_167,
        test_images=50_000,
        path="imagenet1000",
        source="Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015",
        licence=_IMAGENET,
    ),
    DatasetSpec(
        name="toy",
        kind="toy",
        classes=10,
        size=8,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        augmentation=Augmentation(padding=1),
        per_class=40,
        train_images=400,
        test_images=200,
        source="drawn from a fixed seed, for tests and examples",
        licence="no rights reserved",
    ),
]
DATASETS: dict[str, DatasetSpec] = {spec.name: spec for spec in _SPECS}

# Other names in use, without separators. A bare ImageNet-100 is the subset of GRACE, PyCIL and FOSTER.
ALIASES = {
    "cifar": "cifar100",  # as CIL_Survey writes it
    "fashion": "fashion-mnist",
    "fmnist": "fashion-mnist",
    "imagenet": "imagenet1000",
    "imagenet1k": "imagenet1000",
    "imagenet100": "imagenet100-ucir",
    "img100": "imagenet100-ucir",
    "img1000": "imagenet1000",
}


def spellings() -> dict[str, str]:
    """Return the registered name behind every accepted spelling, each without case and separators."""
    return ALIASES | {plain(name): name for name in DATASETS}


def plain(name: str) -> str:
    """Return a name without case and separators, by which datasets are told apart: `CIFAR-100` -> `cifar100`."""
    return re.sub(r"[-_/:.\s]", "", name.lower())


def dataset(name: str) -> DatasetSpec:
    """Return the dataset of that name in any spelling; raises ValueError with the nearest name for an unknown one."""
    known = spellings().get(plain(name))
    if known is not None:
        return DATASETS[known]
    near = nearest(name)
    hint = f'did you mean "{near}"?' if near else f"known: {', '.join(sorted(DATASETS))}"
    raise ValueError(f'unknown dataset "{name}"; {hint}')


def nearest(name: str) -> str | None:
    """Return the registered dataset whose name, or another name in use, resembles `name` most; None if none does."""
    known = spellings()
    near = get_close_matches(plain(name), known, n=1, cutoff=0.5)
    return known[near[0]] if near else None


def add(spec: DatasetSpec) -> None:
    """Register a dataset; adding an equal one again does nothing. Raises ValueError where the name is taken."""
    holder = spellings().get(plain(spec.name))
    if holder is not None and DATASETS.get(spec.name) != spec:
        raise ValueError(f'dataset name "{spec.name}" is taken by another dataset ({holder}); choose another name')
    DATASETS[spec.name] = spec
