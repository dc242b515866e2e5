"""A pair of processes that are the ranks of data-parallel runs, and what they are asked to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp

from grace.training.parallel import Ranks, joined


class Failed:
    """What a rank's work raised."""

    def __init__(self, error: BaseException) -> None:
        self.kind, self.text = type(error).__name__, str(error)


class Pair:
    """Two processes in a group, a gloo one unless told otherwise; each call is made on both."""

    def __init__(self, folder: Path, backend: str = "gloo") -> None:
        context = mp.get_context("spawn")
        self._pipes, self.processes = [], []
        for rank in range(2):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(rank, backend, f"file://{folder / 'group'}", theirs), daemon=True
            )
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self.processes.append(process)

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Return what function(ranks, *arguments) returns on each rank, or what it raised."""
        for pipe in self._pipes:
            pipe.send((function, arguments))
        return [self._answer(rank) for rank in range(2)]

    def _answer(self, rank: int) -> Any:
        try:
            return self._pipes[rank].recv() if self._pipes[rank].poll(120) else Failed(TimeoutError("says nothing"))
        except EOFError as error:
            return Failed(error)

    def close(self) -> None:
        """End both."""
        for process in self.processes:
            process.kill()
            process.join()


def _serve(rank: int, backend: str, place: str, pipe: Any) -> None:
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # a rank that loses the other complains at length
    torch.set_num_threads(1)
    if torch.cuda.is_available():
        torch.cuda.set_device(rank % torch.cuda.device_count())
    torch.use_deterministic_algorithms(True)
    torch.distributed.init_process_group(backend, init_method=place, rank=rank, world_size=2)
    ranks: Ranks = joined()
    while True:
        function, arguments = pipe.recv()
        try:
            pipe.send(function(ranks, *arguments))
        except BaseException as error:
            pipe.send(Failed(error))
