"""Presets: the published settings of a method per protocol, and the nearest ones where none were published."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import protocols
from grace.streams.protocol import Protocol

FOLDER = Path(__file__).with_name("presets")
SMALL = 64  # pixels: images up to this side are CIFAR's kind, larger ones ImageNet's


class Preset(NamedTuple):
    """Values over a method's defaults, where they are from, and whether they were published for this very protocol."""

    values: dict[str, Any]
    source: str  # in words: the publication, or which preset is borrowed and why; empty where a method has none
    exact: bool


def preset(method: str, protocol: Protocol) -> Preset:
    """Return the settings published for the protocol, or the nearest ones, saying so.

    Nearest: images of the same size class first (to 64 pixels, or larger), then the same start (B0, or a larger first
    task), then the same views (AutoAugment or not) and dataset, then the number of tasks. A method without presets
    keeps its defaults, which is exact.
    """
    published = _published(method)
    if not published:
        return Preset({}, "", True)
    for of, values, source in published:
        if of.identity() == protocol.identity():
            return Preset(dict(values), source, True)
    of, values, source = min(published, key=lambda entry: _distance(entry[0], protocol))
    words = f"nearest preset: {of.name} (no published setting for {protocol.name})"
    return Preset(dict(values), words, False)


def _distance(one: Protocol, other: Protocol) -> tuple[bool, bool, bool, bool, int]:
    return (
        (one.dataset.size <= SMALL) != (other.dataset.size <= SMALL),
        (one.base > 0) != (other.base > 0),
        one.dataset.augmentation.autoaugment != other.dataset.augmentation.autoaugment,
        one.dataset.name != other.dataset.name,
        abs(len(one.increments) - len(other.increments)),
    )


@cache
def _published(method: str) -> list[tuple[Protocol, dict[str, Any], str]]:
    """Return (protocol, values, source) for every table of the method's preset file, in its order."""
    path = FOLDER / f"{method}.toml"
    if not path.is_file():
        return []
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return [(protocols.get(name), table, table.pop("source")) for name, table in tables.items()]
