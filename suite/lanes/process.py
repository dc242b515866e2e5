"""The process that holds Ray, from the side of who started it: hears it, stops it, and ends all that it left."""

from __future__ import annotations

import fcntl
import os
import pickle
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from suite.doctor import Finding
from suite.errors import Exit, SuiteError
from suite.events import Event
from suite.launch import LaunchOptions
from suite.provenance import code

POLL = 0.2  # seconds between looks at what the user wants
PATIENCE = 60.0  # seconds for Ray to start, or for a cluster to answer
LEAVING = 15.0  # seconds for the driver to end by itself


@dataclass(frozen=True)
class Ended:
    """The driver's last word: whether it was stopped before all was done, or what was in the way."""

    stopped: bool = False
    error: str = ""
    code: int = int(Exit.DONE)
    lost: bool = False  # it had begun, and died or lost its cluster: it may be tried again


Message = Event | Finding | Ended  # what the process that holds Ray tells


class Driver:
    """The process that holds Ray. It ends when this process does, however that comes about."""

    def __init__(
        self, specs: Sequence[Any], options: LaunchOptions, folder: Path, program: str = "suite.lanes.driver"
    ) -> None:
        self._address, self._log = options.address, folder / "driver.log"
        self._session = tempfile.mkdtemp(prefix="ray-", dir=os.environ.get("RAY_TMPDIR", "/tmp"))  # sockets: be short
        (folder / "session").unlink(missing_ok=True)  # of one that was lost
        (folder / "session").symlink_to(self._session)  # so that it is found should this process be killed
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._deadline: float | None = time.monotonic() + PATIENCE
        with (folder / "job").open("wb") as file:
            pickle.dump((list(specs), options, code(), folder, self._session), file)
        read, write = os.pipe()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from {program} import main; main()", str(folder / "job"), str(write)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[write],
                start_new_session=True,  # Ctrl-C is for this process
                env=_environment(options),
            )
        os.close(write)
        threading.Thread(target=self._read, args=(read,), daemon=True).start()

    def __enter__(self) -> Driver:
        """Nothing to do: the process runs."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Let the process end unless there is a reason to hurry, and end what is left of what it started."""
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            if exception[0] is None:
                self.process.wait(LEAVING)
        self.kill()
        self.process.wait()
        self.process.stdin.close()  # type: ignore[union-attr]
        shutil.rmtree(self._session, ignore_errors=True)

    def kill(self) -> None:
        """End the process, if it has not ended, and what is left of what it started."""
        end_session(self.process.pid)
        self.process.kill()

    def hear(self) -> Message | None:
        """Return the next thing that the driver says, None when it says nothing for a moment."""
        try:
            message = self._inbox.get(timeout=POLL)
        except Empty:
            if self._deadline is None or time.monotonic() < self._deadline:
                return None
            message = Ended(error=f"nothing heard for {PATIENCE:g} seconds", code=int(Exit.ENVIRONMENT))
        if isinstance(message, Ended) and message.error and self._deadline is not None:
            return self._unreachable(message)
        self._deadline = None
        return message

    def _unreachable(self, ended: Ended) -> Ended:
        """Say what it means that the driver ended, or said nothing, before it had a Ray."""
        what = f"no Ray cluster answers at {self._address}" if self._address else "Ray did not start"
        hint = "--address none works without Ray"
        if b"InvalidAuthToken" in self._log.read_bytes():
            hint = "it wants a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN if it is not in ~/.ray/auth_token"
        return Ended(error=f"{what}: {ended.error.rstrip('.')}; {hint}", code=ended.code)

    def stop(self) -> None:
        """Tell the driver to have the lanes stop."""
        with suppress(OSError):  # it has ended
            os.write(self.process.stdin.fileno(), b".")  # type: ignore[union-attr]

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as pipe:
            try:
                while True:
                    self._inbox.put(pickle.load(pipe))
            except (EOFError, pickle.UnpicklingError):
                words = f"the process that held Ray ended; the same command goes on (its last words: {self._log})"
                self._inbox.put(Ended(error=words, code=int(Exit.ENVIRONMENT), lost=True))


def end_session(session: int) -> None:
    """Kill every process of a session but this one, until none is left: Ray's own would live on for some seconds."""
    deadline = time.monotonic() + LEAVING
    alive = True
    while alive and time.monotonic() < deadline:
        alive = False
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                pid = int(entry.name)
                if pid != os.getpid() and os.getsid(pid) == session and ") Z " not in (entry / "stat").read_text():
                    os.kill(pid, signal.SIGKILL)
                    alive = True
        time.sleep(0.05 * alive)


def _environment(options: LaunchOptions) -> dict[str, str]:
    """Return the driver's environment, which Ray hands on to its processes; what the user has set stays."""
    defaults = {
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a dead worker is noticed within it
        "RAY_TRAIN_METRICS_ENABLED": "0",
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",  # busy cores, and lanes that wait for a place
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    if options.address is None:  # ours alone: nobody else's token, and no node that might be taken away
        defaults |= {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}
    path = os.pathsep.join(place or os.getcwd() for place in sys.path)
    return defaults | os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(options.cpus_per_run)}


def answers(address: str | None) -> None:
    """Raise SuiteError where nothing listens: Ray would try for minutes."""
    host, _, port = (address or "").rpartition("/")[2].rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise SuiteError(
                f"no Ray cluster answers at {address}: {error}; --address none works without Ray", Exit.ENVIRONMENT
            ) from error


@contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """Make a folder of our own under `parent` and remove it, `parent` too when it is empty, unless an error escapes.

    Folders of processes that were killed are removed with the next one.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for other in parent.iterdir():
        with suppress(OSError), (other / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(os.path.realpath(other / "session"), ignore_errors=True)
            shutil.rmtree(other, ignore_errors=True)
    own = parent / uuid.uuid4().hex[:8]
    own.mkdir()
    with (own / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield own
    shutil.rmtree(own, ignore_errors=True)
    with suppress(OSError):
        parent.rmdir()
