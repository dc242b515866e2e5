"""A dataset of the user's own, from the [dataset] table of a TOML file (protocols.files shows one)."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from os.path import expanduser
from pathlib import Path
from typing import Any, cast

from grace.streams.catalogue import Augmentation, DatasetSpec, Kind
from grace.streams.protocol import Budget
from grace.streams.registry import DATASETS, dataset, plain, spellings
from protocols.registry import USUAL, Usual
from protocols.tables import Table

DATASET_KEYS = ("name", "kind", "path", "classes", "size", "channels", "mean", "std", "augmentation", "per_class",
                "train_images", "test_images", "source", "licence")  # fmt: skip
_OWN = ("folder", "parquet")
_SMALL = 64  # pixels: images up to this side get padded crops and a net for small images
_STATISTICS = {1: ((0.5,), (0.5,)), 3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}  # colour: ImageNet's


def described(table: Table, folder: Path) -> DatasetSpec:
    """Return the dataset of a table in a file in `folder`; raises ValueError naming the key at fault."""
    name = table.text("name")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise table.refused("name", "a lower-case name such as my-flowers")
    start = _start(table)
    if start is None:
        size = table.whole("size", low=8, high=4096)
        channels = _one_of(table, "channels", 3, (1, 3))
        mean, std = _STATISTICS[channels]
        start = DatasetSpec(
            name=name,
            kind=cast(Kind, table.text("kind")),
            classes=table.whole("classes", low=2),
            size=size,
            channels=channels,
            mean=mean,
            std=std,
            augmentation=Augmentation(padding=size // 8) if size <= _SMALL else Augmentation(crop="resized", padding=0),
            path=table.text("path", wanted="a folder"),
        )
    elif not start.encoded and "path" in table:
        raise ValueError(f"{table.where}: path: {start.name} is read from the data folder, it has no path of its own")
    counts = ("per_class", "train_images", "test_images")
    given: dict[str, Any] = {key: table.whole(key, low=1) for key in counts if key in table}
    given |= {key: table.text(key) for key in ("source", "licence") if key in table}
    return replace(
        start,
        name=name,
        size=table.whole("size", start.size, low=8, high=4096),
        mean=table.numbers("mean", start.mean, low=0, high=1),
        std=table.numbers("std", start.std, low=0.001, high=1),
        augmentation=_augmentation(table, start),
        path=_path(table, start.path, folder),
        **given,
    )


def usual_on(table: Table, spec: DatasetSpec) -> Usual:
    """Return what is usual on a described dataset before its first protocol says otherwise."""
    start = _start(table)
    if start is not None:
        return replace(USUAL[start.name], called="")
    if spec.size <= _SMALL:
        return Usual(backbone="resnet32", budget=Budget(2000))
    return Usual(backbone="resnet18", after_base="resnet18-3x3-maxpool", budget=Budget(2000))


def _start(table: Table) -> DatasetSpec | None:
    """Return the registered dataset that `kind` names, checked to be left whole; None for images of the user's own."""
    kind = table.text("kind", wanted='"folder", "parquet" or a registered dataset')
    if kind in _OWN:
        return None
    if plain(kind) not in spellings():
        table.choice("kind", (*_OWN, *DATASETS))  # raises ValueError with the nearest
    start = dataset(kind)
    for key, value in (("classes", start.classes), ("channels", start.channels)):
        _one_of(table, key, value, (value,))
    return start


def _one_of(table: Table, key: str, default: int, allowed: tuple[int, ...]) -> int:
    value = table.whole(key, default, low=1)
    if value not in allowed:
        raise table.refused(key, " or ".join(map(str, allowed)))
    return value


def _augmentation(table: Table, start: DatasetSpec) -> Augmentation:
    usual = start.augmentation
    keys = tuple(field.name for field in fields(Augmentation))
    inner = Table(table.values.get("augmentation", {}), f"{table.where.removesuffix(']')}.augmentation]", keys)
    crop = inner.choice("crop", ("pad", "resized", "none"), usual.crop)
    if crop != "pad" and "padding" in inner:
        raise ValueError(f'{inner.where}: padding has a meaning where crop = "pad" only')
    room = usual.padding if crop == usual.crop else start.size // 8
    return Augmentation(
        crop=cast(Any, crop),
        padding=inner.whole("padding", room, low=0, high=start.size) if crop == "pad" else 0,
        flip=inner.flag("flip", usual.flip),
        brightness=inner.number("brightness", usual.brightness, low=0, high=0.99),
        autoaugment=inner.flag("autoaugment", usual.autoaugment),
        cutout=inner.whole("cutout", usual.cutout, low=0, high=start.size),
    )


def _path(table: Table, usual: str, folder: Path) -> str:
    """Return where the images are: an absolute folder, or one to be looked for in the data folder."""
    if "path" not in table:
        return usual
    path = expanduser(table.text("path").strip())
    if not path:
        raise table.refused("path", "a folder")
    beside = folder / path
    return str(beside.resolve() if beside.exists() else path)
