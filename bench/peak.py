"""Prints the peak memory of one case in MiB: of the GPU, or of this process and its workers.

Of a GPU's memory it is what torch had taken, and in brackets what tensors held of it; memory that a CUDA graph computes
in is taken, but no tensor's.
"""

from __future__ import annotations

import resource
import sys

import torch

from bench.cases import CASES, ours, usual
from bench.machine import device
from grace.training.engine import Engine
from suite.execute import exact

IMAGES = 512


def main() -> None:
    """Run a short piece of the case and print the peak."""
    kind, precision, case, backbone = sys.argv[1], sys.argv[2], CASES[int(sys.argv[3])], sys.argv[4]
    where = device()
    if kind == "ours":
        exact(torch.get_num_threads(), where, precision)
        ours(case, backbone, Engine(precision, "compiled"), where, IMAGES, epochs=1)  # type: ignore[arg-type]
    else:
        usual(case, backbone, where, IMAGES, epochs=1)
    if where.type == "cuda":
        print(f"{torch.cuda.max_memory_reserved() / 2**20:.0f} ({torch.cuda.max_memory_allocated() / 2**20:.0f})")
    else:
        used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        print(round(used[0] / 1024 + (2 * used[1] / 1024 if kind == "usual" else 0)))


if __name__ == "__main__":
    main()
