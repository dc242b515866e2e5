"""Files that appear whole: written beside their place, moved there when they are on the disk."""

from __future__ import annotations

import os
from pathlib import Path


def place(path: Path, data: bytes) -> None:
    """Write a file beside its place and move it there when it is whole and on the disk; raises OSError."""
    temporary = beside(path, data)
    try:
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def beside(path: Path, data: bytes) -> Path:
    """Write a file's bytes under a name of their own in its folder, and return that; nothing is left of an OSError."""
    temporary = path.with_name(f"{path.name}.tmp-{os.urandom(4).hex()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
