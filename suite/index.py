"""Result rows kept beside the records: making one reads the predictions of every test image, loading one does not.

`index/rows-<version>-<any>.jsonl`: a line per row, which is a checksum, the run's key, the stamp of its two files and
the row as JSON. Whoever makes rows adds a file, so any number of processes may. It is a copy and never more: a line
that is damaged, or whose record has changed, is as good as none, and whether a run is done is asked of its record.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from grace.storage.folders import Folder, at_once, entries
from grace.storage.writing import place
from suite.record import jsonable
from suite.results import result_row
from suite.store import Store

MANY = 256  # rows that are worth starting processes for, and telling people about
PART = 32  # records that a process takes at a time
PROCESSES = 8  # at most: more of them wait for the disk
PARSED = 500  # rows that are parsed at a time: they share the names of their fields
FORGOTTEN = 7 * 24 * 3600.0  # seconds after which the rows of another version are deleted
DEFINING = ("suite.index", "suite.results", "suite.account", "suite.record", "suite.columns", "grace.metrics",
            "grace.streams.protocol")  # fmt: skip
NO_ROW = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)  # what a record without sense raises

Row = dict[str, Any]


def indexed_rows(store: Store, told: Callable[[int], None] = lambda count: None) -> list[Row]:
    """Return the result row of every whole record in the order of the keys, from the index where it has it.

    Rows that are not there are made and added; `told` hears how many where that takes its time. The rows are what
    `suite.results.result_row` returns, as JSON holds it. Records that cannot be used are named in `store.damaged`.
    """
    stamps, index = store.stamps(), Index(store.root / "index")
    lines = index.read(stamps)
    missing, made = {key: stamp for key, stamp in stamps.items() if key not in lines}, dict[str, bytes]()
    if len(missing) >= MANY:
        told(len(missing))
    try:
        for part, damaged in _made(store.root, missing):
            made |= part
            store.damaged += damaged
    finally:  # who interrupts this should not wait for the same rows again
        index.add({key: line for key, line in made.items() if missing[key]})
    lines |= made
    return _parsed([lines[key] for key in stamps if key in lines])


class Index:
    """The lines below one folder. Trouble with the disk is no trouble: what is not read is made again."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.files: dict[Folder, tuple[int, dict[str, bytes]]] = {}  # lines in it, and those that hold

    def read(self, stamps: Mapping[str, str]) -> dict[str, bytes]:
        """Return the line of each run whose files have the stamp that they had."""
        for _ in range(3):  # a file that vanishes was taken into a larger one, by another process
            with suppress(FileNotFoundError):
                own = self._own()
                read = at_once(self.folder, lambda path: _lines(path, stamps), own)
                self.files = dict(zip(own, read, strict=True))
                break
        found: dict[str, bytes] = {}
        for _, held in self.files.values():
            found |= held
        return found

    def add(self, lines: dict[str, bytes]) -> None:
        """Keep lines in a file of their own, which takes in every file that holds no more: few files stay.

        Where most of what there is does not hold, or is there twice, one file takes in all that does.
        """
        there = [held for _, held in self.files.values()]
        wasteful = sum(count for count, _ in self.files.values()) > 2 * len({key for held in there for key in held})
        whole, taken = dict(lines), list[Folder]()
        for path, (_, held) in sorted(self.files.items(), key=lambda item: len(item[1][1])):
            if wasteful or len(held) <= len(whole):
                whole |= held
                taken.append(path)
        if not lines and not taken:
            return
        with suppress(OSError):  # a root that may only be read
            self.folder.mkdir(exist_ok=True)
            if whole:
                place(self.folder / f"rows-{version()}-{os.urandom(4).hex()}.jsonl", b"\n".join([*whole.values(), b""]))
            for path in (*taken, *self._forgotten()):
                path.unlink(missing_ok=True)

    def _own(self) -> list[Folder]:
        with suppress(OSError):
            return sorted([*self.folder.glob(f"rows-{version()}-*.jsonl")])
        return []

    def _forgotten(self) -> list[Folder]:
        """Return what other versions left, and writers that were killed, long ago."""
        before = time.time() - FORGOTTEN
        found, own = entries(self.folder), {path.name for path in self._own()}
        old = (name for name, entry in found.items() if entry.st_mtime < before and name not in own)
        return [self.folder / name for name in old if name.startswith("rows-")]


@cache
def version() -> str:
    """Return a hash of the text of the code that says what a row is: rows of other code are not ours."""
    specs = [find_spec(name) for name in DEFINING]
    texts = [Path(spec.origin).read_bytes() for spec in specs if spec and spec.origin]
    return hashlib.blake2b(b"\0".join(texts), digest_size=8).hexdigest()


def _lines(path: Folder, stamps: Mapping[str, str]) -> tuple[int, dict[str, bytes]]:
    """Return how many lines a file has, and by key those that are whole and whose record is still the same."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        raise
    except OSError:
        return 0, {}
    found = {}
    for line in lines:
        checksum, _, rest = line.partition(b" ")
        key, stamp = (*rest[:200].decode(errors="replace").split(" ", 2), "", "")[:2]
        if stamp and stamps.get(key) == stamp and checksum == _checksum(rest):
            found[key] = line
    return len(lines), found


def _line(key: str, stamp: str, row: Row) -> bytes:
    try:
        body = json.dumps(row, allow_nan=False)
    except (TypeError, ValueError):  # rare, and looking at every value takes longer
        body = json.dumps(jsonable(row))
    rest = f"{key} {stamp} {body}".encode()
    return b"%b %b" % (_checksum(rest), rest)


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8).hexdigest().encode()


def _parsed(lines: list[bytes]) -> list[Row]:
    """Return the rows; the garbage collector, which would walk over all of them again and again, is kept out of it."""
    rows: list[Row] = []
    collects = gc.isenabled()
    gc.disable()
    try:
        for start in range(0, len(lines), PARSED):
            bodies = [line.split(b" ", 3)[3] for line in lines[start : start + PARSED]]
            rows += json.loads(b"[%b]" % b",".join(bodies))
    finally:
        if collects:
            gc.enable()
    return rows


def _made(root: Folder, missing: Mapping[str, str]) -> Iterator[tuple[dict[str, bytes], list[str]]]:
    """Yield rows, part by part, as lines by key, and what to say of records that have none: if many, in processes."""
    keys = list(missing)
    parts = [{key: missing[key] for key in keys[start : start + PART]} for start in range(0, len(keys), PART)]
    make, done = partial(_part, root), 0
    if len(keys) >= MANY and processes() > 1:
        from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
        from multiprocessing import get_context

        try:
            with ProcessPoolExecutor(processes(), get_context("spawn"), initializer=_deaf) as pool:
                try:
                    for part in pool.map(make, parts):
                        done += 1
                        yield part
                finally:
                    pool.shutdown(cancel_futures=True)
        except (BrokenProcessPool, OSError):
            pass  # no memory for so many, say: the rest is made here
    yield from map(make, parts[done:])


def processes() -> int:
    """Return how many processes make rows where there are many to be made."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(PROCESSES, cores or 1)


def _part(root: Folder, stamps: Mapping[str, str]) -> tuple[dict[str, bytes], list[str]]:
    store, lines = Store(root), dict[str, bytes]()
    for record in store.records(among=stamps):
        try:
            lines[record.key] = _line(record.key, stamps[record.key], result_row(record))
        except NO_ROW as error:
            store.damaged.append(f"record {record.key} is left out, no figures follow from it: {error!r}")
    return lines, store.damaged


def _deaf() -> None:
    """Let only the parent hear Ctrl-C: it ends its processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
