"""Processes that write to a store until they are done or killed; they say so on standard output."""

from __future__ import annotations

import signal
from pathlib import Path

from suite.store import Store
from tests.suite.records_for_tests import record


def hold(root: str, key: str) -> None:
    """Hold a run's lock for ever."""
    lock = Store(Path(root)).lock(key)
    lock.acquire()
    print("held", flush=True)
    signal.pause()


def write(root: str, first: int, last: int) -> None:
    """Write records one after the other."""
    store = Store.open(Path(root), write=True)
    for number in range(first, last + 1):
        store.write(record(number))
        print(number, flush=True)
