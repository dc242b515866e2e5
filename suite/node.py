"""What one node of a cluster has and sees, looked at in a process on it; `suite.cluster` compares. Knows no Ray."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import platform
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grace
import protocols
import suite
from grace.storage.folders import Folder
from grace.storage.writing import place
from suite.doctor import Finding, data, imports, machine, packages
from suite.provenance import LIBRARIES, installed

if TYPE_CHECKING:
    from grace.streams.catalogue import DatasetSpec

ALIKE = (*LIBRARIES, "pyarrow")  # libraries that all nodes should have in one version
LAG = 5.0  # seconds within which a file written on one node should be seen on another
PACE = 0.2  # seconds between looks
HERE = "here"  # the mark of who asks
LOCK = "lock"  # file in a folder on a disk, on which who asks holds a lock


@dataclass(frozen=True)
class Looked:
    """What a node found."""

    host: str
    versions: Mapping[str, str | None]  # of Python and libraries, by name
    code: str  # digest of our code as it is imported there
    findings: Sequence[Finding] = ()  # what matters on each node for itself
    gpus: int = 0  # that torch sees
    root: str = ""  # why the results folder will not do there
    locks: str = ""  # what is wrong with locks; "unseen" where one that is held elsewhere is not in the way
    free: Mapping[str, float] = field(default_factory=dict)  # bytes, by what for


def own() -> Looked:
    """Return what all nodes should have in common, as it is here."""
    versions = {"Python": platform.python_version(), **{name: installed(name) for name in ALIKE}}
    return Looked(socket.gethostname(), versions, digest())


def look(
    folder: Folder, mark: str, temp: Path, images: Path, specs: Mapping[str, DatasetSpec], wanted: Sequence[str] | None
) -> Looked:
    """Return what is here, and leave a mark in `folder`, below the results root, where who asks has left one.

    `temp` is where Ray keeps files of this node, `images` the data folder, `specs` the datasets to look for there,
    `wanted` the requirements to meet.
    """
    common = own()
    imported, gpus = imports()
    wrong = _answered(folder, mark)
    free = {"temporary files": shutil.disk_usage(temp).free}
    if not wrong and isinstance(folder, Path):
        free["results"] = shutil.disk_usage(folder).free
    return Looked(
        common.host,
        common.versions,
        common.code,
        findings=(*packages(wanted), *imported, machine(), *data(images, specs)),
        gpus=gpus,
        root=wrong,
        locks=_locks(folder / LOCK) if not wrong and isinstance(folder, Path) else "",
        free=free,
    )


def leave(folder: Folder, mark: str) -> None:
    """Leave a mark for others to read; raises OSError."""
    place(folder / mark, mark.encode())


def unread(folder: Folder, marks: Sequence[str]) -> list[str]:
    """Return which of the marks left in a folder cannot be read here, once they have had time to come."""
    deadline = time.monotonic() + LAG
    left = list(marks)
    while True:
        left = [mark for mark in left if not _holds(folder / mark, mark)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(PACE)


def digest() -> str:
    """Return a digest of the texts of our code, as this process imports it."""
    found = hashlib.blake2b(digest_size=6)
    for name, path in sorted(_texts()):
        found.update(f"{name}\0".encode() + path.read_bytes())
    return found.hexdigest()


def _texts() -> Iterator[tuple[str, Path]]:
    for package in (grace, protocols, suite):
        top = Path(str(package.__file__)).parent
        for path in top.rglob("*"):
            if path.suffix in (".py", ".toml"):
                yield f"{top.name}/{path.relative_to(top).as_posix()}", path


def _holds(path: Folder, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def _answered(folder: Folder, mark: str) -> str:
    """Read the mark of who asks and leave one; return what is wrong, or nothing."""
    root = folder.parent.parent
    if unread(folder, [HERE]):
        return f"{root} is another folder there" if root.is_dir() else f"{root} is not there"
    try:
        leave(folder, mark)
    except OSError as error:
        return f"{root} cannot be written: {error.strerror or error}"
    return ""


def _locks(path: Path) -> str:
    """Try for the lock that whoever asks holds; return what is wrong, or nothing."""
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return ""  # as it should be
        return f"files cannot be locked: {error.strerror or os.strerror(error.errno or 0)}"
    return "unseen"
