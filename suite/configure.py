"""Method settings: a Config built from plain values with names, types and ranges checked, and plain values from it."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from grace.training.phase import Recipe
from suite.errors import SuiteError, unknown

WANTED = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def build(kind: type, values: Mapping[str, Any], where: str = "method") -> Any:
    """Return a `kind` (a Config class) with `values` over its defaults.

    Recipes may be given in part, lists stand for tuples. Raises SuiteError naming the place, what is wrong there
    and what is allowed.
    """
    return amend(kind(), values, where)


def amend(config: Any, values: Mapping[str, Any], where: str) -> Any:
    """Return a copy of a Config or Recipe with `values` put in; raises SuiteError as `build` does."""
    kind: type = type(config)
    types, known = _types(kind), [field.name for field in fields(config)]
    changes = {}
    for name, value in values.items():
        if name not in known:
            raise SuiteError(f"{where}: {unknown('field', name, known)}")
        current, place = getattr(config, name), f"{where}.{name}"
        nested = is_dataclass(current) and isinstance(value, Mapping)
        changes[name] = amend(current, value, place) if nested else _typed(types[name], value, place)
    try:
        return replace(config, **changes)
    except ValueError as error:
        raise SuiteError(f"{where}: {error}") from None


@cache
def _types(kind: type) -> dict[str, Any]:
    """Return the types of a Config's fields; working them out takes longer than what they are for."""
    return get_type_hints(kind)


def plain(config: Any) -> dict[str, Any]:
    """Return a Config as JSON has it: recipes as tables, tuples as lists."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(config), allow_nan=False))
    return values


def recipes(config: Any) -> dict[str, Recipe]:
    """Return the recipes among a Config's fields, in their order."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {name: value for name, value in values.items() if isinstance(value, Recipe)}


def toml_value(text: str) -> Any:
    """Return `text` as TOML reads a value, or as it stands."""
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return found["value"] if list(found) == ["value"] else text


def _typed(kind: Any, value: Any, where: str) -> Any:
    """Return `value` as `kind`: a whole number will do for a number, nothing else is converted."""
    origin = get_origin(kind)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in get_args(kind)):
            return value
        wanted = "one of " + ", ".join(json.dumps(choice) for choice in get_args(kind))
    elif origin is tuple:
        parts = get_args(kind)
        if isinstance(value, list | tuple):
            each = [parts[0]] * len(value) if parts[1:] == (...,) else parts
            if len(value) == len(each):
                places = (f"{where}[{i}]" for i in range(len(value)))
                return tuple(_typed(*one) for one in zip(each, value, places, strict=True))
        wanted = "a list"
    elif kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
            return float(value)
        wanted = WANTED[float]
    elif kind in WANTED:
        if type(value) is kind:
            return value
        wanted = WANTED[kind]
    else:
        wanted = "a table of " + ", ".join(field.name for field in fields(kind))
    raise SuiteError(f"{where}: {wanted} is wanted, not {json.dumps(value, default=str)}")
