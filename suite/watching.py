"""What can be seen of a sweep from outside: what the processes at work tell, and what lies in the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf

from grace.storage.folders import Folder
from suite.ledger import Told, expected, told
from suite.picture import Failed, Picture
from suite.store import Store

COUNT = 5.0  # seconds between looks at the store


@dataclass(frozen=True)
class View:
    """What is known of a sweep: a picture, and whether what tells of it is still there."""

    picture: Picture
    state: str  # working, silent, dead, ended; unknown where nobody has told anything
    news: float | None = None  # seconds since the last news
    process: str = ""  # who tells, for people
    end: str = ""  # how it ended: done, stopped, or the error

    @property
    def over(self) -> bool:
        """Whether there is nothing more to see for now."""
        return self.state not in ("working", "silent")


class Watcher:
    """Looks at one sweep again and again. Writes nothing; `clock` counts seconds."""

    def __init__(self, root: Folder, sweep: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._root, self._sweep, self._store, self._clock = root, sweep, Store.open(root), clock
        self._heard: dict[str, tuple[float, float, bool]] = {}  # see _age
        self._counted = -inf
        self._keys, self._done, self._failures = list[str](), set[str](), list[Failed]()

    def look(self) -> View:
        """Return what is to be seen now."""
        entries = [(each, age := self._age(each), each.state(age)) for each in told(self._root, self._sweep)]
        live = [entry for entry in entries if entry[2] == "working"]
        live = live or [entry for entry in entries if entry[2] == "silent"]  # whether they are at work nobody knows
        if len(live) != 1 and (not live or self._clock() - self._counted >= COUNT):
            self._count()
        if not live:
            if not entries:
                return View(self._settled(None), "unknown")
            last, age, state = entries[-1]
            return View(self._settled(last), state, age, _who(last), last.end)
        _, age, state = min(live, key=lambda entry: entry[1])
        picture = self._joined([each.picture for each, *_ in live])
        if state == "working":  # time has passed since it told
            left = None if picture.left is None else max(0.0, picture.left - age)
            picture = replace(picture, elapsed=(picture.elapsed or 0.0) + age, left=left)
        return View(picture, state, age, ", ".join(_who(each) for each, *_ in live))

    def _age(self, each: Told) -> float:
        """Return the seconds since a process told something, by this machine's clock once it was seen to do so.

        The clocks of two machines need not agree.
        """
        before, since, seen = self._heard.get(each.id, (each.time, self._clock(), False))
        if before != each.time:
            since, seen = self._clock(), True
        self._heard[each.id] = (each.time, since, seen)
        watched = self._clock() - since
        return watched if seen else max(each.age, watched)

    def _count(self) -> None:
        """Count what lies in the store."""
        self._counted, self._keys = self._clock(), expected(self._root, self._sweep)
        self._done = set(self._keys) & set(self._store.keys())
        wanted, failures = set(self._keys), self._store.failures()
        self._failures = [Failed(k, v.label, v.kind, v.reason) for k, v in failures.items() if k in wanted]

    def _settled(self, last: Told | None) -> Picture:
        """Return what the store says of a sweep that nobody works on."""
        known = last.picture if last else Picture()
        total, done = max(len(self._keys), known.total), len(self._done) if self._keys else known.done
        failures = tuple(self._failures) if self._keys else known.failures
        return Picture(
            total=total,
            done=done,
            failed=len(failures),
            waiting=max(0, total - done - len(failures)),
            share=done / total if total else 0.0,
            failures=failures,
            ended=known.ended,
        )

    def _joined(self, pictures: Sequence[Picture]) -> Picture:
        """Return one picture of what several processes do."""
        last = pictures[-1]
        if len(pictures) == 1:
            return last
        working = {run.key: run for picture in pictures for run in picture.working}
        failures = {run.key: run for picture in pictures for run in picture.failures}
        failed = [run for key, run in failures.items() if key not in working and key not in self._done]
        total, done = max(picture.total for picture in pictures), len(self._done)
        return replace(
            last,
            total=total,
            done=done,
            running=len(working),
            failed=len(failed),
            waiting=max(0, total - done - len(working) - len(failed)),
            elsewhere=0,  # the other one is in the picture
            share=done / total if total else 0.0,
            elapsed=max(picture.elapsed or 0.0 for picture in pictures),
            left=min((picture.left for picture in pictures if picture.left is not None), default=None),
            working=tuple(working.values()),
            failures=tuple(failed),
            ended=tuple(dict.fromkeys(each for picture in pictures for each in picture.ended if each[0] != "other")),
        )


def _who(last: Told) -> str:
    return f"process {last.process.get('pid')} on {last.process.get('host')}"
