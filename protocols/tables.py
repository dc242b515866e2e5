"""Tables of a TOML file, read key by key: what is unknown, missing, of another type or out of range is named."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any


class Table:
    """One table and where it stands. Reading raises ValueError in one line: place, key, what is wanted."""

    def __init__(self, values: object, where: str, keys: Collection[str]) -> None:
        """Take the values of a table that may have `keys` and no others."""
        if not isinstance(values, dict):
            raise ValueError(f"{where}: a table is wanted, not {_shown(values)}")
        self.values: dict[str, Any] = values
        self.where = where
        for key in values:
            if key not in keys:
                near = get_close_matches(key.lower(), keys, n=1, cutoff=0.5)
                hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(keys)}"
                raise ValueError(f'{where}: unknown key "{key}"; {hint}')

    def __contains__(self, key: str) -> bool:
        """Return whether the key is given."""
        return key in self.values

    def refused(self, key: str, wanted: str) -> ValueError:
        """Return the error for a value that is not what is wanted."""
        return ValueError(f"{self.where}: {key}: {wanted} is wanted, not {_shown(self.values[key])}")

    def _given(self, key: str, default: Any, wanted: str) -> Any:
        if key in self.values:
            return self.values[key]
        if default is None:
            raise ValueError(f'{self.where}: "{key}" is missing: {wanted} is wanted')
        return default

    def text(self, key: str, default: str | None = None, wanted: str = "text") -> str:
        """Return a text; None as the default of this and the next methods means that the key must be given."""
        value = self._given(key, default, wanted)
        if not isinstance(value, str) or any(not mark.isprintable() for mark in value):
            raise self.refused(key, wanted)
        return value

    def choice(self, key: str, choices: Collection[str], default: str | None = None) -> str:
        """Return one of the choices."""
        wanted = "one of " + ", ".join(f'"{choice}"' for choice in choices)
        value = self.text(key, default, wanted)
        if value not in choices:
            near = get_close_matches(value.lower(), choices, n=1, cutoff=0.5)
            raise self.refused(key, f'"{near[0]}"' if near else wanted)
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return a truth value."""
        value = self._given(key, default, "true or false")
        if not isinstance(value, bool):
            raise self.refused(key, "true or false")
        return value

    def whole(self, key: str, default: int | None = None, *, low: int, high: int = 10**9) -> int:
        """Return a whole number between `low` and `high`."""
        wanted = f"a whole number from {low}" + (f" to {high}" if high < 10**9 else "")
        value = self._given(key, default, wanted)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.refused(key, wanted)
        return value

    def number(self, key: str, default: float, *, low: float, high: float) -> float:
        """Return a number between `low` and `high`."""
        wanted = f"a number from {low:g} to {high:g}"
        value = self._given(key, default, wanted)
        if not _is_number(value) or not low <= value <= high:
            raise self.refused(key, wanted)
        return float(value)

    def numbers(self, key: str, default: tuple[float, ...], *, low: float, high: float) -> tuple[float, ...]:
        """Return as many numbers between `low` and `high` as `default` has."""
        wanted = f"a list of {len(default)} number{'s' if len(default) > 1 else ''} from {low:g} to {high:g}"
        value = self._given(key, list(default), wanted)
        fits = isinstance(value, list) and len(value) == len(default)
        if not fits or not all(_is_number(one) and low <= one <= high for one in value):
            raise self.refused(key, wanted)
        return tuple(float(one) for one in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: object) -> str:
    """Return a value as a message quotes it, cut to one short line."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
