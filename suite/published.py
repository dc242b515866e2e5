"""Published numbers as values, from `protocols/published.toml`, found by what a protocol is and not by its spelling."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import protocols
from grace.streams.protocol import Budget, Protocol
from protocols.tables import Table
from suite.errors import SuiteError
from suite.tomlfile import read_toml

FILE = Path(protocols.__file__).with_name("published.toml")
METRICS = ("avg", "last", "top5_avg", "top5_last", "curve")  # as result rows have them; a curve has a value per task
HEADS = ("linear", "nme", "teacher", "student", "unknown")
TAGS = ("R", "C", "G", "A")
SETTINGS = ("dataset", "increments", "backbone", "augmentation", "exemplars")  # of a protocol, in order of their weight
UNKNOWN, NONE, THREE_ORDERS = "unknown", "none", "3 orders"
_TABLE_KEYS = ("source", "tag", "verified", "error", "head", "orders", "suffix", "backbone", "augmentation",
               "exemplars", "recipe", "note")  # fmt: skip
_ABOUT = ("source", "tag", "verified", "head", "orders", "augmentation", "backbone", "exemplars", "recipe", "note")
_ROW_KEYS = ("method", "values", *_TABLE_KEYS)


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a source says a method reaches on a protocol: `values` in percent, one, or one per task for a curve."""

    method: str
    protocol: Protocol
    metric: str  # one of METRICS
    values: tuple[float, ...]
    errors: tuple[float, ...]  # points, per value: how far it may have been misread; 0 where it was printed
    source: str
    tag: str  # R repository, C code, G digitised figure, A aggregator
    head: str  # one of HEADS
    orders: str  # the seed of the class order, "3 orders" for an average over three, or "unknown"
    augmentation: str  # in words, as `settings_of` has them, like the next three
    backbone: str
    exemplars: str
    dataset: str
    recipe: str = ""  # where it is known to be another than the method's usual one
    note: str = ""  # what to mind when comparing

    @property
    def verified(self) -> bool:
        """Whether somebody read the number where its authors put it."""
        return self.tag != "A"

    @property
    def error(self) -> float:
        """The mean error in points: that of a single value, or of a curve's distance."""
        return sum(self.errors) / len(self.errors)

    @property
    def text(self) -> str:
        """The value as it is shown: `58.6 +- 0.2`, `66.36` where nothing was digitised, a curve's values in a row."""
        if self.metric == "curve":
            return " ".join(f"{value:.1f}" for value in self.values)
        return f"{self.values[0]:{'.1f' if self.error else '.2f'}}" + (f" +- {self.error:.1f}" if self.error else "")

    def differing(self, identity: Mapping[str, Any], *, kept: bool = True) -> list[str]:
        """Return in which of SETTINGS a protocol's identity is another, in that order; what is unknown is no other.

        `kept`: whether the runs kept exemplars at all, which decides where the source says that the method keeps none.
        """
        own, other = identity_of(self.protocol), settings_of(identity)
        found = []
        for name in SETTINGS:
            said = getattr(self, name, "")
            if name == "exemplars" and said == NONE:
                differs = kept
            elif said == _words(self.protocol)[name]:
                differs = part(own, name) != part(identity, name)
            else:
                differs = said not in (UNKNOWN, other[name])
            if differs:
                found.append(name)
        return found

    @property
    def increments(self) -> str:
        """The tasks in words, as `settings_of` has them."""
        return _words(self.protocol)["increments"]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it: `value` and `error` are numbers, or lists for a curve."""
        one = self.metric != "curve"
        return {
            "method": self.method,
            "protocol": self.protocol.name,
            "metric": self.metric,
            "value": self.values[0] if one else list(self.values),
            "error": self.errors[0] if one else list(self.errors),
            **{name: getattr(self, name) for name in _ABOUT},
        }


@cache
def identity_of(protocol: Protocol) -> Mapping[str, Any]:
    """Return a protocol's identity as records hold it: what JSON gives back."""
    identity: Mapping[str, Any] = json.loads(json.dumps(protocol.identity()))
    return identity


def part(identity: Mapping[str, Any], setting: str) -> Any:
    """Return the part of a protocol's identity that one of SETTINGS is."""
    images = identity["dataset"]
    if setting == "dataset":
        return {name: value for name, value in images.items() if name != "augmentation"}
    if setting == "augmentation":
        return images.get("augmentation")
    if setting == "exemplars":  # the budget alone is that of the protocol before it was aligned
        return {**identity["budget"], "alignment": identity.get("alignment", "")}
    return identity[setting]


def settings_of(identity: Mapping[str, Any]) -> dict[str, str]:
    """Return the SETTINGS of a protocol's identity in words."""
    images, view = identity["dataset"], identity["dataset"].get("augmentation") or {}
    runs = [(size, len(list(group))) for size, group in groupby(identity["increments"])]
    strong = "AutoAugment and Cutout" if view.get("cutout") else "AutoAugment"
    return {
        "dataset": images["name"] + "".join(f" {key}={images[key]}" for key in ("cache", "shots") if images.get(key)),
        "increments": "+".join(str(size) if count == 1 else f"{count}x{size}" for size, count in runs),
        "backbone": identity["backbone"],
        "augmentation": strong if view.get("autoaugment") else "crop and flip",
        "exemplars": "+".join(filter(None, [str(Budget(**identity["budget"])), identity.get("alignment", "")])),
    }


