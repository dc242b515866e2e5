"""Files that appear whole: written beside their place and moved there, or put into an object store in one piece.

Who writes beside a place holds a lock on that temporary file; so what a writer that was killed has left can be told
from what is being written, whatever any clock says.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from grace.storage.folders import Folder
from grace.storage.objects import ObjectPath

OURS = re.compile(r".+\.tmp-[0-9a-f]{8}")
YOUNG = 3600.0  # seconds during which a temporary file may be somebody's where a disk knows no locks
TRIES = 3

Data = bytes | Callable[[IO[bytes]], object]  # the bytes, or what writes them to a file


def place(path: Folder, data: Data, *, durable: bool = True) -> None:
    """Write a file that is there as a whole or not at all, in place of an earlier one; raises OSError.

    With `durable` it is on the disk when this returns.
    """
    if isinstance(path, ObjectPath):
        path.put(_bytes(data))
        return
    for left in reversed(range(TRIES)):
        with _beside(path, data, durable) as temporary:
            try:
                os.replace(temporary, path)
                break
            except FileNotFoundError:  # taken for left behind, between its first moment and its lock
                if not left or not path.parent.is_dir():
                    raise
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def probe(path: Folder, data: bytes) -> None:
    """Write a file beside a place as `place` would, and remove it: raises OSError where that would fail."""
    if isinstance(path, ObjectPath):
        trial = path.with_name(f"{path.name}.tmp-{os.urandom(4).hex()}")
        trial.put(data)
        trial.unlink(missing_ok=True)
    else:
        with _beside(path, data, True) as temporary:
            temporary.unlink(missing_ok=True)


@contextmanager
def _beside(path: Path, data: Data, durable: bool) -> Iterator[Path]:
    """Write to a name of its own in the file's folder, and hold that; nothing is left when this ends."""
    temporary = path.with_name(f"{path.name}.tmp-{os.urandom(4).hex()}")
    with temporary.open("xb") as file:
        try:
            with suppress(OSError):  # without locks the age of the file must do
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if isinstance(data, bytes):
                file.write(data)
            else:
                data(file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
            yield temporary
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _bytes(data: Data) -> bytes:
    if isinstance(data, bytes):
        return data
    memory = io.BytesIO()
    data(memory)
    return memory.getvalue()


def abandoned(root: Folder, *, start: str = "", young: float = YOUNG) -> Iterator[Path]:
    """Yield the temporary files below a folder that nobody writes any more; each is held until the next is asked for.

    `start` is how their names begin. Object stores have none.
    """
    if isinstance(root, ObjectPath):
        return
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            if name.startswith(start) and ".tmp-" in name:
                with _held(Path(folder, name), young) as free:
                    if free:
                        yield Path(folder, name)


@contextmanager
def _held(path: Path, young: float) -> Iterator[bool]:
    """Hold a temporary file if its writer does not; tell whether it is nobody's."""
    old = False
    with suppress(FileNotFoundError):
        old = time.time() - path.stat().st_mtime > young
    try:
        file = path.open("r+b")  # NFS locks no file that is only read
    except FileNotFoundError:
        yield False
        return
    except OSError:
        yield old
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # what others write, or an earlier version wrote, has no lock; and it may be in its place by now
            free = (old or OURS.fullmatch(path.name) is not None) and path.exists()
        except BlockingIOError:
            free = False
        except OSError:
            free = old
        yield free
