"""The log of each run, `logs/<key>.log` under the root: what it told, and whatever its process printed meanwhile."""

from __future__ import annotations

import faulthandler
import getpass
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from grace.storage.folders import Folder
from grace.storage.writing import place

KEPT = 2**20  # bytes of earlier attempts' logs that stay
CRASH = 2**16  # bytes at the end of a log among which a crash says what it was
COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # what a terminal would take for one
WORDS = 200  # characters of a last line


def path(root: Folder, key: str) -> Path:
    """Return the file of a run's log, on this machine: where the root is an object store it is put there by `keep`."""
    if isinstance(root, Path):
        return root / "logs" / f"{key}.log"
    return _beside() / "logs" / f"{key}.log"


def _beside() -> Path:
    return Path(tempfile.gettempdir(), f"grace-suite-{getpass.getuser()}")


def keep(root: Folder, key: str) -> None:
    """Put a run's log where its results are, unless it is there."""
    if not isinstance(root, Path):
        with suppress(OSError):
            place(root / "logs" / f"{key}.log", path(root, key).read_bytes())


def write(file: Path, text: str) -> None:
    """Append a line with the time. A log is a comfort: that it cannot be written is no reason to end a run."""
    with suppress(OSError):
        _folder(file)
        with file.open("a", encoding="utf-8", errors="replace") as log:
            log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")


@contextmanager
def captured(file: Path) -> Iterator[None]:
    """Send what this process prints to the log, from Python or not, and where it was when it crashes."""
    try:
        _folder(file)
        if file.exists() and file.stat().st_size > KEPT:
            os.replace(file, file.with_suffix(".log.1"))
        log = file.open("ab", buffering=0)
    except OSError:
        yield
        return
    with log:
        before = [os.dup(number) for number in (1, 2)]
        _onto(log.fileno(), log.fileno())
        faulthandler.enable(log)
        try:
            yield
        finally:
            faulthandler.disable()
            _onto(*before)
            for number in before:
                os.close(number)


def _folder(file: Path) -> None:
    """Make a log's folder; a root that is out of reach is not made anew."""
    file.parent.mkdir(exist_ok=True, parents=file.parent.parent == _beside())


def _onto(out: int, err: int) -> None:
    """Let the standard streams end in these descriptors."""
    with suppress(OSError, ValueError):  # of a full disk, or closed
        sys.stdout.flush()
        sys.stderr.flush()
    os.dup2(out, 1)
    os.dup2(err, 2)


def last_words(file: Path) -> str:
    """Return the line of a log that says most of a crash: a fatal error's, else the last one; or nothing."""
    # behind a fatal error come the stacks of all threads and the names of all modules
    lines = [line.strip() for line in tail(file, CRASH).splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("Fatal Python error", "terminate called"))]
    return ([*lines, *fatal] or [""])[-1][:WORDS]


def tail(file: Path, size: int = 4096) -> str:
    """Return the last `size` bytes of a log as text, or nothing where there is none."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - size))
            return log.read().decode(errors="replace")
    except OSError:
        return ""


class Follower:
    """Yields what is new in some files since it was last asked, line by line and without its colours."""

    def __init__(self) -> None:
        self._read: dict[Path, int] = {}

    def follow(self, file: Path) -> None:
        """Begin with what a file gets from now on."""
        with suppress(OSError):
            self._read.setdefault(file, file.stat().st_size if file.exists() else 0)

    def news(self) -> Iterator[tuple[Path, str]]:
        """Yield whole lines that are new, with the file that they stand in."""
        for file, seen in list(self._read.items()):
            try:
                with file.open("rb") as log:
                    log.seek(seen)
                    whole = log.read().rpartition(b"\n")[0]
            except OSError:
                continue
            self._read[file] = seen + len(whole) + bool(whole)
            for line in COLOURS.sub("", whole.decode(errors="replace")).splitlines():
                yield file, line
