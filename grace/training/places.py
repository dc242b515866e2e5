"""Where code stands, for errors that name file and line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

Place = tuple[str, int]  # file and line


def defined(function: Callable[..., Any]) -> Place:
    """Return where a function begins; for what is no Python function, an empty name."""
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None) or getattr(vars(type(function)).get("__call__"), "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else ("", 0)


def called(files: Collection[str]) -> Place:
    """Return the innermost line of `files` that is being executed; an empty name where none is."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename in files:
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return "", 0
