"""The wish that a sweep stop, left in its results folder by whoever sees it, for whoever works on it."""

from __future__ import annotations

import time
from pathlib import Path

from suite.errors import Exit, SuiteError
from suite.writing import place

EVERY = 2.0  # seconds between looks


def ask(root: Path, sweep: str) -> None:
    """Ask every process that works on a sweep to stop at its next safe point; raises SuiteError (environment)."""
    path = _path(root, sweep)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        place(path, b"")
    except OSError as error:
        raise SuiteError(f"{path} cannot be written: {error.strerror}", Exit.ENVIRONMENT) from error


class Asked:
    """Whether a sweep was asked to stop since this was made; the disk is looked at every few seconds at most."""

    def __init__(self, root: Path, sweep: str) -> None:
        self._path, self._looked, self._found = _path(root, sweep), -EVERY, False
        self._before = self._stamp()  # a wish of an earlier day

    def __call__(self) -> bool:
        """Tell whether somebody has asked."""
        if not self._found and time.monotonic() - self._looked >= EVERY:
            self._looked = time.monotonic()
            self._found = self._stamp() not in (None, self._before)
        return self._found

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:  # a disk that does not answer has no wishes
            return None
        return found.st_mtime_ns, found.st_ino


def _path(root: Path, sweep: str) -> Path:
    return root / "live" / sweep / "stop"
