"""Processes that write to a store until they are done or killed; they say so on standard output."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import IO

from grace.storage.folders import folder
from grace.storage.writing import place
from suite.store import Store
from tests.suite.records_for_tests import record


def hold(root: str, key: str) -> None:
    """Hold a run's lock for ever."""
    lock = Store(folder(root)).lock(key)
    lock.acquire(timeout=0)
    print("held", flush=True)
    signal.pause()


def write(root: str, first: int, last: int) -> None:
    """Write records one after the other."""
    store = Store.open(root, write=True)
    for number in range(first, last + 1):
        store.write(record(number))
        print(number, flush=True)


def halfway(path: str) -> None:
    """Write half a file, say so, and write the other half when told to."""

    def halves(file: IO[bytes]) -> None:
        file.write(b"half")
        file.flush()
        print("half", flush=True)
        sys.stdin.readline()
        file.write(b" and half")

    place(Path(path), halves)
    print("whole", flush=True)


def put(uri: str, size: int) -> None:
    """Replace an object again and again by one of equal bytes, larger than what goes in one request."""
    path = folder(uri)
    for number in range(1_000_000):
        place(path, bytes([number % 256]) * size)
        print(number, flush=True)
        time.sleep(0.5)  # readers that are always overtaken give up
