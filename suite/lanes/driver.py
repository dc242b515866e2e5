"""The process that holds Ray: starts or joins a cluster, launches the lanes and passes on what they tell.

A lane is a one-worker trainer of Ray Train, launched by `fit` in a thread. Ray Train restarts a worker that dies; the
queue gives it back the run it had.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from suite.errors import Exit, SuiteError
from suite.events import Event
from suite.lanes import POLL, Ended, end_session
from suite.lanes.lane import Job, Obituary, attempt, cause, lane
from suite.launch import LaunchOptions, Observe, lanes_that_fit
from suite.queue import Queue, State

LANE_BYTES = 1.5e9  # memory of a lane's processes; each imports torch
OBJECTS = 128 * 2**20  # bytes of our own Ray's object store; nothing large goes through it
RELAUNCHES = 3  # of a lane whose controller died
ENDING = 10.0  # seconds for lanes without work to end by themselves
IMPORTING = 180.0  # seconds for a node to take in our code


def main() -> None:
    """Be the driver that `suite.lanes.launch` starts."""
    hold(_lanes)


@dataclass(frozen=True)
class Order:
    """What a driver is to do: its work, with whom, where, and how many things at a time."""

    work: Any
    options: LaunchOptions
    code: Mapping[str, Any]
    folder: Path
    count: int
    observe: Observe
    should_stop: Callable[[], bool]


def hold(work: Callable[[Order], bool]) -> None:
    """Be a driver: told of the work by a file, telling of events by a pipe, with Ray in between.

    `work` returns whether it was stopped early.
    """
    with open(sys.argv[1], "rb") as file:
        given, options, code, folder, session = pickle.load(file)
    asked = threading.Event()
    threading.Thread(target=_listen, args=(asked, session), daemon=True).start()
    pipe = os.fdopen(int(sys.argv[2]), "wb")

    def tell(message: Event | Ended) -> None:
        pickle.dump(message, pipe)
        pipe.flush()

    try:
        join(options, session)
        tell(Event("lane", "", {"state": "connected"}))
        options, count = size(options, folder)
        tell(Ended(stopped=work(Order(given, options, code, folder, count, tell, asked.is_set))))
    except SuiteError as error:
        tell(Ended(error=str(error), code=int(error.code)))
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        tell(Ended(error=reason, code=int(Exit.ENVIRONMENT)))
        raise
    ray.shutdown()


def _lanes(order: Order) -> bool:
    job = Job(order.folder.name, {spec.key: spec for spec in order.work}, order.options, order.code, attempt)
    return drive(job, min(order.count, len(job.specs)), order.folder, order.observe, order.should_stop)


def _listen(asked: threading.Event, session: str) -> None:
    """Wait for the wish to stop; end at once, and with us all that we started, when who started us has ended."""
    while os.read(0, 1):
        asked.set()
    end_session(os.getpid())
    shutil.rmtree(session, ignore_errors=True)
    os._exit(1)


def join(options: LaunchOptions, session: str) -> None:
    """Start a Ray of our own with its files under `session`, or attach to the cluster at the address."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if options.address is None:
        ray.init("local", include_dashboard=False, object_store_memory=OBJECTS, _temp_dir=session, **quiet)
        return
    top = Path(__file__).parents[2]
    shipped = {  # the cluster runs the code that we run
        "py_modules": [str(top / name) for name in ("grace", "protocols", "suite")],
        "excludes": ["**/__pycache__"],
        "env_vars": {"OMP_NUM_THREADS": str(options.cpus_per_run)},
    }
    ray.init(options.address, runtime_env=shipped, **quiet)


def size(options: LaunchOptions, folder: Path) -> tuple[LaunchOptions, int]:
    """Return the options with a number of GPUs for each run, and how many lanes there may be; raises SuiteError."""
    nodes: list[dict[str, Any]] = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    gpus = options.gpus_per_run
    gpus = float(any(node["Resources"].get("GPU") for node in nodes)) if gpus is None else gpus
    count = lanes_that_fit([node["Resources"] for node in nodes], options.cpus_per_run, gpus, LANE_BYTES)
    if options.address is not None:
        probe([node for node in nodes if node["Resources"].get("CPU")], folder)
    return replace(options, gpus_per_run=gpus), min(count, options.max_concurrent or count)


