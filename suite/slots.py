"""What one lane takes of a node, and how many of them the nodes of a cluster hold. Imports neither torch nor ray."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

LANE_BYTES = 1.5e9  # memory of a lane's processes; each imports torch
WHOLE = 1 - 1e-6  # a share of a GPU from which it is the whole one

Resources = Mapping[str, float]  # Ray's, of one node: CPU, GPU and memory


@dataclass(frozen=True)
class Slot:
    """A place for a lane. One that is larger than usual is for runs that were out of memory in a smaller one."""

    size: int = 1  # in places of the usual size
    cpus: int = 1  # that are kept free for it; how many threads a run has is another matter
    gpus: float = 0.0
    bare: bool = False  # only on nodes without GPUs
    workers: int = 1  # each of which takes this much, on whatever node

    def __str__(self) -> str:
        """Say it as a user would."""
        each = f"{self.cpus} CPUs and {self.gpus:g} GPUs"
        return each if self.workers == 1 else f"{self.workers} times {each}"


def slot(size: int, cpus: int, gpus: float, workers: int = 1) -> Slot:
    """Return the place of a size where a usual one is `cpus` and `gpus`: a larger share of a GPU, up to a whole one.

    Without GPUs the place of several cores is kept free, so that fewer runs share the memory.
    """
    if gpus:
        return Slot(size, cpus, min(1.0, gpus * size), workers=workers)
    return Slot(size, cpus * size, workers=workers)


def room(nodes: Iterable[Resources], place: Slot) -> int:
    """Return how many lanes of one kind the nodes hold. Lanes that share a GPU share it whole: two of 0.4 fit."""
    count = 0
    for node in nodes:
        if place.bare and node.get("GPU"):
            continue
        fits = node.get("CPU", 0.0) // place.cpus
        if place.gpus:
            fits = min(fits, int(node.get("GPU", 0.0)) * int(1 / place.gpus + 1e-6))
        # a lane that computes fits may be short of memory all the same; one lane is always tried
        count += int(min(fits, max(1.0, node.get("memory", LANE_BYTES) // LANE_BYTES)))
    return count // place.workers


def places(
    nodes: Sequence[Resources], cpus: int, gpus: float, sizes: Mapping[str, int], mixed: bool, workers: int = 1
) -> tuple[list[Slot], dict[str, int]]:
    """Return the kinds of lanes, usual ones first, and the sizes that runs can have: no larger than any node holds."""
    usual = slot(1, cpus, gpus, workers)
    largest = max((size for size in {*sizes.values(), 1} if room(nodes, slot(size, cpus, gpus, workers))), default=1)
    capped = {key: min(size, largest) for key, size in sizes.items()}
    kinds = [usual, *(slot(size, cpus, gpus, workers) for size in sorted({*capped.values()} - {1}))]
    if mixed and gpus:
        kinds.append(Slot(cpus=cpus, bare=True, workers=workers))
    return kinds, capped


def lacking(nodes: Sequence[Resources], place: Slot) -> str:
    """Say in one line that no node holds a lane, and what the largest one has."""
    most = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in ("CPU", "GPU")}
    return (
        f"a run wants {place}; the largest node has {most['CPU']:g} CPUs and {most['GPU']:g} GPUs; "
        f"lower {'--workers, ' if place.workers > 1 else ''}--cpus-per-run or --gpus-per-run"
    )
