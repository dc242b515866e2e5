"""The queue that lanes pull runs from: a plain class, an actor where Ray is used.

It holds nothing that cannot be rebuilt: a run whose record exists is finished at once when it is offered again.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from suite.events import ENDINGS, NEWS, Event

DEATHS = 3  # of its process without having come further in between, after which a run is given up
HANGS = 2  # times that a run was ended because nothing was heard of it
RELEASE = 30.0  # seconds that a lane has to come back after a death, before its run goes to another
SLOWER = 5.0  # times the longest pause between news of a run that a later one may take


@dataclass(frozen=True)
class Claim:
    """The answer to a lane that asks for work: a run, or when to ask again, or (neither) that there is none left."""

    key: str | None = None
    wait: float = 0.0  # seconds
    lost: str = ""  # why the claimed run must be given up instead of continued
    kind: Literal["crashed", "hung"] = "crashed"  # of that failure


@dataclass(frozen=True)
class State:
    """What the driver sees of the queue."""

    events: list[Event]  # since the last look
    left: list[str]  # runs neither finished nor failed
    holders: list[str]  # lanes that have one of them
    waiting: dict[int, int] = field(default_factory=dict)  # size -> runs that no lane has
    hung: list[str] = field(default_factory=list)  # lanes of whose runs nothing was heard for too long


@dataclass
class _Held:
    """A run that a lane has."""

    key: str
    since: float  # when something was last heard of it
    gap: float = 0.0  # the longest time between two pieces of news, seconds
    died: float | None = None  # when the lane's process died
    before: tuple[int, int] = (0, -1)  # the run's deaths and where it stood at the last, before that


@dataclass
class _Fate:
    """What a run went through."""

    attempts: int = 0
    trained: int = 0  # epochs, as far as was ever heard
    deaths: int = 0  # of its process, since it last came further
    stood: int = -1  # epochs at the last death
    hangs: int = 0
    reason: str = "nothing more is known"  # of its last death


class Queue:
    """Runs in order, who has claimed what, how often a claimed run's process died, and the events of all lanes.

    A lane that asks while it still has a run has died in mid-run and gets that run back; one that does not come back
    loses it to another. A lane gets runs of its own size. Runs that another process works on are offered again after
    `pause` seconds, until their record is there or that process has let go. After `stall` seconds without news of a
    run its lane counts as hung.
    """

    def __init__(
        self,
        keys: Sequence[str],
        *,
        sizes: Mapping[str, int] | None = None,
        stall: float = float("inf"),
        pause: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left = dict.fromkeys(keys)  # an ordered set
        self._sizes = dict(sizes or {})
        self._waiting = deque(self._left)
        self._elsewhere: dict[str, float] = {}  # key -> when to offer it again
        self._claims: dict[str, _Held] = {}  # by lane
        self._fates = {key: _Fate() for key in keys}
        self._events: list[Event] = []
        self._told: set[str] = set()  # runs already reported as elsewhere
        self._stall, self._pause, self._clock = stall, pause, clock
        self._stopping = False

    def claim(self, lane: str, size: int = 1) -> Claim:
        """Return the lane's own run if it still has one, else the next of its size, else when to ask again."""
        held = self._claims.get(lane)
        if self._stopping:
            if held is not None:
                self._settle(lane, Event("stopped", held.key))
            return Claim()
        if held is not None and held.died is None:
            self._died(held)
        key = held.key if held else self._next(size)
        if key is None:
            ready = min((when for key, when in self._elsewhere.items() if self._size(key) == size), default=None)
            return Claim() if ready is None else Claim(wait=max(0.05, ready - self._clock()))
        self._claims[lane] = _Held(key, self._clock())
        fate = self._fates[key]
        if fate.hangs >= HANGS:
            return Claim(key, lost=f"nothing was heard of it {HANGS} times; {fate.reason}", kind="hung")
        if fate.deaths >= DEATHS:
            return Claim(
                key, lost=f"its process was killed or crashed {fate.deaths} times; the last time: {fate.reason}"
            )
        fate.attempts += 1
        self._events.append(Event("claimed", key, {"lane": lane, "attempt": fate.attempts, "size": size}))
        return Claim(key)

    def _size(self, key: str) -> int:
        return self._sizes.get(key, 1)

    def _next(self, size: int) -> str | None:
        """Take the next run of the size that waits, else one that is due to be offered again."""
        key = next((key for key in self._waiting if self._size(key) == size), None)
        if key is None:
            now = self._clock()
            key = next((key for key, when in self._elsewhere.items() if when <= now and self._size(key) == size), None)
        if key is not None:
            self._forget(key)
        return key

    def report(self, lane: str, key: str, events: Sequence[Event]) -> bool:
        """Take in what happened in a lane that works on `key`, and return whether it should stop at a safe point."""
        if key in self._left and lane not in self._claims and key not in self._keys():
            self._forget(key)  # this queue was started anew, or had given the lane up, and knows of no claim
            self._claims[lane] = _Held(key, self._clock())
        for event in events:
            if event.kind in ENDINGS:
                self._settle(lane, event)
            else:
                self._hear(lane, event)
                self._events.append(event)
            if event.kind == "lane" and event.fields.get("state") == "broken":  # it has ended
                self.release([lane])
        return self._stopping

    def _keys(self) -> set[str]:
        return {held.key for held in self._claims.values()}

    def _hear(self, lane: str, event: Event) -> None:
        """Note how far a run has come, and when."""
        held = self._claims.get(lane)
        if held is not None and event.kind in NEWS and event.key == held.key:
            now = self._clock()
            held.gap, held.since = max(held.gap, now - held.since), now
            fate = self._fates[held.key]
            fate.trained = max(fate.trained, int(event.fields.get("trained", 0)))

    def _settle(self, lane: str, event: Event) -> None:
        """Note that a lane is through with a run."""
        key, held = event.key, self._claims.get(lane)
        if held is not None and held.key == key:
            del self._claims[lane]
        if key not in self._left:
            return  # it was over before
        if event.kind in ("finished", "failed"):
            self._forget(key)
            del self._left[key]
        elif key not in self._keys():
            self._forget(key)
            if event.kind == "elsewhere":
                self._elsewhere[key] = self._clock() + float(event.fields.get("pause", self._pause))
            else:
                self._waiting.appendleft(key)
        if event.kind != "elsewhere" or event.fields or key not in self._told:
            self._events.append(event)
        if event.kind == "elsewhere" and not event.fields:
            self._told.add(key)

    def _forget(self, key: str) -> None:
        if key in self._waiting:
            self._waiting.remove(key)
        self._elsewhere.pop(key, None)

    def died(self, lane: str, reason: str, hung: bool = False) -> bool:
        """Take in why a lane's process died, as far as anyone knows; return whether it had a run to go on with.

        `hung` says that it was ended because nothing was heard of it.
        """
        held = self._claims.get(lane)
        if held is None:
            return False
        fate = self._fates[held.key]
        if held.died is None:
            self._died(held)
            fate.hangs += hung
            fate.reason = reason
        return True

    def _died(self, held: _Held) -> None:
        """Count a death; a run that has come further since its last one has its chances anew."""
        fate = self._fates[held.key]
        held.died, held.before = self._clock(), (fate.deaths, fate.stood)
        fate.deaths = 1 if fate.trained > fate.stood else fate.deaths + 1
        fate.stood = fate.trained

    def release(self, lanes: Iterable[str]) -> None:
        """Give the runs of lanes whose nodes are gone to others at once; their deaths were no fault of the runs."""
        for lane in lanes:
            held = self._claims.get(lane)
            if held is not None:
                if held.died is not None:
                    self._fates[held.key].deaths, self._fates[held.key].stood = held.before
                self._settle(lane, Event("stopped", held.key))

    def stop(self) -> None:
        """Offer nothing more, and tell every lane that reports to stop at its next safe point."""
        self._stopping = True

    def look(self) -> State:
        """Return the events since the last look, the runs that are left, and which lanes have one or hang."""
        now = self._clock()
        for lane, held in list(self._claims.items()):
            if held.died is not None and now - held.died > RELEASE:
                self._settle(lane, Event("stopped", held.key))
        hung = [
            lane
            for lane, held in self._claims.items()
            if held.died is None and now - held.since > max(self._stall, SLOWER * held.gap)
        ]
        waiting = Counter(self._size(key) for key in [*self._waiting, *self._elsewhere])
        events, self._events = self._events, []
        return State(events, list(self._left), list(self._claims), dict(waiting), hung)
