"""What a results folder need not keep: checkpoints of finished runs, what killed writers left, reasons outlived."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grace.storage.folders import Folder, names, remove_tree, size
from grace.storage.writing import YOUNG, abandoned
from suite import sharing
from suite.store import Store

UNUSED = 30 * 86400.0  # seconds without use after which a shared first task may go


@dataclass(frozen=True)
class Waste:
    """One file or folder that may go."""

    path: Folder
    why: str
    size: int  # bytes


def waste(store: Store, *, unfinished: bool = False, young: float = YOUNG) -> Iterator[Waste]:
    """Yield what may go. With `unfinished` the checkpoints of runs without a record, too: they start anew.

    What somebody works on is held by a lock and is never among it. `young` is for disks that know no locks.
    """
    done, work, locks = set(store.keys()), store.root / "work", store.root / "locks"
    disk, claims = isinstance(store.root, Path), names(locks)
    keys = {name.removesuffix(".lock") for name in names(work)} | {name.partition(".")[0] for name in claims}
    for key in sorted(keys):
        folder, lock, held = store.work(key), work / f"{key}.lock", store.lock(key)
        new = disk and not lock.exists()
        try:
            held.acquire(timeout=0)
        except TimeoutError:
            continue
        try:
            if (key in done or unfinished) and folder.is_dir():
                why = "checkpoints of a finished run" if key in done else "checkpoints of an unfinished run"
                yield Waste(folder, why, size(folder))
            if disk and (new or key in done or unfinished or not folder.is_dir()):
                yield Waste(lock, "lock that nobody holds", 0)
            for name in claims:
                if name.startswith(f"{key}."):
                    yield Waste(locks / name, "lock of a process that was killed", 0)
        finally:
            held.release()
    yield from _shared(store, unfinished)
    for key in sorted(done.intersection(name.removesuffix(".json") for name in names(store.root / "failed"))):
        reason = store.root / "failed" / f"{key}.json"
        yield Waste(reason, "why a run failed that has a record now", size(reason))
    for left in abandoned(store.root, young=young):
        yield Waste(left, "left by a writer that was killed", size(left))


def _shared(store: Store, unfinished: bool) -> Iterator[Waste]:
    """Yield first tasks that runs shared and that none has taken up for long; with `unfinished` all of them."""
    place, disk = sharing.folder(store.root), isinstance(store.root, Path)
    found = set(names(place))
    for key in sorted({name.partition(".")[0] for name in found if name.endswith((".pt", ".lock"))}):
        task, lock, held = place / f"{key}.pt", place / f"{key}.lock", sharing.lock(store.root, key)
        try:
            held.acquire(timeout=0)
        except TimeoutError:
            continue
        try:
            there = task.name in found
            old = there and time.time() - task.stat().st_mtime > UNUSED
            if there and (old or unfinished):
                why = "first task that runs shared" + ", long not used" * old
                yield Waste(task, why, size(task))
            if disk and (lock.name not in found or old or unfinished or not there):
                yield Waste(lock, "lock that nobody holds", 0)
        finally:
            held.release()


def remove(found: Waste) -> None:
    """Remove it; what is gone already is as good."""
    if found.path.is_dir():
        remove_tree(found.path)
    else:
        found.path.unlink(missing_ok=True)
