"""The text of a protocol file, as the verb `new protocol` writes it; `protocols.load` reads it back."""

from __future__ import annotations

import json

from grace.streams.catalogue import DatasetSpec
from grace.streams.protocol import Budget
from grace.streams.registry import dataset as find
from protocols.suffixes import budget_of


def template(
    name: str,
    dataset: str,
    base: int,
    increment: int,
    memory: str | int | Budget,
    backbone: str,
    *,
    own: DatasetSpec | None = None,
) -> str:
    """Return a TOML file with one protocol on a registered dataset, or on the user's `own`, described in full.

    An empty `name` leaves the canonical one. Raises ValueError for an unknown dataset or a memory that cannot be read.
    """
    budget = budget_of(str(memory))
    exemplars = budget.exemplars if budget.per == "total" else _toml(str(budget))
    about = _described(own) if own else [f"dataset = {_toml(find(dataset).name)}"]
    lines = [
        *about,
        "",
        "[[protocol]]",
        *([f"name = {_toml(name)}"] if name else []),
        f"base = {base}  # classes of the first task; 0: as many as the others",
        f"increment = {increment}",
        f'memory = {exemplars}  # exemplars in total, or "20/class"',
        f"backbone = {_toml(backbone)}",
        *([] if not own else ["schedule = 1.0  # fraction of every recipe's epochs"]),
    ]
    return "\n".join(lines) + "\n"


def _described(spec: DatasetSpec) -> list[str]:
    view = spec.augmentation
    padding = [f"padding = {view.padding}  # pixels"] if view.crop == "pad" else []
    return [
        "[dataset]",
        f"name = {_toml(spec.name)}",
        f'kind = {_toml(spec.kind)}  # "folder", "parquet" or a registered dataset to start from',
        *([f"path = {_toml(spec.path)}  # absolute, beside this file, or in the data folder"] if spec.encoded else []),
        f"classes = {spec.classes}",
        f"size = {spec.size}  # side of the input, pixels",
        f"channels = {spec.channels}  # 1 for grey",
        f"mean = {_toml(list(spec.mean))}",
        f"std = {_toml(list(spec.std))}",
        "",
        "[dataset.augmentation]",
        f'crop = {_toml(view.crop)}  # "pad", "resized" or "none"',
        *padding,
        f"flip = {_toml(view.flip)}",
        f"brightness = {view.brightness}  # factor from 1 - b to 1 + b",
        f"autoaugment = {_toml(view.autoaugment)}",
        f"cutout = {view.cutout}  # side of the hole, pixels",
    ]


def _toml(value: object) -> str:
    """Return a text, a truth value or a list of numbers as TOML writes it, which here is as JSON does."""
    return json.dumps(value, ensure_ascii=False)
