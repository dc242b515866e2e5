"""A world of faults: a results root, the processes at work on it, and what they told; nothing outside is touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from bench.faults import processes
from bench.faults.disk import Disk
from bench.faults.nodes import Nodes
from bench.faults.trace import Moment, moments

TOP = Path(__file__).parents[2]
SITE = Path(__file__).with_name("site")
PATIENCE = 400.0  # seconds for something that must come


class Command:
    """`run_suite.py` in a session of its own, as a user starts it."""

    def __init__(self, world: World, arguments: Sequence[str], cwd: Path) -> None:
        cwd.mkdir(parents=True, exist_ok=True)
        self.output = world.folder / f"command{len(list(world.folder.glob('command*')))}.txt"
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [*world.prefix, sys.executable, str(TOP / "run_suite.py"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=world.environment(),
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def kill(self) -> None:
        """Kill -9, this process alone."""
        self.process.kill()
        self.process.wait()

    def term(self) -> float:
        """Send SIGTERM, wait until it has ended, and return the seconds that this took."""
        began = time.monotonic()
        os.kill(self.process.pid, signal.SIGTERM)
        self.process.wait(PATIENCE)
        return time.monotonic() - began

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return the exit code; raises subprocess.TimeoutExpired."""
        return self.process.wait(seconds)

    @property
    def said(self) -> str:
        """All that it has printed."""
        return self.output.read_text(errors="replace")


class World:
    """A folder with a short name (Ray's sockets), in it the results root `results`, and everything that runs there.

    `disk`: the root is on a disk of its own, of so many KiB.
    """

    def __init__(self, disk: int = 0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gf-", dir="/tmp"))
        self.nodes: Nodes | None = None
        self.hung: set[int] = set()  # processes at a trap that are to stay there
        for name in ("traps", "held", "home", "ray", "barren"):
            (self.folder / name).mkdir()
        self.disk = Disk(self.folder, disk) if disk else None
        self.prefix = self.disk.prefix if self.disk else []
        self.root = self.disk.content if self.disk else self.folder / "results"  # as this process sees it

    def environment(self, *, traced: bool = True) -> dict[str, str]:
        """Return the environment of all that runs here; `traced`: it tells of its moments and stops at traps."""
        path = os.pathsep.join([*([str(SITE)] if traced else []), str(TOP)])
        return {
            **os.environ,
            processes.MARK: str(self.folder),
            "PYTHONPATH": path,
            "RAY_TMPDIR": str(self.folder / "ray"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "120",
        }

    def start_nodes(self, count: int = 2) -> None:
        """Start the Ray cluster."""
        self.nodes = Nodes(self.environment(), str(self.folder / "nodes.txt"), count, self.prefix)

    def command(self, *arguments: str, cwd: Path | None = None, root: Path | None = None) -> Command:
        """Start a command of the suite on the results root."""
        return Command(self, [*arguments, "--root", str(root or self.folder / "results")], cwd or self.folder / "home")

    def on_ray(self, *arguments: str, cwd: Path | None = None) -> Command:
        """Start a command that works on the cluster."""
        assert self.nodes is not None
        return self.command(*arguments, "--address", self.nodes.address, "--gpus-per-run", "0", cwd=cwd)

    def moments(self) -> list[Moment]:
        """Return what was told so far."""
        return moments(self.folder)

    def marked(self, name: str = "") -> list[int]:
        """Return the world's processes, or those whose command line starts with a name; this process aside."""
        return [pid for pid in processes.marked(str(self.folder), name) if pid != os.getpid()]

    def trap(self, moment: str, key: str = "") -> None:
        """Have the next process that comes to this moment (of this run) stand still there."""
        (self.folder / "traps" / (f"{moment}@{key}" if key else moment)).touch()

    def caught(self, seconds: float = PATIENCE, *, watch: Command | None = None) -> Moment:
        """Wait for a process to stand at a trap and return where; raises TimeoutError."""
        for _ in self.until(seconds, "no process came to a trap", watch):
            for pid in self._held() - self.hung:
                mine = [moment for moment in self.moments() if moment.pid == pid]
                if mine:
                    return mine[-1]
        raise AssertionError("not reached")

    def put(self, name: Literal["clock", "pace"], seconds: float) -> None:
        """Set every process's time of day forward or (negative) back, or have every epoch take longer."""
        beside = self.folder / f"{name}.new"
        beside.write_text(f"{seconds}")
        beside.rename(self.folder / name)

    def at_work(self) -> dict[int, str]:
        """Return the run that each process works on."""
        last = {moment.pid: moment.key for moment in self.moments() if moment.kind != "start"}
        return {pid: key for pid, key in last.items() if processes.alive(pid) and not self.done(key)}

    def done(self, key: str) -> bool:
        """Return whether a run has a record."""
        return (self.root / "records" / f"{key}.parquet").exists()

    def release(self, pid: int = 0) -> None:
        """Let those who stand at a trap (or one of them) go on, and set no more; who is to hang stays."""
        for one in {pid} if pid else self._held() - self.hung:
            (self.folder / "held" / str(one)).unlink(missing_ok=True)
        for trap in [] if pid else (self.folder / "traps").iterdir():
            trap.unlink(missing_ok=True)

    def _held(self) -> set[int]:
        return {int(path.name) for path in (self.folder / "held").iterdir()}

    def kill(self, pid: int) -> float:
        """Kill a process, free its place at a trap, and return when that was."""
        processes.kill(pid)
        at = time.monotonic()
        self.release(pid)
        return at

    def goes_on(self, key: str, after: float, pid: int = 0, seconds: float = PATIENCE) -> float:
        """Wait until another process works on a run, or it is done; return the seconds since `after`."""
        for _ in self.until(seconds, f"run {key} does not go on"):
            later = [m for m in self.moments() if m.key == key and m.time > after and m.pid != pid]
            if later:
                return later[0].time - after
            if self.done(key):
                return time.monotonic() - after
        raise AssertionError("not reached")

    def said(self, words: str, by: Command) -> None:
        """Wait until a command has said something; raises TimeoutError."""
        for _ in self.until(PATIENCE, f'it did not say "{words}"', by):
            if words in by.said:
                return

    def until(self, seconds: float, otherwise: str, watch: Command | None = None) -> Iterator[None]:
        """Yield again and again; raises TimeoutError with what the commands said when it takes too long."""
        deadline = time.monotonic() + seconds
        while True:
            yield
            ended = watch is not None and watch.over
            if ended or time.monotonic() > deadline:
                why = "the command has ended" if ended else f"within {seconds:g} s"
                raise TimeoutError(f"{otherwise} ({why})\n{self.told()}")
            time.sleep(0.02)

    def told(self) -> str:
        """Return what every command of this world has said, for a message."""
        files = sorted(self.folder.glob("command*.txt"), key=lambda path: path.stat().st_mtime)
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in files)

    def fresh(self) -> None:
        """Forget all that was; the cluster stays."""
        self.hung.clear()
        self.release()
        shutil.rmtree(self.root, ignore_errors=True)
        for path in (self.folder / "barren").iterdir():
            path.unlink()
        for name in ("trace", "clock", "pace", "fed"):
            (self.folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """End everything and remove the folder."""
        self.hung.clear()
        self.release()
        if self.nodes is not None:
            self.nodes.close()
        processes.end(str(self.folder))
        if self.disk is not None:
            self.disk.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def world(disk: int = 0) -> Iterator[World]:
    """Make a world for a while."""
    made = World(disk)
    try:
        yield made
    finally:
        made.close()
