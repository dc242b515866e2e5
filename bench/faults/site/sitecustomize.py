"""Imported by every Python process of a world of faults before anything else: it tells of moments, and holds at traps.

A moment is a line in `trace` under the folder that GRACE_FAULTS names: when (CLOCK_MONOTONIC, the same for all
processes), process, moment, run, what. A file `traps/<moment>` or `traps/<moment>@<key>` holds the first process that
comes by: it is renamed to `held/<process>`, and who stands there goes on when that file is gone. A number in
`clock` is added to the time of day, one in `pace` is how many seconds an epoch takes longer. A process whose parent is
named in `barren` ends when it is to be a lane. The suite itself knows nothing of all this.
"""

import functools
import importlib.machinery
import os
import re
import sys
import time

FOLDER = os.environ.get("GRACE_FAULTS", "")
BEGUN = re.compile(r"/(work|records|predictions|failed)/([0-9a-f]{16})\b.*\.tmp-")
MOMENTS = {"work": "save", "records": "record", "predictions": "predictions", "failed": "failure"}
run = {"key": "-"}  # that this process works on


def tell(moment, what=""):
    """Note a moment, and stand still at it if there is a trap."""
    line = f"{time.monotonic():.6f} {os.getpid()} {moment} {run['key']} {what}".rstrip() + "\n"
    trace = os.open(f"{FOLDER}/trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(trace, line.encode())
    os.close(trace)
    for trap in (f"{moment}@{run['key']}", moment):
        held = f"{FOLDER}/held/{os.getpid()}"
        try:
            os.rename(f"{FOLDER}/traps/{trap}", held)
        except FileNotFoundError:
            continue
        while os.path.exists(held):
            time.sleep(0.005)


def around(function, before=None, after=None):
    """Return the function with something told of its arguments before and after it."""

    @functools.wraps(function)
    def told(*args, **kwargs):
        if before:
            before(*args, **kwargs)
        result = function(*args, **kwargs)
        if after:
            after(*args, **kwargs)
        return result

    return told


def begun(trainer, phase, optimiser, steps, number):
    """Tell that an epoch begins."""
    tell("epoch", f"{trainer.task.index} {phase.name} {number}")
    time.sleep(number_in("pace"))


def trained(trainer, phase, optimiser, steps, number):
    """Tell that an epoch has been trained."""
    tell("trained", f"{trainer.task.index} {phase.name} {number}")


def trainer(module):
    """Have epochs told of."""
    module.Trainer._epoch = around(module.Trainer._epoch, begun, trained)


def stream(module):
    """Have evaluations told of."""
    module.evaluate = around(module.evaluate, lambda readouts, task, trainer: tell("evaluation", task.index))


def execute(module):
    """Know which run it is; tell of a process that is ready for runs."""
    tell("start")

    def known(spec, *args, **kwargs):
        run["key"] = spec.key
        tell("run")

    module.execute = around(module.execute, known)


def lane(module):
    """End where no lane can start."""
    if os.path.exists(f"{FOLDER}/barren/{os.getppid()}"):
        os._exit(1)


CHANGED = {"grace.training.trainer": trainer, "grace.run": stream, "suite.execute": execute,
           "suite.lanes.lane": lane}  # fmt: skip


class Finder:
    """Finds the modules that tell, and has them changed when they are loaded."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Return the spec of such a module, as Python's own finder does."""
        if name not in CHANGED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None:
            spec.loader.exec_module = around(spec.loader.exec_module, after=CHANGED[name])
        return spec


def writing(descriptor):
    """Tell of a file that is written but not yet in its place."""
    begun = BEGUN.search(os.readlink(f"/proc/self/fd/{descriptor}")) if isinstance(descriptor, int) else None
    if begun:
        run["key"] = begun[2]
        tell(MOMENTS[begun[1]])


def number_in(name):
    """Return the number that a file of the world holds."""
    try:
        with open(f"{FOLDER}/{name}") as file:
            return float(file.read())
    except OSError:
        return 0.0


def shifted(clock, unit):
    """Return a clock that differs by what the file says."""
    return lambda: clock() + unit(number_in("clock"))


if FOLDER:
    os.fsync = around(os.fsync, writing)
    sys.meta_path.insert(0, Finder)
    real = time.gmtime
    time.time = shifted(time.time, float)
    time.time_ns = shifted(time.time_ns, lambda seconds: int(seconds * 1e9))
    time.gmtime = lambda seconds=None: real(time.time() if seconds is None else seconds)
