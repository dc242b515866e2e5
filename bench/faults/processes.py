"""The processes of one world, found by a mark in their environment: never anybody else's."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

MARK = "GRACE_FAULTS"  # the variable whose value is the world's folder
WORKER, CONTROLLER, QUEUE = "ray::RayTrainWorker", "ray::TrainController", "ray::Queue"


def marked(value: str, name: str = "") -> list[int]:
    """Return processes of the world, zombies aside; with a name, those whose command line starts with it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            ours = f"{MARK}={value}\0".encode() in (entry / "environ").read_bytes()
            if ours and (entry / "cmdline").read_bytes().startswith(name.encode()):
                found.append(int(entry.name))
    return sorted(found)


def parent(pid: int) -> int:
    """Return the parent of a process, 0 when it has ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def called(pid: int) -> str:
    """Return the command line of a process, for people."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120].strip()
    return "ended"


def kill(pid: int) -> None:
    """Kill -9, and wait until it has ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    while alive(pid):
        time.sleep(0.005)


def alive(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def end(value: str) -> None:
    """Kill what is left of a world."""
    deadline = time.monotonic() + 20
    while (left := [pid for pid in marked(value) if pid != os.getpid()]) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