@ray.remote(num_cpus=0)
def _sees(folder: str) -> bool:
    import suite.execute  # noqa: F401

    return Path(folder).is_dir()


def probe(nodes: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Check that every node takes in our code and sees the root; raises SuiteError naming the node that does not."""
    asked = {
        node["NodeManagerAddress"]: _sees.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(str(folder))
        for node in nodes
    }
    for name, answer in asked.items():
        try:
            seen = ray.get(answer, timeout=IMPORTING)
        except Exception as error:
            raise SuiteError(f"node {name} cannot run the suite: {cause(error)}", Exit.ENVIRONMENT) from error
        if not seen:
            root = folder.parents[1]
            raise SuiteError(
                f"node {name} does not see {root}; --root must be a folder that all nodes share", Exit.ENVIRONMENT
            )


def drive(job: Job, count: int, folder: Path, observe: Observe, should_stop: Callable[[], bool]) -> bool:
    """Launch the lanes and pass on their events until no run is left or the lanes have stopped; return whether they
    were stopped with runs left. Raises SuiteError when no lane can work.
    """
    actor: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Queue)
    queue = actor.options(name=job.queue).remote(list(job.specs))
    broken: dict[str, Any] = {}
    over, asked = threading.Event(), False
    threads = [
        threading.Thread(target=_fit, args=(job, f"lane{i}", folder, queue, over), daemon=True) for i in range(count)
    ]
    observe(Event("lane", "", {"state": "starting", "lanes": count}))
    for thread in threads:
        thread.start()
    while True:
        alive = any(thread.is_alive() for thread in threads)  # asked first: then no event is missed
        state: State = ray.get(queue.look.remote())
        for event in state.events:
            broken = event.fields if "reason" in event.fields and event.kind == "lane" else broken
            observe(event)
        if not state.left or not alive or (asked and not state.held):
            break
        asked = asked or should_stop()
        if asked:
            queue.stop.remote()
        time.sleep(POLL)
    over.set()
    if state.left and not asked:
        reason = broken.get("reason", "no lane could be started")
        raise SuiteError(f"{reason} (Ray's messages: {folder})", Exit(broken.get("code", Exit.ENVIRONMENT)))
    deadline = time.monotonic() + ENDING * (not asked)
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    ray.kill(queue)
    return bool(state.left)


def _fit(job: Job, name: str, folder: Path, queue: Any, over: threading.Event) -> None:
    """Be one lane, from the driver's side, and launch it again when its controller dies."""
    options = job.options
    resources = {"CPU": float(options.cpus_per_run)} | ({"GPU": options.gpus_per_run} if options.gpus_per_run else {})
    callbacks: list[Any] = [Obituary(job.queue, name)]
    for _ in range(RELAUNCHES):
        try:
            # not TorchTrainer: for lanes of one worker it adds a process group, and imports of torch here and there
            DataParallelTrainer(
                lane,
                train_loop_config={"job": job, "lane": name},
                scaling_config=ScalingConfig(
                    num_workers=1, use_gpu=bool(options.gpus_per_run), resources_per_worker=resources
                ),
                run_config=RunConfig(
                    name=name,
                    storage_path=str(folder),
                    failure_config=FailureConfig(max_failures=-1),  # the queue counts, per run
                    callbacks=callbacks,
                ),
            ).fit()
            return
        except Exception as error:
            if over.is_set():
                return
            reason = cause(error)
            lost: dict[str, Any] = {"lane": name, "state": "lost", "reason": reason}
            if not ray.get(queue.died.remote(name, reason)):  # it cannot even start: so it would be the next time
                lost |= {"state": "broken", "code": int(Exit.ENVIRONMENT)}
            queue.report.remote(name, "", [Event("lane", "", lost)])
            if lost["state"] == "broken":
                return
