"""A small disk of one's own for the results root: it can be full, taken away and brought back. Needs `unshare`.

The disk is in a mount namespace of its own, so nobody else sees it; what is to see it is started through `prefix`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

READY = """mkdir -p disk results && mount -t tmpfs -o size={size}k none disk && mount --bind disk results &&
echo ready && read _"""


@cache
def possible() -> bool:
    """Return whether this machine lets a process have mounts of its own."""
    try:
        return subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


class Disk:
    """A file system of `size` KiB, at `results` under the folder for those who see it."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        script = READY.format(size=size)
        self._holder = subprocess.Popen(
            ["unshare", "-rm", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            start_new_session=True,
        )
        assert self._holder.stdout
        if self._holder.stdout.readline() != b"ready\n":
            raise RuntimeError("the disk could not be made")

    @property
    def prefix(self) -> list[str]:
        """The beginning of a command line that is to see the disk."""
        return ["nsenter", "-t", str(self._holder.pid), "-U", "-m", "--preserve-credentials", "--"]

    @property
    def content(self) -> Path:
        """What is on the disk, seen from outside, whether or not it is at its place."""
        return Path(f"/proc/{self._holder.pid}/root{self._folder}/disk")

    @property
    def beneath(self) -> list[str]:
        """What was written where the disk should have been while it was away; the disk must be away."""
        return sorted(os.listdir(f"/proc/{self._holder.pid}/root{self._folder}/results"))

    def fill(self) -> None:
        """Leave no room."""
        with (self.content / "ballast").open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(512))

    def empty(self) -> None:
        """Make room again."""
        (self.content / "ballast").unlink(missing_ok=True)

    def leave(self) -> None:
        """Take the disk away: its place is an empty folder, as a file server's is that is not mounted."""
        self._do("umount", "-l", "results")

    def come_back(self) -> None:
        """Bring it back, with all that it held."""
        self._do("mount", "--bind", "disk", "results")

    def close(self) -> None:
        """Have it gone for good."""
        self._holder.kill()
        self._holder.wait()
        for pipe in (self._holder.stdin, self._holder.stdout):
            if pipe:
                pipe.close()

    def _do(self, *command: str) -> None:
        inside: Sequence[str] = [*self.prefix, "sh", "-c", 'cd "$0" && exec "$@"', str(self._folder), *command]
        subprocess.run(inside, check=True)
