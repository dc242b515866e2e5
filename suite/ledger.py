"""What a process at work on a sweep tells whoever sees the results root: `live/<sweep>/<id>.json`, for `watch`.

Each process has a file of its own and replaces it every few seconds; `runs.txt` beside them lists the sweep's runs.
Nothing depends on these files: one that cannot be written is said once, and tried again.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grace.storage.folders import Folder, at_once
from grace.storage.writing import abandoned, place
from suite.picture import Picture, restored

SCHEMA = 1
PACE = 2.0  # seconds between writes
BEAT = 15.0  # seconds between writes when nothing happens
SILENCE = 180.0  # seconds without news after which a process out of sight may be dead
GONE = 86400.0  # seconds without news after which its file may go
PARTING = 5.0  # seconds that the end waits for a disk that does not answer


class Ledger:
    """Keeps the file of this process while a sweep is carried out. A thread writes; no run waits for it."""

    def __init__(
        self,
        root: Folder,
        sweep: str,
        look: Callable[[], Picture],
        warn: Callable[[str], object],
        *,
        pace: float = PACE,
    ) -> None:
        self._folder, self._look, self._warn, self._pace = root / "live" / sweep, look, warn, pace
        self._path = self._folder / f"{uuid.uuid4().hex[:8]}.json"
        self._keys, self._listed = list[str](), list[str]()
        self._changed = self._well = True
        self._made = False  # the folder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def __enter__(self) -> Ledger:
        """Start to write."""
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave the last state, and how it came about."""
        self._over.set()
        self._thread.join(PARTING)
        if not self._thread.is_alive():
            last = threading.Thread(target=self._write, args=(_end(self._look(), exception[1]),), daemon=True)
            last.start()
            last.join(PARTING)

    def expect(self, keys: Iterable[str]) -> None:
        """Take in the keys of all the sweep's runs as far as they are known."""
        self._keys = sorted({*self._keys, *keys})
        self.touch()

    def touch(self) -> None:
        """Have the state written soon: something has happened."""
        self._changed = True

    def _run(self) -> None:
        self._guarded(self._tidy)
        written = -BEAT
        while True:
            if self._changed or time.monotonic() - written >= BEAT:
                self._changed, written = False, time.monotonic()
                self._write("")
            if self._over.wait(self._pace):
                return

    def _write(self, end: str) -> None:
        state = {"schema": SCHEMA, "process": process(), "time": time.time(), "end": end}
        text = json.dumps({**state, "picture": self._look().plain()})
        self._guarded(lambda: self._both(text))

    def _both(self, told: str) -> None:
        if not self._made:  # once, and never the root: one that is away later must not be made anew at its place
            self._folder.parent.mkdir(exist_ok=True)
            self._folder.mkdir(exist_ok=True)
            self._made = True
        if self._keys != self._listed:
            keys = self._keys  # there may be others by the time that these are written
            text = "".join(f"{key}\n" for key in keys)
            place(self._folder / "runs.txt", text.encode(), durable=False)
            self._listed = keys
        place(self._path, told.encode(), durable=False)  # it need not survive the machine

    def _tidy(self) -> None:
        """Remove what processes left that are at it no longer."""
        for left in abandoned(self._folder, young=SILENCE):
            left.unlink(missing_ok=True)
        for path in self._folder.glob("*.json"):
            told = _told(path)
            if told is None or told.state(told.age) in ("ended", "dead") or told.age > GONE:
                path.unlink(missing_ok=True)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            self._changed = True
            if self._well:
                self._well = False
                self._warn(f"watch will not see this sweep for now: {self._folder}: {error.strerror or error}")
        else:
            if not self._well:
                self._well = True
                self._warn("watch sees this sweep again")


@dataclass(frozen=True)
class Told:
    """What a process at work on a sweep told last."""

    id: str
    process: Mapping[str, Any]
    time: float  # seconds since the epoch, by its clock
    end: str  # how it ended, or nothing
    picture: Picture

    @property
    def age(self) -> float:
        """Seconds since, if the clocks agree."""
        return max(0.0, time.time() - self.time)

    def state(self, age: float) -> str:
        """Return working, silent (it may be dead), dead or ended, where its news are `age` seconds old."""
        if self.end:
            return "ended"
        if seen(self.process):
            return "dead" if ended(self.process) else "working"
        return "working" if age < SILENCE else "silent"


def told(root: Folder, sweep: str) -> list[Told]:
    """Return what the processes told that are or were at a sweep, the newest last; what cannot be read is left out."""
    folder = root / "live" / sweep
    files: list[Folder] = [*folder.glob("*.json")]
    found = at_once(folder, _told, files)
    return sorted(filter(None, found), key=lambda each: each.time)


def expected(root: Folder, sweep: str) -> list[str]:
    """Return the keys of a sweep's runs, as far as whoever was at it last knew; none where that is not known."""
    try:
        return (root / "live" / sweep / "runs.txt").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return []


def process() -> dict[str, Any]:
    """Return who this is: where, its id, when it began, and from where it can be seen by that id."""
    space = ""  # unknown
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        space = f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return {"host": socket.gethostname(), "pid": os.getpid(), "born": born(os.getpid()), "space": space}


def seen(other: Mapping[str, Any]) -> bool:
    """Tell whether a process would be seen from here."""
    return bool(process()["space"] == other.get("space", "") != "")


def ended(other: Mapping[str, Any]) -> bool:
    """Tell whether it is certain that a process, as `process` tells of it, is no more."""
    return seen(other) and born(other.get("pid", 0)) != other.get("born")


def born(pid: int) -> str:
    """Return when a process began, in the kernel's ticks, or nothing when there is none (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _end(last: Picture, error: object) -> str:
    """Return in a word or a line how carrying out a sweep ended."""
    if isinstance(error, Exception):
        return " ".join(f"{error}".split()) or type(error).__name__
    return "stopped" if error or last.waiting or last.running or last.elsewhere else "done"


def _told(path: Folder) -> Told | None:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        end = str(plain["end"])
        return Told(path.stem, dict(plain["process"]), float(plain["time"]), end, restored(plain["picture"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # being removed, cut short by a full disk, or of a version to come