_named = cache(protocols.get)


@cache
def _words(protocol: Protocol) -> dict[str, str]:
    return settings_of(identity_of(protocol))


def on(protocol: Protocol, method: str | None = None) -> list[Published]:
    """Return what is published on a protocol, under whatever name, by a method or by any, in the order of the file."""
    identity = identity_of(protocol)
    known = of(method) if method else published()
    return [entry for entry in known if identity_of(entry.protocol) == identity]


def of(method: str) -> list[Published]:
    """Return what is published of a method, in the order of the file."""
    return [entry for entry in published() if entry.method == method]


def relatives(protocol: Protocol) -> list[str]:
    """Return the other protocols that have numbers: the same classes of the same images in the same order of tasks."""
    own = identity_of(protocol)
    found = {entry.protocol.name: identity_of(entry.protocol) for entry in published()}
    same = ("dataset", "increments")
    return [name for name, other in found.items() if other != own and all(part(own, s) == part(other, s) for s in same)]


@cache
def published() -> tuple[Published, ...]:
    """Return everything in the file that is shipped."""
    return load(FILE)


def load(path: Path) -> tuple[Published, ...]:
    """Return what a file of published numbers holds; raises SuiteError naming table, row and key at fault."""
    content = read_toml(path)
    try:
        top = Table(content, path.name, ("approximate", "table"))
        about = top.number("approximate", 0.0, low=0, high=100)
        found: list[Published] = []
        for i, values in enumerate(content.get("table", []), start=1):
            found += _entries(Table(values, f"{path.name}, table {i}", (*_TABLE_KEYS, "columns", "rows")), about)
    except ValueError as error:
        raise SuiteError(str(error)) from None
    return tuple(found)


def _entries(table: Table, about: float) -> Iterable[Published]:
    """Yield the numbers of a table, row by row; raises ValueError for what cannot be read."""
    columns = [_column(table, text) for text in table.values.get("columns", [])]
    shared = {key: value for key, value in table.values.items() if key in _TABLE_KEYS}
    for i, values in enumerate(table.values.get("rows", []), start=1):
        own = Table(values, f"{table.where}, row {i}", _ROW_KEYS)
        row = Table(shared | own.values, own.where, _ROW_KEYS)
        numbers = row.text("values", wanted="numbers with spaces between them").split()
        curve = [metric for metric, _ in columns] == ["curve"]
        if len(numbers) != len(columns) and not curve:
            raise ValueError(f"{row.where}: {len(columns)} values are wanted, one per column, not {len(numbers)}")
        wrong = [text for text in numbers if not re.fullmatch(r"-|~?\d{1,2}(\.\d+)?", text)]
        if wrong or (curve and "-" in numbers):
            raise ValueError(f'{row.where}: percentages such as 58.6 or ~58.5 are wanted, not "{(wrong or ["-"])[0]}"')
        about_all, error = _about(row), row.number("error", 0.0, low=0, high=100)
        for (metric, name), cell in zip(columns, [numbers] if curve else [[text] for text in numbers], strict=True):
            if cell != ["-"]:
                errors = tuple(round(error + about * text.startswith("~"), 6) for text in cell)
                found = tuple(float(text.removeprefix("~")) for text in cell)
                yield _entry(row, about_all, metric, name, found, errors)


def _column(table: Table, text: object) -> tuple[str, str]:
    """Return metric and protocol of a column."""
    metric, _, name = str(text).partition(" ")
    if metric not in METRICS:
        raise ValueError(f'{table.where}: column "{text}": one of {", ".join(METRICS)} and a protocol are wanted')
    if metric == "curve" and len(table.values["columns"]) > 1:
        raise ValueError(f'{table.where}: column "{text}": a curve is the only column of its table')
    return metric, name


def _about(row: Table) -> dict[str, str]:
    """Return what holds of all numbers of a row."""
    tag, orders = row.choice("tag", TAGS), row.text("orders")
    if row.flag("verified", True) != (tag != "A"):
        raise ValueError(f'{row.where}: verified = false belongs to tag "A", and to no other')
    if not re.fullmatch(r"\d+", orders) and orders not in (THREE_ORDERS, UNKNOWN):
        raise row.refused("orders", f'a seed, "{THREE_ORDERS}" or "{UNKNOWN}"')
    texts = {key: row.text(key) for key in ("method", "source")}
    texts |= {key: row.text(key, "") for key in ("recipe", "note")}
    return {**texts, "tag": tag, "orders": orders, "head": row.choice("head", HEADS)}


def _entry(
    row: Table, about: Mapping[str, str], metric: str, name: str, values: tuple[float, ...], errors: tuple[float, ...]
) -> Published:
    """Return one number, or one curve, on the protocol of its column."""
    try:
        protocol = _named(name + row.text("suffix", ""))
    except ValueError as error:
        raise ValueError(f"{row.where}: {error}") from None
    if metric == "curve" and len(values) != len(protocol.increments):
        raise ValueError(f"{row.where}: {protocol.name} has {len(protocol.increments)} tasks, not {len(values)}")
    words = _words(protocol)
    own = {key: row.text(key, words[key]) for key in ("augmentation", "backbone", "exemplars")}
    return Published(
        protocol=protocol, metric=metric, values=values, errors=errors, dataset=words["dataset"], **about, **own
    )
