"""Configuration files of the GRACE reference and of PyCIL, as they are, to sweeps: what each key became is said."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import protocols
from grace.methods import METHODS
from grace.nets import BACKBONES
from grace.streams.protocol import Budget, Protocol
from suite.errors import Exit, SuiteError, unknown
from suite.presets import FOLDER, SMALL

NEEDED = ("dataset", "model_name", "convnet_type", "init_cls", "increment", "memory_size", "seed")
OPTIONAL = ("memory_per_class", "fixed_memory")
LARGEST_SEED = 2**32 - 1  # NumPy's legacy generator takes no larger one
ORIGIN = "PyCIL"  # of a configuration that no method claims


@dataclass(frozen=True)
class Imported:
    """A sweep as plain values, and lines that say what every key became."""

    sweep: dict[str, Any]
    report: list[str]


def read(path: Path, *, lenient: bool = False) -> Imported:
    """Return the sweep that a JSON configuration describes.

    Raises SuiteError, in one line with file and key, for what cannot be read, is not known (dropped and reported with
    `lenient`), is of another type, or has no counterpart here.
    """
    try:
        return _Import(_parsed(path), lenient).result(path)
    except SuiteError as error:
        raise SuiteError(f"{path}: {error}", error.code) from None


def to_toml(sweep: Mapping[str, Any], report: list[str]) -> str:
    """Return the sweep as a TOML file that starts with the report."""
    import tomlkit

    document = tomlkit.document()
    for line in report:
        document.add(tomlkit.comment(line))
    document.add(tomlkit.nl())
    for key, value in sweep.items():
        document.add(key, tomlkit.item(value))
    return tomlkit.dumps(document)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except FileNotFoundError:
        raise SuiteError("no such file", Exit.USAGE) from None
    except OSError as error:
        raise SuiteError(str(error.strerror), Exit.USAGE) from None
    except UnicodeDecodeError:
        raise SuiteError("not a text file") from None
    except json.JSONDecodeError as error:
        raise SuiteError(f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise SuiteError("not a configuration: nested too deeply") from None
    if not isinstance(values, dict):
        raise SuiteError("not a configuration: a JSON object is wanted")
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise SuiteError(f'key "{key}" is there twice')
    return dict(pairs)


def _no_number(text: str) -> float:
    raise SuiteError(f"{text} is no number that a configuration can have")


class _Import:
    """One configuration on its way to a sweep, and the report as it grows."""

    def __init__(self, values: dict[str, Any], lenient: bool) -> None:
        rules = tomllib.loads((FOLDER / "importing.toml").read_text(encoding="utf-8"))
        self.values, self.lenient = values, lenient
        self.elsewhere: dict[str, str] = rules["elsewhere"]
        self.only: dict[str, dict[str, Any]] = rules["only"]
        self.method = self._method()
        own = rules["method"].get(self.method, {})
        self.origin: str = own.get("origin", ORIGIN)
        self.fields: dict[str, str] = own.get("fields", {})
        self.asks: dict[str, str] = own.get("ask", {})
        self.said: dict[str, list[str]] = {"mapped": [], "note": [], "not carried": [], "ask": []}

    def result(self, path: Path) -> Imported:
        """Return the sweep and its report; the sweep is called after the file."""
        self._check_keys()
        self._say("mapped", f"model_name -> {self.method}")
        name = re.sub(r"[^A-Za-z0-9._+-]", "-", path.stem).lstrip("._+-") or "imported"
        sweep: dict[str, Any] = {"name": name, "methods": [self.method], "protocols": [self._protocol()]}
        sweep |= {"orders": self._orders(), "seeds": [1]}
        settings = {field: self._number(key) for key, field in self.fields.items() if key in self.values}
        if settings:
            sweep["method"] = {self.method: settings}
        for key, field in self.fields.items():
            if key in self.values:
                self._say("mapped", f"{key} {self.values[key]} -> method.{self.method}.{field}")
        for key, why in self.asks.items():
            if key in self.values:
                self._say("ask", f"{key} {self._text(key)}: {why}")
        lines = [f"{kind:<12} {text}" for kind, texts in self.said.items() for text in texts]
        return Imported(sweep, [f"{'read':<12} {self.origin} JSON, {len(self.values)} keys", *lines])

    def _say(self, kind: str, text: str) -> None:
        self.said[kind].append(text)

    def _check_keys(self) -> None:
        """Refuse unknown and missing keys, and values without a counterpart; say what is left behind."""
        known = [*NEEDED, *OPTIONAL, *self.elsewhere, *self.only, *self.fields, *self.asks]
        for key, value in self.values.items():
            if key in self.elsewhere:
                self._say("not carried", f"{key}: {self.elsewhere[key]}")
            elif key in self.only:
                wanted = self.only[key]["value"]
                if value != wanted or type(value) is not type(wanted):
                    raise _wrong(key, f"{json.dumps(wanted)} ({self.only[key]['why']})", value)
                self._say("not carried", f"{key}: always {json.dumps(wanted)} here")
            elif key not in known and self.lenient:
                self._say("not carried", f"{key}: unknown, dropped")
            elif key not in known:
                near = get_close_matches(key, known, n=1, cutoff=0.6)
                hint = f'did you mean "{near[0]}"? ' if near else ""
                raise SuiteError(f'unknown key "{key}"; {hint}(--lenient drops it)')
        for key in NEEDED:
            if key not in self.values:
                raise SuiteError(f'"{key}" is missing')

    def _method(self) -> str:
        name = self._text("model_name")
        if name.lower() not in METHODS:
            raise unknown("method", name, METHODS, see="list methods")
        return name.lower()

    def _orders(self) -> list[int]:
        value = self.values["seed"]
        seeds = value if isinstance(value, list) else [value]
        if not seeds or not all(type(seed) is int and 0 <= seed <= LARGEST_SEED for seed in seeds):
            raise _wrong("seed", "a list of whole numbers from 0, such as [1993],", value)
        orders = list(dict.fromkeys(seeds))
        self._say("mapped", f"seed -> orders {', '.join(map(str, orders))}")
        self._say("note", "seed sets the class order only in the source; its weights always have seed 1 -> seeds 1")
        return orders

    def _protocol(self) -> str:
        """Return the canonical name of the protocol that the keys of stream, backbone and memory make."""
        source, first, increment = self._text("dataset"), self._whole("init_cls", 1), self._whole("increment", 1)
        try:
            stream = protocols.get(f"{source}-{first}-{increment}")
            name = protocols.get(f"{stream.name}+net={self._backbone(stream)}+m={self._memory()}").name
        except ValueError as error:
            raise SuiteError(str(error)) from None
        self._say("mapped", f"dataset, init_cls, increment -> {name} ({protocols.describe(stream)})")
        if stream.dataset.subset:
            self._say("note", f"{source} is taken for {stream.dataset.name}: {stream.dataset.source}")
        return name

    def _backbone(self, stream: Protocol) -> str:
        """Return the backbone; the source picks the stem of its larger ResNets by images and first task."""
        name = self._text("convnet_type").lower()
        found = name
        if f"{name}-3x3" in BACKBONES:
            large = "-3x3-maxpool" if stream.base else ""
            found += "-3x3" if stream.dataset.size <= SMALL else large
        if found not in BACKBONES:
            raise unknown("backbone", name, BACKBONES, see="list backbones")
        self._say("mapped", f"convnet_type {name} -> backbone {found}")
        return found

    def _memory(self) -> Budget:
        fixed = self.values.get("fixed_memory", False)
        if not isinstance(fixed, bool):
            raise _wrong("fixed_memory", "true or false", fixed)
        if fixed and "memory_per_class" not in self.values:
            raise SuiteError('"memory_per_class" is missing: fixed_memory is true')
        numbers: dict[str, int] = {
            key: self._whole(key, 0) for key in ("memory_size", "memory_per_class") if key in self.values
        }
        used = "memory_per_class" if fixed else "memory_size"
        budget = Budget(numbers.pop(used), "class" if fixed else "total")
        state = f"fixed_memory is {json.dumps(fixed)}"
        self._say("mapped", f"{used} -> memory {budget} ({state})")
        for key, number in numbers.items():
            self._say("note", f"{key} {number} has no effect while {state}")
        return budget

    def _text(self, key: str) -> str:
        if key not in self.values:
            raise SuiteError(f'"{key}" is missing')
        value = self.values[key]
        if not isinstance(value, str) or not value.isprintable() or not value.strip():
            raise _wrong(key, "text", value)
        return value.strip()

    def _whole(self, key: str, low: int) -> int:
        value = self.values[key]
        if type(value) is not int or value < low:
            raise _wrong(key, f"a whole number from {low}", value)
        return value

    def _number(self, key: str) -> float:
        value = self.values[key]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(key, "a number", value)
        return float(value)


def _wrong(key: str, wanted: str, value: object) -> SuiteError:
    return SuiteError(f'"{key}": {wanted} is wanted, not {json.dumps(value)}')
