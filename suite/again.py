"""Which failed runs are tried again, and how much room those get that were out of memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import get_args, get_type_hints

from suite.launch import HERE
from suite.packing import on_each
from suite.plan import Planned
from suite.record import Failure

KINDS: tuple[str, ...] = get_args(get_type_hints(Failure)["kind"])


@dataclass(frozen=True)
class Again:
    """What to do about runs that failed before: try all of them again, or those whose failure is one of `kinds`.

    A run that was out of memory gets twice the room, as far as there is more. With kinds, which ask for just that, one
    that had a whole GPU stays as it is.
    """

    kinds: Collection[str] | None  # None for all
    gpus: float | None  # a run's share of a GPU; None for one where there are any
    address: str | None

    def takes(self, run: Planned) -> bool:
        """Tell whether to work on a run."""
        if run.failure is None or self.kinds is None:
            return True
        return run.failure.kind in self.kinds and not self.whole(run)

    def whole(self, run: Planned) -> bool:
        """Tell whether a run was out of memory that had a GPU to itself, so that there is no more for it."""
        failure = run.failure
        if failure is None or failure.kind != "oom" or self.gpus == 0:
            return False
        if self.gpus is None:  # whether it was on a GPU, its message tells
            return "CUDA" in failure.reason
        return failure.size >= on_each(self.gpus)

    def sizes(self, runs: Iterable[Planned]) -> dict[str, int]:
        """Return, by key, how many slots' room those runs get that were out of memory and can have more."""
        if self.address == HERE:  # one at a time: each has all there is
            return {}
        return {
            run.spec.key: 2 * run.failure.size
            for run in runs
            if run.failure is not None and run.failure.kind == "oom" and not self.whole(run)
        }
