"""The lock of a run: the kernel's on a disk; in an object store, which has none, a claim that its holder renews.

`locks/<key>.<id>` is a claim. Whoever wants the run puts one, then lists them all: where another is alive, it takes
its own back. Of two who do so at once at least one sees the other, since a listing shows whatever was put before; both
may see it, and try again. All times are the store's own, so that no machine's clock takes part.
"""

from __future__ import annotations

import errno
import json
import random
import threading
import time
import uuid
from contextlib import suppress
from typing import Protocol

from grace.storage.folders import Folder, entries
from grace.storage.objects import Entry, ObjectPath
from grace.storage.writing import place
from suite.ledger import ended, process

BEAT = 20.0  # seconds between renewals
DEAD = 90.0  # seconds without one after which a claim is nobody's
FRESH = 3.0  # seconds during which a claim may be of somebody who only tries
TRIES = 3  # where others try, too
PAUSE = 1.0  # seconds between them at most


class Lock(Protocol):
    """What whoever works on a run holds."""

    def acquire(self, timeout: float) -> object:
        """Hold it; raises TimeoutError where somebody else still does after so many seconds."""

    def release(self) -> None:
        """Let go of it."""


def lock(root: Folder, key: str) -> Lock:
    """Return the lock of a run under a results root, not acquired."""
    if isinstance(root, ObjectPath):
        return Lease(root / "locks", key)
    from filelock import FileLock

    return FileLock(root / "work" / f"{key}.lock")


class Lease:
    """A lock on one key. A holder that cannot renew goes on: who takes over comes to the same result."""

    def __init__(self, folder: ObjectPath, key: str, *, beat: float = BEAT, dead: float = DEAD) -> None:
        self._folder, self._key, self._beat, self._dead = folder, key, beat, dead
        self._own = folder / key
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, timeout: float = 0.0) -> None:
        """Hold the lock; raises TimeoutError where somebody else does, OSError where the store does not answer."""
        until, tried = time.monotonic() + timeout, 0
        while others := self._claimed():
            self._own.unlink(missing_ok=True)
            tried += 1
            fresh = all(age < FRESH for age in others.values())
            if time.monotonic() >= until and not (fresh and tried < TRIES):
                raise TimeoutError(f"{self._folder / self._key} is held by {', '.join(others)}")
            time.sleep(random.uniform(0.0, PAUSE))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, args=(self._over,), name="lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let go of the lock."""
        if self._thread is None:
            return
        self._over.set()
        self._thread.join()  # a renewal under way would bring the claim back
        self._thread = None
        with suppress(OSError):  # it dies by itself
            self._own.unlink(missing_ok=True)

    def __enter__(self) -> Lease:
        """Hold the lock."""
        self.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        """Let go of it."""
        self.release()

    def _claimed(self) -> dict[str, float]:
        """Claim the key; return the others' claims that are alive, with their ages in seconds, and remove dead ones."""
        self._own = self._folder / f"{self._key}.{uuid.uuid4().hex[:12]}"  # never that of a claim that was taken back
        try:
            place(self._own, json.dumps(process()).encode())
            there = {name: entry for name, entry in entries(self._folder).items() if name.startswith(f"{self._key}.")}
            own = there.pop(self._own.name, None)
            if own is None:
                raise OSError(errno.EIO, "the store does not list what it was given just before", str(self._own))
            return self._others(own, there)
        except BaseException:
            with suppress(OSError):
                self._own.unlink(missing_ok=True)
            raise

    def _others(self, own: Entry, there: dict[str, Entry]) -> dict[str, float]:
        alive = {name: own.st_mtime - entry.st_mtime for name, entry in there.items() if self._alive(name, entry, own)}
        for name in there.keys() - alive.keys():
            with suppress(OSError):
                (self._folder / name).unlink(missing_ok=True)
        return alive

    def _alive(self, name: str, entry: Entry, own: Entry) -> bool:
        if own.st_mtime - entry.st_mtime > self._dead:
            return False
        try:
            return not ended(dict(json.loads((self._folder / name).read_bytes())))  # who is on this machine can be seen
        except FileNotFoundError:
            return False  # it has been taken back
        except (ValueError, TypeError):
            return True

    def _renew(self, over: threading.Event) -> None:
        while not over.wait(self._beat):
            with suppress(OSError):
                place(self._own, json.dumps(process()).encode())
