"""Presets in a user's own files: settings per method and protocol that go before the suite's, with their provenance.

A file has a table per method and protocol: `[foster.digits-b0i2]` with fields of the method's Config, a `source` in
words and, where `tune` wrote it, a table `tuned_on` that says how they were found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grace.streams.protocol import Protocol
from suite.configure import build
from suite.declared import declared
from suite.errors import SuiteError
from suite.plugin import PluginError
from suite.tomlfile import read_toml

if TYPE_CHECKING:
    from suite.sweep import Sweep

ABOUT = ("source", "tuned_on")  # what a table holds besides settings
Presets = dict[str, dict[str, dict[str, Any]]]  # method -> protocol -> settings, source, tuned_on


def read_presets(files: Iterable[str | Path]) -> Presets:
    """Return what the files hold, later ones before earlier ones; raises SuiteError for what cannot be meant."""
    found: Presets = {}
    for file in files:
        for method, tables in _read(Path(file)).items():
            found.setdefault(method, {}).update(tables)
    return found


def check_presets(presets: Presets) -> None:
    """Raise SuiteError where a table names no method or protocol that is known, or settings that the method has not."""
    from suite.sweep import find_protocol

    for method, tables in presets.items():
        with suppress(PluginError):  # whoever runs it is told
            config = declared(method).config
            for protocol, table in tables.items():
                find_protocol(protocol)
                build(config, settings_in(table), f"presets.{method}.{protocol}")


def own_preset(presets: Presets, method: str, protocol: Protocol) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the table of the protocol that is this one by value, None where there is none."""
    from suite.sweep import find_protocol

    for name, table in presets.get(method, {}).items():
        if find_protocol(name).identity() == protocol.identity():
            return name, table
    return None


def with_presets(sweep: Sweep) -> Sweep:
    """Return the sweep with what its files of presets hold, unless it has that: what it began with stays."""
    if sweep.presets or not sweep.preset_files:
        return sweep
    return sweep.model_copy(update={"presets": read_presets(sweep.preset_files)})


def settings_in(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a table, recipes as tables in it."""
    return {name: value for name, value in table.items() if name not in ABOUT}


def folded(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with others put over them; of recipes only the fields that are given."""
    found = dict(under)
    for name, value in over.items():
        there = found.get(name)
        found[name] = {**there, **value} if isinstance(there, Mapping) and isinstance(value, Mapping) else value
    return found


def _read(path: Path) -> Presets:
    values = read_toml(path)
    for method, tables in values.items():
        named = isinstance(tables, dict) and all(isinstance(table, dict) for table in tables.values())
        if not named or not tables:
            raise SuiteError(f"{path}: {method}: presets are tables by method and protocol, [METHOD.PROTOCOL]")
        for protocol, table in tables.items():
            about = [("source", str, "text"), ("tuned_on", dict, "a table")]
            for key, kind, words in about:
                if key in table and not isinstance(table[key], kind):
                    raise SuiteError(f"{path}: {method}.{protocol}.{key}: {words} is wanted, not {table[key]!r}")
            table.setdefault("source", f"presets of {path.name}")
    return values
