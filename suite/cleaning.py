"""What a results folder need not keep: checkpoints of finished runs, what killed writers left, reasons outlived."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from suite.sharing import folder
from suite.sharing import lock as lock_of
from suite.store import Store

YOUNG = 3600.0  # seconds during which a half-written file may still be somebody's
UNUSED = 30 * 86400.0  # seconds without use after which a shared first task may go


@dataclass(frozen=True)
class Waste:
    """One file or folder that may go."""

    path: Path
    why: str
    size: int  # bytes


def waste(store: Store, *, unfinished: bool = False, young: float = YOUNG) -> Iterator[Waste]:
    """Yield what may go. With `unfinished` the checkpoints of runs without a record, too: they start anew.

    What somebody works on is held by a lock and is never among it.
    """
    done, work = set(store.keys()), store.root / "work"
    for key in sorted({path.name.removesuffix(".lock") for path in work.iterdir()} if work.is_dir() else ()):
        folder, lock, held = store.work(key), work / f"{key}.lock", store.lock(key)
        new = not lock.exists()
        try:
            held.acquire(timeout=0)
        except TimeoutError:
            continue
        try:
            if folder.is_dir() and (key in done or unfinished):
                why = "checkpoints of a finished run" if key in done else "checkpoints of an unfinished run"
                yield Waste(folder, why, _size(folder))
            if new or key in done or unfinished or not folder.is_dir():
                yield Waste(lock, "lock that nobody holds", 0)
        finally:
            held.release()
    yield from _shared(store, unfinished)
    for key in sorted(done):
        reason = store.root / "failed" / f"{key}.json"
        if reason.is_file():
            yield Waste(reason, "why a run failed that has a record now", _size(reason))
    for left in sorted(store.root.rglob("*.tmp-*")):
        if time.time() - left.stat().st_mtime > young:
            yield Waste(left, "left by a writer that was killed", _size(left))


def _shared(store: Store, unfinished: bool) -> Iterator[Waste]:
    """Yield first tasks that runs shared and that none has taken up for long; with `unfinished` all of them."""
    place = folder(store.root)
    for key in sorted({path.stem for path in place.glob("*.*") if path.suffix in (".pt", ".lock")}):
        task, lock, held = place / f"{key}.pt", place / f"{key}.lock", lock_of(store.root, key)
        new = not lock.exists()
        try:
            held.acquire(timeout=0)
        except TimeoutError:
            continue
        try:
            old = task.exists() and time.time() - task.stat().st_mtime > UNUSED
            if task.exists() and (old or unfinished):
                why = "first task that runs shared" + ", long not used" * old
                yield Waste(task, why, _size(task))
            if new or old or unfinished or not task.exists():
                yield Waste(lock, "lock that nobody holds", 0)
        finally:
            held.release()


def remove(found: Waste) -> None:
    """Remove it; what is gone already is as good."""
    if found.path.is_dir():
        shutil.rmtree(found.path, ignore_errors=True)
    else:
        found.path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
