"""What runs in a lane's Ray Train worker, and in the controller that watches over it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.train import UserCallback

from suite import logs
from suite.errors import Exit, SuiteError
from suite.events import Event, ready
from suite.lanes.ranks import follow, leading, lost, ranks_of
from suite.launch import LaunchOptions
from suite.ledger import process
from suite.line import Line, serve
from suite.patience import Patience
from suite.provenance import now
from suite.queue import Claim
from suite.record import Failure
from suite.slots import Slot
from suite.spec import RunSpec
from suite.store import Store

Work = Callable[..., Event]  # of what suite.attempt.attempt takes


@dataclass(frozen=True)
class Job:
    """What every lane is told."""

    queue: str  # name of the queue actor
    specs: dict[str, RunSpec]
    options: LaunchOptions
    code: Mapping[str, Any]
    work: Work
    folder: Path | None = None  # of this launch, under the root: a node that does not see it has another root
    workers: int = 1  # of each lane


def attempt(*arguments: Any) -> Event:
    """Work on a run as `suite.attempt.attempt` does; what that needs is imported in the lane, not in the driver."""
    from suite import attempt as module

    return module.attempt(*arguments)


def lane(config: dict[str, Any]) -> None:
    """Work on runs until the queue has none left; `config` holds the job, the lane's name and its slot."""
    job: Job = config["job"]
    name: str = config["lane"]
    place: Slot = config["slot"]
    options = replace(job.options, gpus_per_run=place.gpus)
    ranks = ranks_of(job)
    if ranks is not None and not ranks.leads:
        return follow(job, ranks)
    several = () if ranks is None else (ranks,)
    queue = ray.get_actor(job.queue)
    with Line(name, lambda method, *arguments: ray.get(getattr(queue, method).remote(*arguments))) as line:
        try:
            store = _opened(job, line)
            told = ready(name, bool(place.gpus))
            told.fields["process"] = {**process(), "node": ray.get_runtime_context().get_node_id()}
            line.tell(told)

            def work(claim: Claim) -> Event:
                spec = job.specs[str(claim.key)]
                if claim.lost:
                    return _lost(spec, claim, store, place.size)
                with logs.captured(logs.path(store.root, spec.key)):
                    return job.work(spec, store, options, line.tell, line.should_stop, job.code, *several)

            with leading(ranks) as pause:
                serve(line, name, work, pause, size=place.size)
        except Exception as error:  # not a run's but this lane's; raised, Ray Train would start it again for ever
            if ranks is not None and lost(error):
                raise
            reason, number = str(error) or repr(error), getattr(error, "code", Exit.BUG)
            line.tell(Event("lane", "", {"lane": name, "state": "broken", "reason": reason, "code": int(number)}))


def _opened(job: Job, line: Line) -> Store:
    """Return the store once it is in reach; raises SuiteError where another folder stands at its place."""
    store = Store(job.options.root)
    patience = Patience(store, job.options, line.tell, line.should_stop)
    while (gone := store.away()) and not line.should_stop():
        patience.outwait(SuiteError(gone, Exit.ENVIRONMENT))
    if job.folder is not None and not job.folder.is_dir():
        text = f"node {socket.gethostname()} sees another {store.root}; --root must be a folder that all nodes share"
        raise SuiteError(text, Exit.ENVIRONMENT)
    return store


def _lost(spec: RunSpec, claim: Claim, store: Store, size: int) -> Event:
    """Give a run up whose process died too often; the log tells what it said last."""
    log = logs.path(store.root, spec.key)
    words = logs.last_words(log)
    reason = f"{claim.lost}; its log ends: {words}" if words else claim.lost
    failure = Failure(spec.key, spec.label, claim.kind, reason, str(log), logs.tail(log), socket.gethostname(), now())
    failure = replace(failure, size=size)
    store.fail(failure)
    logs.keep(store.root, spec.key)
    return Event("failed", spec.key, asdict(failure))


class Obituary(UserCallback):
    """Tells the queue why a lane's process died; Ray Train calls it in the lane's controller."""

    def __init__(self, queue: str, lane: str) -> None:
        self._queue, self._lane = queue, lane

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Tell of the one worker's death, in one line."""
        error = next(iter(worker_exceptions.values()))
        reason = cause(getattr(error, "health_check_failure", error))
        ray.get_actor(self._queue).died.remote(self._lane, reason)


def cause(error: BaseException) -> str:
    """Return what Ray knows of why a process died, or the last line of another error: at most 300 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    detail = " ".join(lines).partition("Worker exit detail: ")[2] or lines[-1]
    return detail.partition(" Some common causes")[0].strip()[:300]
