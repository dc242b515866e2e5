"""Conformance: what the engine promises of every method, as checks of any one of them.

A check is a function of a `Subject` that raises where the method is at fault, naming file and line.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic

from grace.conformance import accounts, conduct, kills
from grace.conformance.stream import settled
from grace.conformance.subject import Subject

__all__ = ["CHECKS", "Check", "Finding", "Subject", "blame", "examine"]

Check = Callable[[Subject], None]

CHECKS: Mapping[str, Check] = {  # the quickest to tell first
    "class variables are declared": accounts.class_variables,
    "holds only what it declares, trains only what it lists": conduct.holds,
    "reads only what it was handed, stays within memory": conduct.reads,
    "learns above chance": conduct.learns,
    "two runs are one, another seed is another": conduct.repeats,
    "its size is what it declares": accounts.footprint,
    "records tell everything": accounts.records,
    "learns tasks of unequal sizes": conduct.unequal,
    "a damaged checkpoint costs time only": kills.survives_damage,
    **{f"resumes bit for bit: {moment}": partial(kills.resumes, moment=moment) for moment in kills.MOMENTS},
}


@dataclass(frozen=True)
class Finding:
    """How one check went; `reason`, `file` and `line` are empty where it passed."""

    check: str
    seconds: float
    reason: str = ""
    file: str = ""
    line: int = 0

    @property
    def passed(self) -> bool:
        """Whether there was nothing to find fault with."""
        return not self.reason


def examine(subject: Subject) -> Iterator[Callable[[], Finding]]:
    """Yield one call per check, to be made in this order; it returns how the check went and raises nothing."""
    for name, check in CHECKS.items():
        yield partial(_examined, name, check, subject)


def _examined(name: str, check: Check, subject: Subject) -> Finding:
    began = monotonic()
    try:
        with settled():
            check(subject)
    except Exception as error:
        reason, file, line = blame(error, subject)
        return Finding(name, monotonic() - began, reason, file, line)
    return Finding(name, monotonic() - began)


def blame(error: Exception, subject: Subject) -> tuple[str, str, int]:
    """Return an error in one line, and where in the method's files it came about."""
    text = next(iter(str(error).strip().splitlines()), "")
    file, line = getattr(error, "file", ""), getattr(error, "line", 0)
    if file:
        return getattr(error, "message", text), file, line
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in subject.files]
    place = (own[-1].filename, own[-1].lineno or 0) if own else subject.place
    return f"{type(error).__name__}: {text}".rstrip(": "), *place
