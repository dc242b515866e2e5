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

from bench.faults import processes
from bench.faults.nodes import Nodes
from bench.faults.trace import Moment, moments

TOP = Path(__file__).parents[2]
SITE = Path(__file__).with_name("site")
PATIENCE = 180.0  # seconds for something that must come


class Command:
    """`run_suite.py` in a session of its own, as a user starts it."""

    def __init__(self, world: World, arguments: Sequence[str], cwd: Path) -> None:
        cwd.mkdir(parents=True, exist_ok=True)
        self.output = world.folder / f"command{len(list(world.folder.glob('command*')))}.txt"
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(TOP / "run_suite.py"), *arguments],
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
    """A folder with a short name (Ray's sockets), in it the results root `results`, and everything that runs there."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="gf-", dir="/tmp"))
        self.root = self.folder / "results"
        self.nodes: Nodes | None = None
        for name in ("traps", "held", "home", "ray"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

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
        self.nodes = Nodes(self.environment(), str(self.folder / "nodes.txt"), count)

    def command(self, *arguments: str, cwd: Path | None = None, root: Path | None = None) -> Command:
        """Start a command of the suite on the results root."""
        return Command(self, [*arguments, "--root", str(root or self.root)], cwd or self.folder / "home")

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
            for path in (self.folder / "held").iterdir():
                mine = [moment for moment in self.moments() if moment.pid == int(path.name)]
                if mine:
                    return mine[-1]
        raise AssertionError("not reached")

    def release(self, pid: int = 0) -> None:
        """Let those who stand at a trap (or one of them) go on, and set no more."""
        for path in [*(self.folder / "held").iterdir(), *([] if pid else (self.folder / "traps").iterdir())]:
            if not pid or path.name == str(pid):
                path.unlink(missing_ok=True)

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
            if (self.root / "records" / f"{key}.parquet").exists():
                return time.monotonic() - after
        raise AssertionError("not reached")

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

    def close(self) -> None:
        """End everything and remove the folder."""
        self.release()
        if self.nodes is not None:
            self.nodes.close()
        processes.end(str(self.folder))
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def world() -> Iterator[World]:
    """Make a world for a while."""
    made = World()
    try:
        yield made
    finally:
        made.close()
