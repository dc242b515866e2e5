"""The process that holds Ray: starts or joins a cluster, keeps lanes at work and passes on what they tell."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from grace.storage.folders import Folder
from suite.errors import Exit, SuiteError
from suite.events import Event
from suite.lanes.fleet import Fleet
from suite.lanes.lane import Job, attempt, cause
from suite.lanes.nodes import Nodes, on
from suite.lanes.process import POLL, Ended, Message, end_session
from suite.lanes.ranks import workers_of
from suite.launch import LaunchOptions, Observe
from suite.queue import Queue, State
from suite.slots import Slot, places

OBJECTS = 128 * 2**20  # bytes of our own Ray's object store; nothing large goes through it
ANSWER = 60.0  # seconds for the queue to answer
ENDING = 10.0  # seconds for lanes without work to end by themselves


Tell = Callable[[Message], None]
Task = Callable[[Sequence[Any], LaunchOptions, Mapping[str, Any], Path, Tell, Callable[[], bool]], Ended]


def main(task: Task | None = None) -> None:
    """Be the process that holds Ray: told of the task by a file, telling of events by a pipe."""
    with open(sys.argv[1], "rb") as file:
        specs, options, code, folder, session = pickle.load(file)
    asked = threading.Event()
    threading.Thread(target=_listen, args=(asked, session), daemon=True).start()
    pipe = os.fdopen(int(sys.argv[2]), "wb")

    one = threading.Lock()  # nodes that come are told of by threads of their own

    def tell(message: Message) -> None:
        with one:
            pickle.dump(message, pipe)
            pipe.flush()

    try:
        join(options, session)
        # who started us is told too, and tells us: `ray job stop` signals all processes of a job
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        tell(Event("lane", "", {"state": "connected"}))
        tell((task or work)(specs, options, code, folder, tell, asked.is_set))
    except SuiteError as error:
        tell(Ended(error=str(error), code=int(error.code)))
    except ConnectionError as error:
        tell(Ended(error=str(error), code=int(Exit.ENVIRONMENT), lost=True))
        os._exit(1)  # Ray would try to reach it for minutes; who started us ends what we started
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        tell(Ended(error=reason, code=int(Exit.ENVIRONMENT)))
        raise
    ray.shutdown()


def work(
    specs: Sequence[Any],
    options: LaunchOptions,
    code: Mapping[str, Any],
    folder: Path,
    tell: Tell,
    asked: Callable[[], bool],
) -> Ended:
    """Work on the runs in as many lanes as fit; raises SuiteError."""
    nodes = Nodes(None if options.address is None else options.root, folder, lambda text: tell(noted(text)))
    nodes.begin()
    workers = workers_of(specs)
    options, kinds = measure(options, nodes, workers)
    name, runs = f"{folder.name}-{os.getpid()}", {spec.key: spec for spec in specs}
    job = Job(name, runs, options, code, attempt, folder if isinstance(options.root, Path) else None, workers)
    return Ended(stopped=drive(job, kinds, nodes, folder, tell, asked))


def _listen(asked: threading.Event, session: str) -> None:
    """Wait for the wish to stop; end at once, and with us all that we started, when who started us has ended."""
    while os.read(0, 1):
        asked.set()
    end_session(os.getpid())
    shutil.rmtree(session, ignore_errors=True)
    os._exit(1)


def join(options: LaunchOptions, session: str) -> None:
    """Start a Ray of our own with its files under `session`, or attach to the cluster at the address."""
    quiet: dict[str, Any] = {"log_to_driver": options.verbose, "logging_level": "ERROR", "configure_logging": False}
    if options.address is None:
        ray.init("local", include_dashboard=False, object_store_memory=OBJECTS, _temp_dir=session, **quiet)
        return
    top = Path(__file__).parents[2]
    shipped = {  # the cluster runs the code that we run
        "py_modules": [str(top / name) for name in ("grace", "protocols", "suite")],
        "excludes": ["**/__pycache__"],
        "env_vars": {"OMP_NUM_THREADS": str(options.cpus_per_run), **_reach(options.root)},
    }
    os.chdir(session)  # an empty folder: nodes take in code from where this process is before what is sent to them
    ray.init(options.address, runtime_env=shipped, **quiet)


def _reach(root: Folder) -> dict[str, str]:
    """Return what of our environment says how an object store is reached: workers need it, too."""
    wanted = ("AWS_", "GOOGLE_APPLICATION_CREDENTIALS")
    return {} if isinstance(root, Path) else {k: v for k, v in os.environ.items() if k.startswith(wanted)}


def noted(text: str) -> Event:
    """Return the event that says something to the user."""
    return Event("lane", "", {"state": "noted", "reason": text})


def measure(options: LaunchOptions, nodes: Nodes, workers: int = 1) -> tuple[LaunchOptions, list[Slot]]:
    """Return the options with a number of GPUs for each run and sizes that there are, and the kinds of lanes."""
    gpus = options.gpus_per_run
    gpus = float(any(node.get("GPU") for node in nodes.resources)) if gpus is None else gpus
    kinds, sizes = places(nodes.resources, options.cpus_per_run, gpus, options.sizes, options.mixed, workers)
    return replace(options, gpus_per_run=gpus, sizes=sizes), kinds


def _looked(queue: Any, address: str | None) -> State:
    """Return the state of the queue; raises ConnectionError when the cluster does not answer."""
    try:
        state: State = ray.get(queue.look.remote(), timeout=ANSWER)
    except ray.exceptions.RayError as error:
        where = f"the Ray cluster at {address}" if address else "Ray"
        raise ConnectionError(f"{where} has gone: {cause(error)}; the same command goes on") from error
    return state


def drive(
    job: Job, kinds: list[Slot], nodes: Nodes, folder: Path, observe: Observe, should_stop: Callable[[], bool]
) -> bool:
    """Keep lanes at work and pass on their events until no run is left or the lanes have stopped; return whether they
    were stopped with runs left. Raises SuiteError when no lane can work.
    """
    actor: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Queue)
    here = on(ray.get_runtime_context().get_node_id())  # where this process is: they end together
    queue = actor.options(name=job.queue, scheduling_strategy=here).remote(
        list(job.specs), sizes=job.options.sizes, stall=60 * job.options.stall_minutes or float("inf")
    )
    fleet, asked = Fleet(job, kinds, nodes, folder, queue, observe), False
    observe(Event("lane", "", {"state": "starting", "lanes": fleet.planned(len(job.specs))}))
    while True:
        state = _looked(queue, job.options.address)
        for event in state.events:
            fleet.hear(event)
            observe(event)
        if not state.left or (asked and not (state.holders and fleet.alive)):
            break
        asked = asked or should_stop()
        if asked:
            queue.stop.remote()
        else:
            fleet.adjust(state)
            for name in state.hung:
                fleet.end(name)
        time.sleep(POLL)
    fleet.close(ENDING * (not asked))
    ray.kill(queue)
    return bool(state.left)
