"""What a lane sees of the queue, and its line to one that is somewhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from suite.events import Event
from suite.queue import Claim


class Counter(Protocol):
    """What a lane sees of the queue."""

    def claim(self, lane: str, size: int = 1) -> Claim:
        """Ask for a run of a size."""

    def report(self, lane: str, key: str, events: Sequence[Event]) -> bool:
        """Tell what happened; learn whether to stop."""


class Line:
    """A lane's line to a queue that is somewhere else; events go in a thread of its own, so training never waits.

    `call(method, *arguments)` reaches the queue. When it raises, the queue is gone and the lane is told to stop.
    """

    def __init__(self, lane: str, call: Callable[..., Any], beat: float = 1.0) -> None:
        self._lane, self._call, self._beat = lane, call, beat
        self._key = ""
        self._events: list[Event] = []
        self._buffer, self._sending = threading.Lock(), threading.Lock()
        self._wake, self._over = threading.Event(), threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="line", daemon=True)

    def __enter__(self) -> Line:
        """Start to send."""
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Send what is left."""
        self._over.set()
        self._wake.set()
        self._thread.join()
        self._send()

    def tell(self, event: Event) -> None:
        """Have an event sent soon."""
        with self._buffer:
            self._events.append(event)
        self._wake.set()

    def should_stop(self) -> bool:
        """Return what the queue last answered."""
        return self._stop

    def claim(self, lane: str, size: int = 1) -> Claim:
        """Ask the queue for a run; there is none when the queue is gone."""
        try:
            claim: Claim = self._call("claim", lane, size)
        except Exception:  # whatever stands between, the answer is the same
            self._stop = True
            return Claim()
        self._key = claim.key or ""
        return claim

    def report(self, lane: str, key: str, events: Sequence[Event]) -> bool:
        """Send events before anything else happens; return whether to stop."""
        with self._buffer:
            self._events += events
        self._send()
        self._key = ""
        return self._stop

    def _run(self) -> None:
        while not self._over.is_set():
            self._wake.wait(self._beat)
            self._wake.clear()
            self._send()

    def _send(self) -> None:
        with self._sending:  # one at a time, so that events arrive in order
            with self._buffer:
                events, self._events = self._events, []
            try:
                self._stop = self._call("report", self._lane, self._key, events) or self._stop
            except Exception:  # see claim
                self._stop = True


def serve(
    counter: Counter,
    lane: str,
    work: Callable[[Claim], Event],
    pause: Callable[[float], object] = time.sleep,
    size: int = 1,
) -> None:
    """Work on runs of a size, one after the other, until the queue has none left for this lane."""
    while True:
        claim = counter.claim(lane, size)
        if claim.key is not None:
            counter.report(lane, claim.key, [work(claim)])
        elif claim.wait:
            pause(claim.wait)
        else:
            return
