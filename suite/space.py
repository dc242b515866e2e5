"""Spaces: what a search draws settings from. Draws are addressed, so trial 7 is the same in every search of a space."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from math import exp, floor, isfinite, log, prod
from typing import Any, get_type_hints

from grace.seeds import derive
from suite.configure import toml_value
from suite.errors import Exit, SuiteError, unknown

FACTOR = 3.0  # how far from the settings in use a space goes that nobody described
DIGITS = 4  # figures of a drawn number: more would be noise in a file
MOST = 100  # draws per trial that is wanted, before a space counts as exhausted
SPELLINGS = "FIELD=0.1..0.9, FIELD=1e-4..1e-1 log, FIELD={a,b}"
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER})\s*\.\.\s*({NUMBER})(\s+log)?")


@dataclass(frozen=True)
class Span:
    """Numbers between two ends, evenly, or evenly in their logarithm; of whole ones both ends are drawn too."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def draw(self, share: float) -> float:
        """Return the number that lies at a share in [0, 1) of the way."""
        low, high = (self.low, self.high + 1) if self.whole else (self.low, self.high)
        value = exp(log(low) + share * (log(high) - log(low))) if self.log else low + share * (high - low)
        if self.whole:
            return min(floor(value), int(self.high))
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    @property
    def extremes(self) -> tuple[Any, ...]:
        """The values between which all others lie."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def __str__(self) -> str:
        """Return it as it is typed."""
        return f"{self.low:g}..{self.high:g}{' log' if self.log else ''}"


@dataclass(frozen=True)
class Among:
    """One of a few values."""

    values: tuple[Any, ...]

    def draw(self, share: float) -> Any:
        """Return the value at a share in [0, 1) of the way."""
        return self.values[int(share * len(self.values))]

    @property
    def extremes(self) -> tuple[Any, ...]:
        """All of them."""
        return self.values

    def __str__(self) -> str:
        """Return it as it is typed."""
        return "{" + ", ".join(_shown(value) for value in self.values) + "}"


Space = Mapping[str, Span | Among]  # by field; a recipe's fields behind a dot: later.lr


def parse(texts: Sequence[str], kind: type) -> dict[str, Span | Among]:
    """Return the space that is spelled out, of a Config class; raises SuiteError for what is no field or no space.

    A field that is given several single values is one of them: what a shell makes of `FIELD={a,b}`.
    """
    types, found = field_types(kind), dict[str, Span | Among]()
    for text in _joined(texts):
        name, equals, body = (part.strip() for part in text.partition("="))
        if not equals or not body:
            raise _usage(f"--search {text}: spaces are written {SPELLINGS}")
        if name not in types:
            raise SuiteError(f"--search {text}: {unknown('field', name, types)}")
        one, earlier = _space(text, body, types[name]), found.get(name)
        if earlier is not None:
            if not (isinstance(one, Among) and isinstance(earlier, Among)):
                raise _usage(f"--search {text}: {name} has a space already: {earlier}")
            one = Among((*earlier.values, *(value for value in one.values if value not in earlier.values)))
        found[name] = one
    return found


def _joined(texts: Iterable[str]) -> list[str]:
    """Return the texts with `log` put back behind what it was typed after."""
    found: list[str] = []
    for text in texts:
        if text.strip() == "log" and found:
            found[-1] += " log"
        else:
            found.append(text.strip())
    return found


def _space(text: str, body: str, kind: Any) -> Span | Among:
    if ".." not in body:
        return Among(_values(text, body))
    number = RANGE.fullmatch(body)
    if number is None:
        raise _usage(f"--search {text}: {body} is no space; spaces are written {SPELLINGS}")
    if kind not in (int, float):
        raise _usage(f"--search {text}: this field is no number; name its values, {{a,b}}")
    low, high, log_scale = float(number[1]), float(number[2]), bool(number[3])
    if not isfinite(low) or not isfinite(high) or low >= high:
        raise _usage(
            f"--search {text}: the lower end comes first, and they differ: {min(low, high):g}..{max(low, high):g}"
        )
    if log_scale and low <= 0:
        raise _usage(f"--search {text}: on a log scale both ends lie above 0")
    if kind is int and not (low.is_integer() and high.is_integer()):
        raise _usage(
            f"--search {text}: this field takes whole numbers: {floor(low)}..{max(floor(high), floor(low) + 1)}"
        )
    return Span(low, high, log_scale, kind is int)


def _values(text: str, body: str) -> tuple[Any, ...]:
    """Return the values in `{a, b}`, or the one value that stands alone, each as TOML reads it or as it stands."""
    inner = body[1:-1] if body.startswith("{") and body.endswith("}") else body
    try:
        found = tomllib.loads(f"value = [{inner}]")["value"]
    except tomllib.TOMLDecodeError:
        found = [toml_value(part.strip()) for part in inner.split(",")]
    if not found or "" in found:
        raise _usage(f"--search {text}: an empty value; spaces are written {SPELLINGS}")
    return tuple(value for i, value in enumerate(found) if value not in found[:i])


def field_types(kind: type) -> dict[str, Any]:
    """Return the types of a Config's fields, those of its recipes by `recipe.field`."""
    found: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for name in (field.name for field in fields(kind)):
        if is_dataclass(hints[name]):
            inner = get_type_hints(hints[name])
            found |= {f"{name}.{field.name}": inner[field.name] for field in fields(hints[name])}
        else:
            found[name] = hints[name]
    return found


def usual(kind: type, config: Mapping[str, Any], allowed: Any) -> dict[str, Span | Among]:
    """Return the space that is searched unless told otherwise: a Config's numbers, its recipes' learning rates.

    Each within a factor of three of what `config` has, on a log scale; where the Config refuses three times as much
    (`allowed(path, value)` tells), it is a fraction, and its distance to 1 is what varies. Whole numbers, zeros and
    everything else are searched by name only.
    """
    found: dict[str, Span | Among] = {}
    for name, type_ in field_types(kind).items():
        recipe, _, field = name.rpartition(".")
        value = (config[recipe] if recipe else config)[field]
        if type_ is not float or value <= 0 or (recipe and field != "lr"):
            continue
        low, high = _short(value / FACTOR), _short(value * FACTOR)
        if not allowed(name, high) and value < 1:
            low, high = max(low, _short(1 - (1 - value) * FACTOR)), _short(1 - (1 - value) / FACTOR)
        if low < high and all(allowed(name, end) for end in (low, high)):
            found[name] = Span(low, high, high > 2 * low)
    return found


def drawn(space: Space, seed: int, count: int) -> list[dict[str, Any]]:
    """Return up to `count` draws, each another, nested as settings are; fewer where there are no more."""
    size = prod(len(each.values) if isinstance(each, Among) else count + 1 for each in space.values())
    found: list[dict[str, Any]] = []
    for number in range(MOST * count):
        if len(found) == min(count, size):
            break
        draw = {path: each.draw(derive(seed, "draw", number, path) / 2**63) for path, each in space.items()}
        if (settings := nested(draw)) not in found:
            found.append(settings)
    return found


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by path as a Config has them: what is behind a dot in a table of its own."""
    found: dict[str, Any] = {}
    for path, value in values.items():
        recipe, _, field = path.rpartition(".")
        (found.setdefault(recipe, {}) if recipe else found)[field] = value
    return found


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _usage(message: str) -> SuiteError:
    return SuiteError(message, Exit.USAGE)
