"""The queue that lanes pull runs from: a plain class, an actor where Ray is used.

It holds nothing that cannot be rebuilt: a run whose record exists is finished at once when it is offered again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from suite.events import ENDINGS, Event

DEATHS = 3  # of its process, after which a run is given up


@dataclass(frozen=True)
class Claim:
    """The answer to a lane that asks for work: a run, or when to ask again, or (neither) that there is none left."""

    key: str | None = None
    wait: float = 0.0  # seconds
    lost: str = ""  # why the claimed run must be given up instead of continued


@dataclass(frozen=True)
class State:
    """What the driver sees of the queue."""

    events: list[Event]  # since the last look
    left: list[str]  # runs neither finished nor failed
    held: int  # of them, how many a lane has


class Counter(Protocol):
    """What a lane sees of the queue."""

    def claim(self, lane: str) -> Claim:
        """Ask for a run."""

    def report(self, lane: str, key: str, events: Sequence[Event]) -> bool:
        """Tell what happened; learn whether to stop."""


class Queue:
    """Runs in order, who has claimed what, how often a claimed run's process died, and the events of all lanes.

    A lane that asks while it still has a run has died in mid-run and gets that run back. Runs that another process
    works on are offered again after `pause` seconds, until their record is there or that process has let go.
    """

    def __init__(self, keys: Sequence[str], *, pause: float = 2.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._left = dict.fromkeys(keys)  # an ordered set
        self._waiting = deque(self._left)
        self._elsewhere: dict[str, float] = {}  # key -> when to offer it again
        self._claims: dict[str, str] = {}  # lane -> key
        self._deaths: dict[str, int] = {}  # per key
        self._reasons: dict[str, str] = {}  # per key: what was heard of its last death
        self._events: list[Event] = []
        self._told: set[str] = set()  # runs already reported as elsewhere
        self._pause, self._clock = pause, clock
        self._stopping = False

    def claim(self, lane: str) -> Claim:
        """Return the lane's own run if it still has one, else the next run, else when to ask again."""
        held = self._claims.get(lane)
        if self._stopping:
            if held is not None:
                self._settle(lane, Event("stopped", held))
            return Claim()
        if held is not None:
            self._deaths[held] = self._deaths.get(held, 0) + 1
            if self._deaths[held] >= DEATHS:
                last = self._reasons.get(held, "nothing more is known")
                return Claim(held, lost=f"its process was killed or crashed {DEATHS} times; the last time: {last}")
        key = held or self._next()
        if key is None:
            ready = min(self._elsewhere.values(), default=None)
            return Claim() if ready is None else Claim(wait=max(0.05, ready - self._clock()))
        self._claims[lane] = key
        self._events.append(Event("claimed", key, {"lane": lane, "attempt": self._deaths.get(key, 0) + 1}))
        return Claim(key)

    def _next(self) -> str | None:
        """Take the next run that waits, else one that is due to be offered again."""
        if self._waiting:
            return self._waiting.popleft()
        due = [key for key, ready in self._elsewhere.items() if ready <= self._clock()]
        if due:
            del self._elsewhere[due[0]]
        return due[0] if due else None

    def report(self, lane: str, key: str, events: Sequence[Event]) -> bool:
        """Take in what happened in a lane that works on `key`, and return whether it should stop at a safe point."""
        if key in self._left and lane not in self._claims and key not in self._claims.values():
            self._forget(key)  # this queue was started anew and knows of no claims
            self._claims[lane] = key
        for event in events:
            if event.kind in ENDINGS:
                self._settle(lane, event)
            else:
                self._events.append(event)
        return self._stopping

    def _settle(self, lane: str, event: Event) -> None:
        """Note that a lane is through with a run."""
        key = event.key
        if self._claims.get(lane) == key:
            del self._claims[lane]
        if key not in self._left:
            return  # it was over before
        if event.kind in ("finished", "failed"):
            self._forget(key)
            del self._left[key]
        elif key not in self._claims.values():
            self._forget(key)
            if event.kind == "elsewhere":
                self._elsewhere[key] = self._clock() + self._pause
            else:
                self._waiting.appendleft(key)
        if event.kind != "elsewhere" or key not in self._told:
            self._events.append(event)
        if event.kind == "elsewhere":
            self._told.add(key)

    def _forget(self, key: str) -> None:
        if key in self._waiting:
            self._waiting.remove(key)
        self._elsewhere.pop(key, None)

    def died(self, lane: str, reason: str) -> bool:
        """Take in why a lane's process died, as far as anyone knows; return whether it had a run to go on with."""
        if lane in self._claims:
            self._reasons[self._claims[lane]] = reason
        return lane in self._claims

    def stop(self) -> None:
        """Offer nothing more, and tell every lane that reports to stop at its next safe point."""
        self._stopping = True

    def look(self) -> State:
        """Return the events since the last look, the runs that are left and how many of them lanes have."""
        events, self._events = self._events, []
        return State(events, list(self._left), len(self._claims))


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

    def claim(self, lane: str) -> Claim:
        """Ask the queue for a run; there is none when the queue is gone."""
        try:
            claim: Claim = self._call("claim", lane)
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
    counter: Counter, lane: str, work: Callable[[Claim], Event], pause: Callable[[float], object] = time.sleep
) -> None:
    """Work on runs, one after the other, until the queue has none left for this lane."""
    while True:
        claim = counter.claim(lane)
        if claim.key is not None:
            counter.report(lane, claim.key, [work(claim)])
        elif claim.wait:
            pause(claim.wait)
        else:
            return
