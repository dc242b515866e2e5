"""What is wrong with a table of settings, in the words of a user's error."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import ValidationError

from suite.errors import unknown


def first_fault(error: ValidationError, known: Iterable[str]) -> str:
    """Return what is wrong first, in one line; `known` are the keys that there are."""
    fault = error.errors(include_url=False)[0]
    place = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return str(unknown("key", place, known))
    if fault["type"] == "literal_error":
        words = re.findall(r"'(\w+)'", fault["ctx"]["expected"])
        return str(unknown(place, str(fault["input"]), words, few=True))
    if fault["type"] == "missing":
        return f"{place} is missing: name at least one of the {place}"
    if fault["type"] == "string_pattern_mismatch":
        return f'{place}: use letters, digits and . _ + - only, not "{fault["input"]}"'
    message = fault["msg"].removeprefix("Value error, ")
    return f"{place}: {message[0].lower()}{message[1:]}"
