"""Where a record comes from: code, versions, machine and times. Imports neither torch nor ray."""

from __future__ import annotations

import hashlib
import platform
import socket
import subprocess
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGE = "grace-suite"
LIBRARIES = ("torch", "torchvision", "ray", "numpy")


@cache
def code() -> dict[str, Any]:
    """Return which code this is: the commit and whether files differ from it, or the installed version."""
    here = Path(__file__).parents[1]
    top = _git(here, "rev-parse", "--show-toplevel")
    if top and Path(top).resolve() == here.resolve():  # a checkout of ours, not a folder inside another project
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
        return {"version": installed(PACKAGE), "commit": _git(here, "rev-parse", "HEAD"), "dirty": bool(changed)}
    return {"version": installed(PACKAGE), "commit": None, "dirty": None}


@cache
def sources() -> str:
    """Return the digest of the code that results come from, as it lies there: 32 hexadecimal digits."""
    digest, here = hashlib.blake2b(digest_size=16), Path(__file__).parent
    for file in sorted([*here.parent.glob("grace/**/*.py"), here / "execute.py"]):
        text = file.read_bytes()
        digest.update(f"{file.relative_to(here.parent).as_posix()} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def environment(device: str, threads: int, engine: str) -> dict[str, Any]:
    """Return what else equal results depend on: versions, device, threads, engine; and the host, for people.

    `engine` is the way that was asked for; which way each phase went is in its log.
    """
    return {
        "python": platform.python_version(),
        **{name: installed(name) for name in LIBRARIES},
        "device": device,
        "threads": threads,
        "engine": engine,
        "host": socket.gethostname(),
    }


@cache
def processor() -> str:
    """Return the processor's name, as well as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def installed(package: str) -> str | None:
    """Return the version of an installed package, None where it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def now() -> str:
    """Return the time in UTC to the second, as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
