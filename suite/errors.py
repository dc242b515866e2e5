"""Errors that a user can act on: one clear line and the exit code that scripts depend on."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every verb."""

    DONE = 0  # all that was wanted is there
    BUG = 1  # a fault of the suite
    USAGE = 2  # the command line
    SPEC = 3  # a name, key, type or range in a sweep, protocol or configuration
    DATA = 4  # images missing, damaged or of another dataset
    FAILED = 5  # some runs failed, the rest are done
    ENVIRONMENT = 6  # results root, Ray, devices
    DIFFERS = 7  # a finished run is not what was published
    NOTHING = 8  # nothing matches the filter
    RESUMABLE = 75  # stopped early; the same command goes on
    INTERRUPTED = 130  # Ctrl-C; state saved


class SuiteError(Exception):
    """One line for the user: what is wrong, where, and what to type; `code` is the exit code."""

    def __init__(self, message: str, code: Exit = Exit.SPEC) -> None:
        super().__init__(message)
        self.code = code


def unknown(what: str, name: str, known: Iterable[str], see: str = "", *, few: bool = False) -> SuiteError:
    """Return the error for a name that is not known, with the nearest one that is; with `few`, with all of them too."""
    known = sorted(known)
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    every = f"known: {', '.join(known)}."
    hint = f'did you mean "{near[0]}"?{f" {every}" if few else ""}' if near else every
    return SuiteError(f'unknown {what} "{name}"; {hint}{f" ({see})" if see else ""}')
