"""What a sweep may use up, and what it has: the time that its runs hold GPUs or cores, or that a clock shows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from suite.errors import Exit, SuiteError
from suite.events import ENDINGS, Event

HOUR = 3600.0  # seconds
FORMS = "write 40gpuh (GPU hours), 8cpuh (core hours) or 12h (by the clock)"
SPELLED = re.compile(r"(\d+(?:\.\d+)?(?:e-\d+)?) ?(gpuh|cpuh|h)")


@dataclass(frozen=True)
class Budget:
    """So many hours: of a GPU (gpuh), of a core (cpuh), or by the clock (h)."""

    hours: float
    unit: str

    def __str__(self) -> str:
        """Return how people read it: `40 gpuh`."""
        return f"{self.hours:g} {self.unit}"


def budget(text: str) -> Budget:
    """Return the budget that a text like `40gpuh` stands for; raises ValueError with the three forms."""
    found = SPELLED.fullmatch(text.strip().lower())
    if found is None or not float(found[1]):
        raise ValueError(f"{text or 'nothing'} is no budget; {FORMS}")
    return Budget(float(found[1]), found[2])


def needs_gpu(wanted: Budget, why: str) -> SuiteError:
    """Return the error for a budget of GPU hours where runs take no GPU."""
    return SuiteError(
        f"a budget of {wanted} is never used up: runs take no GPU ({why}); give one of cpuh or h", Exit.USAGE
    )


@dataclass(frozen=True)
class _Held:
    """A run at work and what it holds."""

    lane: str
    size: int  # of its lane, in slots of the usual size
    since: float


class Spending:
    """Follows the events of a launch and tells what its runs hold, until they end; and whether a budget is used up.

    `gpus` is the share of a GPU that each of a run's workers has, None for one where there are any: lanes tell whether
    theirs are. With `mixed` lanes without one are to be expected.
    """

    def __init__(
        self, wanted: Budget | None, gpus: float | None, cpus: int, *, workers: int = 1, mixed: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        if wanted and wanted.unit == "gpuh" and gpus == 0:
            raise needs_gpu(wanted, "--gpus-per-run 0")
        self.wanted = wanted
        self._gpus, self._cpus, self._workers = gpus, cpus, workers
        self._mixed, self._clock = mixed, clock
        self._started = clock()
        self._on_gpu: dict[str, bool] = {}  # by lane, once it has told
        self._held: dict[str, _Held] = {}  # by key
        self._over = dict.fromkeys(("gpuh", "cpuh"), 0.0)  # seconds held by runs that have ended

    def observe(self, event: Event) -> None:
        """Take in an event; raises SuiteError where the budget is of GPU hours and a lane has no GPU."""
        fields = event.fields
        if event.kind == "claimed":
            self._end(event.key)
            self._held[event.key] = _Held(fields.get("lane", ""), fields.get("size", 1), self._clock())
        elif event.kind in ENDINGS:
            self._end(event.key)
        elif event.kind == "lane" and fields["state"] == "ready":
            self._on_gpu[fields["lane"]] = on_gpu = fields["device"].startswith("gpu")
            if self.wanted and self.wanted.unit == "gpuh" and not on_gpu and not self._mixed:
                raise needs_gpu(self.wanted, f"{fields['host']} has none")
        elif event.kind == "lane" and fields["state"] == "connected":  # with lanes of its own, all anew
            self.close()
        elif event.kind == "lane" and fields["state"] in ("lost", "broken"):  # its process has ended
            for key in [key for key, held in self._held.items() if held.lane == fields.get("lane")]:
                self._end(key)

    def close(self) -> None:
        """Take every run to have ended: nobody works any more."""
        for key in list(self._held):
            self._end(key)

    def hours(self, unit: str) -> float:
        """Return what is spent so far, in `gpuh`, `cpuh` or `h`."""
        now = self._clock()
        if unit == "h":
            return (now - self._started) / HOUR
        return (self._over[unit] + sum(self._seconds(held, unit, now) for held in self._held.values())) / HOUR

    def used_up(self) -> str:
        """Say that the budget is used up, or nothing as long as it is not."""
        if self.wanted is None or self.hours(self.wanted.unit) < self.wanted.hours:
            return ""
        return f"budget of {self.wanted} used up"

    def _end(self, key: str) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            for unit in self._over:
                self._over[unit] += self._seconds(held, unit, self._clock())

    def _seconds(self, held: _Held, unit: str, now: float) -> float:
        """Return the seconds of GPUs or cores that a run has held until now."""
        gpus = (1.0 if self._gpus is None else self._gpus) if self._on_gpu.get(held.lane, True) else 0.0
        # a larger share of a GPU takes no more cores
        held_at_once = min(1.0, gpus * held.size) if unit == "gpuh" else self._cpus * (1 if gpus else held.size)
        return held_at_once * self._workers * (now - held.since)


def reach(wanted: Budget, seconds: Iterable[float | None], each: float) -> tuple[int, int]:
    """Return how many runs a budget is enough for, one after the other, and of how many the time is known.

    `seconds` are those that runs are expected to take, in their order; `each` is how many GPUs, cores or, by the clock,
    which part of the whole a run holds.
    """
    left, enough, known = wanted.hours * HOUR, 0, 0
    for expected in seconds:
        if expected is not None:
            left -= expected * each
            enough, known = enough + (left >= 0), known + 1
    return enough, known
