"""TensorBoard: event files under `tracking/<sweep>/<key>/` of the results root."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tensorboardX import SummaryWriter

from suite.spec import RunSpec
from suite.trackers import Axis, Place, settings

FLUSH = 10  # seconds


class TensorBoard:
    """Tags are `task/accuracy`, `classes/accuracy`, `epoch/<phase>/<loss>`: the axis is what a step counts."""

    def __init__(self, place: Place) -> None:
        self._folder = place.folder
        self._writers: dict[str, SummaryWriter] = {}

    def begin(self, spec: RunSpec) -> None:
        """Open a file; those of earlier launches stay beside it."""
        own = f".{os.urandom(4).hex()}"  # the package's own names differ by the second
        folder = str(self._folder / spec.key)
        writer = self._writers[spec.key] = SummaryWriter(logdir=folder, flush_secs=FLUSH, filename_suffix=own)
        rows = "\n".join(f"    {name} = {value}" for name, value in settings(spec).items())
        writer.add_text("run", f"{spec.label}\n\n{rows}")

    def log(self, key: str, axis: Axis, step: int, values: Mapping[str, float], time: float) -> None:
        """Write scalars."""
        for name, value in values.items():
            self._writers[key].add_scalar(f"{axis}/{name}", value, step, walltime=time)

    def end(self, key: str, state: str) -> None:
        """Close the file."""
        self._writers.pop(key).close()


open_tracker = TensorBoard
