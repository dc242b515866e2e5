"""Checkpoint files: whole or absent, never half; only tensors and plain values inside."""

from __future__ import annotations

import copy
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` beside `path`, flush it to the disk and rename it into place.

    Its folder is made, but none above: a results root that is out of reach must not be made anew somewhere else.
    """
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    with beside.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def load(path: Path) -> dict[str, Any] | None:
    """Return what `path` holds, on the CPU, or None when it is missing or unreadable.

    An unreadable file is removed: training is a function of addressed seeds, so doing the work again gives the
    same weights, and only time is lost.
    """
    if not path.exists():
        return None
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises many kinds for damaged archives
        path.unlink(missing_ok=True)
        return None
    return saved


class Writer:
    """Saves in a thread, one file at a time and in order, while training goes on; what went wrong is raised later."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def save(self, path: Path, state: dict[str, Any]) -> None:
        """Begin to write `state` as it is now; raises what the write before it raised."""
        self.wait()
        taken = snapshot(state)
        self._pending = self._thread.submit(lambda: save(path, taken))

    def wait(self) -> None:
        """Return when everything is written; raises what the last write raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait and end the thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()


def snapshot(value: Any) -> Any:
    """Return a copy, on the CPU, of nested dictionaries and lists with tensors and plain values."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {name: snapshot(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(snapshot(item) for item in value)
    return copy.deepcopy(value)
