"""What is gone for now and may come back: a results root out of reach, a disk without room. Runs wait for it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from grace.storage.writing import probe
from suite.errors import Exit, SuiteError
from suite.events import NEWS, Event

if TYPE_CHECKING:
    from suite.launch import LaunchOptions, Observe
    from suite.store import Store

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # a disk on which no run can go on
LOOK = 0.5  # seconds between looks whether a root is there again
ROOM = 2**20  # bytes that a disk must take before it is worth to train again what could not be saved
TRIES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before trying again to write to a disk that had no room


def trouble(store: Store, error: BaseException) -> str:
    """Return in one line what stands in the way of every run of a store, or nothing for what is the run's own fault."""
    if gone := store.away():
        return gone
    seen: BaseException | None = error
    while seen is not None:  # torch wraps what the disk said in errors of its own
        if isinstance(seen, OSError) and seen.errno in FULL:
            return f"cannot write to {store.root}: {os.strerror(seen.errno)}"
        seen = seen.__cause__ or seen.__context__
    unwell = isinstance(error, SuiteError) and error.code is Exit.ENVIRONMENT and isinstance(error.__cause__, OSError)
    return str(error) if unwell else ""


class Patience:
    """Waits with a run for what is gone for now, a limited time since the run last came further."""

    def __init__(
        self,
        store: Store,
        options: LaunchOptions,
        observe: Observe,
        should_stop: Callable[[], bool],
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._observe, self._should_stop = store, observe, should_stop
        self._seconds = 60 * options.patience_minutes
        self._sleep, self._clock = sleep, clock
        self._since: float | None = None  # when it began to be gone
        self._tries = 0
        self._trained = 0  # epochs, the most that was ever told

    def observe(self, event: Event) -> None:
        """Pass on an event of the run; one that says that it came further than ever before ends the trouble."""
        trained = int(event.fields.get("trained", 0)) if event.kind in NEWS else 0
        if trained > self._trained:
            self._trained, self._since, self._tries = trained, None, 0
        self._observe(event)

    def outwait(self, error: Exception) -> None:
        """Return when it is worth to try again, or to stop.

        Raises the error itself where the run is at fault, and SuiteError (environment) when patience is at an end.
        """
        reason = trouble(self._store, error)
        if not reason:
            raise error
        if self._since is None:
            self._since = self._clock()
            what = f"waiting up to {self._seconds / 60:g} minutes: {reason}"
            self._observe(Event("lane", "", {"state": "waiting", "reason": what}))
        again = self._clock() + TRIES[min(self._tries, len(TRIES) - 1)]
        self._tries += 1
        while not self._should_stop():
            gone = self._store.away() or self._full()
            if not gone and self._clock() >= again:
                return
            if self._clock() - self._since >= self._seconds:
                last = f"{gone or reason}; the same command goes on when that is mended"
                raise SuiteError(last, Exit.ENVIRONMENT) from error
            self._sleep(LOOK)

    def _full(self) -> str:
        """Return in one line why nothing can be written now, or nothing: to train first and find out costs an epoch."""
        try:
            probe(self._store.root / "store.json", bytes(ROOM))
        except OSError as error:
            return f"cannot write to {self._store.root}: {error.strerror or error}"
        return ""
