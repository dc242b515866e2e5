"""A sweep left to a process in the background, which outlives the terminal: `run --detach`, `resume --detach`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

from grace.storage.folders import Folder
from suite.cli.launching import carry_out
from suite.cli.readying import images, ready
from suite.cli.settings import Settings
from suite.cli.words import command, program
from suite.errors import Exit, SuiteError
from suite.ledger import told
from suite.provenance import now
from suite.sweep import Sweep, sweep_name
from suite.watching import Watcher

BEGINNING = 120.0  # seconds for the first run to begin; a cluster may have to add nodes first
PACE = 0.2  # seconds between looks
HERE_ONLY = ("--detach", "--json", "--quiet", "-q")  # not for the process in the background, which has a log
PROGRAM = """
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
sys.argv = sys.argv[1:]
from suite.cli.main import main
sys.exit(main())
"""


def leave(settings: Settings, sweep: Sweep, retry: Collection[str] | None = None) -> Exit:
    """Check everything, leave the sweep to a process of its own, and return when its first run has begun.

    The same command runs there, without --detach. Raises SuiteError and DataError for what is in the way, also for
    what only that process finds.
    """
    sweep, found, options = ready(settings, sweep)
    if not found.left:
        return carry_out(settings, sweep, retry)
    images(settings, (run.spec.protocol.dataset for run in found.left), options)
    name = sweep_name(sweep)
    view = Watcher(settings.root, name).look()
    if not view.over:
        settings.warn(f"{view.process} works on sweep {name} already; this is one more, they share the runs")
    log = options.scratch.parent / "live" / name / "detached.log"
    begins = _opened(log, settings)
    with log.open("ab") as file:
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-c",
                PROGRAM,
                sys.argv[0],
                *(each for each in settings.argv if each not in HERE_ONLY),
            ],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # no terminal's signals get there
            env=os.environ | {"PYTHONPATH": os.pathsep.join(place or os.getcwd() for place in sys.path)},
        )
    try:
        begun = _begun(process, settings.root, name)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)  # nobody was told that it goes on
        raise
    if process.returncode is not None:
        return _over(settings, name, process.returncode, log, begins)
    _say(settings, name, process.pid, log, begun)
    return Exit.DONE


def _opened(log: Path, settings: Settings) -> int:
    """Make the log ready, and return how long it is: what the process says goes behind that."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{now()} {command(program(), *settings.argv)}\n")
            return file.tell()
    except OSError as error:
        raise SuiteError(f"{log} cannot be written: {error.strerror}", Exit.ENVIRONMENT) from error


def _begun(process: subprocess.Popen[bytes], root: Folder, name: str) -> bool:
    """Wait until a run of the process has begun, or the process has ended, but not for ever; tell whether one has."""
    deadline = time.monotonic() + BEGINNING
    while process.poll() is None and time.monotonic() < deadline:
        for each in told(root, name):
            ours = (each.process.get("pid"), each.process.get("host")) == (process.pid, socket.gethostname())
            if ours and (each.picture.running or each.picture.ended):
                return True
        time.sleep(PACE)
    return False


def _over(settings: Settings, name: str, code: int, log: Path, begins: int) -> Exit:
    """Pass on how the process ended, which it did before it was seen at work; raises SuiteError with its error."""
    with log.open("rb") as file:
        file.seek(begins)
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    known = code in set(Exit)
    if errors or not known:
        reason = errors[-1] if errors else f"the process in the background died (log: {log})"
        raise SuiteError(reason, Exit(code) if known else Exit.BUG)
    for line in lines:
        settings.note(line)
    if settings.json:
        settings.emit({"sweep": name, "pid": None, "host": socket.gethostname(), "log": str(log), "code": code})
    return Exit(code)


def _say(settings: Settings, name: str, pid: int, log: Path, begun: bool) -> None:
    """Say where the sweep goes on, and how to look at it and to stop it."""
    if settings.json:
        settings.emit({"sweep": name, "pid": pid, "host": socket.gethostname(), "log": str(log), "begun": begun})
        return
    places = [] if settings.root == Settings.root else ["--root", str(settings.root)]
    watch, stop = (command(program(), verb, name, *places) for verb in ("watch", "stop"))
    where = f"pid {pid} on {socket.gethostname()}"
    settings.note(f"sweep {name} goes on in the background ({where}); look: {watch}; stop: {stop}")
    if not begun:
        settings.note("no run has begun yet: the cluster may have no room now, or be adding nodes")
    settings.note(f"log: {log}")
