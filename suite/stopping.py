"""The wish that a sweep stop, left in its results folder by whoever sees it, for whoever works on it."""

from __future__ import annotations

import os
import time

from grace.storage.folders import Folder
from grace.storage.writing import place
from suite.errors import Exit, SuiteError

EVERY = 2.0  # seconds between looks


def ask(root: Folder, sweep: str) -> None:
    """Ask every process that works on a sweep to stop at its next safe point; raises SuiteError (environment)."""
    path = _path(root, sweep)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        place(path, os.urandom(8).hex().encode())  # one wish is told from another by this, and not by any clock
    except OSError as error:
        raise SuiteError(f"{path} cannot be written: {error.strerror}", Exit.ENVIRONMENT) from error


class Asked:
    """Whether a sweep was asked to stop since this was made; the root is looked at every few seconds at most."""

    def __init__(self, root: Folder, sweep: str) -> None:
        self._path, self._looked, self._found = _path(root, sweep), -EVERY, False
        self._before = self._stamp()  # a wish of an earlier day

    def __call__(self) -> bool:
        """Tell whether somebody has asked."""
        if not self._found and time.monotonic() - self._looked >= EVERY:
            self._looked = time.monotonic()
            self._found = self._stamp() not in (None, self._before)
        return self._found

    def _stamp(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except OSError:  # a disk that does not answer has no wishes
            return None


def _path(root: Folder, sweep: str) -> Folder:
    return root / "live" / sweep / "stop"
