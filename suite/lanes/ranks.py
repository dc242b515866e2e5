"""A lane of several workers, the ranks of data-parallel runs: rank 0 is the lane, the others do what it takes up.

Ray Train makes the process group. Rank 0 alone talks to the queue; what it begins it tells the others. Where one rank
fails and the others do not, all are started again, and go on from rank 0's checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from suite.errors import Exit, SuiteError

if TYPE_CHECKING:
    from grace.training.parallel import Ranks
    from suite.lanes.lane import Job
    from suite.spec import RunSpec

PATIENCE = 7200  # seconds for what ranks do one without the others: reading images, waiting for a disk


def workers_of(specs: Sequence[RunSpec]) -> int:
    """Return how many workers each run wants; raises SuiteError unless it is one number."""
    found = sorted({spec.workers for spec in specs} or {1})
    if len(found) > 1:
        raise SuiteError(f"runs of {' and '.join(map(str, found))} workers are two sweeps", Exit.USAGE)
    return found[0]


def group(workers: int, gpus: bool) -> dict[str, Any]:
    """Return what a trainer is told in addition, so that its workers form a process group."""
    if workers == 1:
        return {}
    from ray.train.torch import TorchConfig

    return {"backend_config": TorchConfig("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout_s=PATIENCE)}


def ranks_of(job: Job) -> Ranks | None:
    """Return the ranks of this worker's lane; None where it is one of one worker."""
    if job.workers == 1:
        return None
    from grace.training.parallel import joined

    return joined()


@contextmanager
def leading(ranks: Ranks | None) -> Iterator[Callable[[float], object]]:
    """Yield the pause between looks at the queue; in the end let the other ranks go, unless they are lost anyway."""
    if ranks is None:
        yield time.sleep
        return

    def pause(seconds: float) -> None:
        time.sleep(seconds)
        ranks.decided(lambda: "")  # so that the others do not lose patience

    try:
        yield pause
    except Exception as error:
        if not lost(error):
            ranks.decided(lambda: None)
        raise
    ranks.decided(lambda: None)


def follow(job: Job, ranks: Ranks) -> None:
    """Do as rank 0 does until it has no more runs; how they end is for rank 0 to tell."""
    from suite.execute import device_for, execute
    from suite.plugins import adopt
    from suite.store import Store

    options = job.options
    store, device = Store(options.root), device_for(options.gpus_per_run)
    key: str | None = ""
    while key is not None:
        key = ranks.decided(lambda: None)
        if not key:
            continue
        try:
            with ranks.meeting():
                for plugin in options.plugins:
                    adopt(plugin)
                execute(
                    job.specs[key],
                    store.work(key),
                    data=options.data,
                    download=options.download,
                    threads=options.cpus_per_run,
                    device=device,
                    engine=options.engine,
                    checkpoint_seconds=options.checkpoint_seconds,
                    observe=lambda progress: False,
                    origin={},
                    ranks=ranks,
                )
        except Exception as error:
            if lost(error):
                raise
        if device.type == "cuda":
            import torch

            torch.cuda.empty_cache()


def lost(error: BaseException) -> bool:
    """Whether the ranks must be started again."""
    from grace.training.parallel import RankLost

    return isinstance(error, RankLost)
