"""Checkpoint files: whole or absent, never half; only tensors and plain values inside."""

from __future__ import annotations

import copy
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grace.storage.folders import Folder
from grace.storage.writing import place


def save(path: Folder, state: dict[str, Any]) -> None:
    """Write `state`: there as a whole or not at all. Raises FileNotFoundError where the folder above its own is gone.

    That is how a results root goes away; what is written to a new one in its place would be lost when it comes back.
    """
    path.parent.mkdir(exist_ok=True)
    place(path, lambda file: torch.save(state, file))


def load(path: Folder) -> dict[str, Any] | None:
    """Return what `path` holds, on the CPU, or None when it is missing or damaged; raises OSError when it is neither.

    That is so, too, where the folder above its own is gone: see `save`.

    A damaged file is removed: training is a function of addressed seeds, so doing the work again gives the same
    weights, and only time is lost.
    """
    try:
        with path.open("rb") as file:
            saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        if isinstance(path, Path) and not path.parent.parent.is_dir():
            raise  # all is gone for now: to begin anew would undo what was done when it comes back
        return None
    except Exception:  # torch raises many kinds for damaged archives
        path.read_bytes()  # raises where it is the disk or the store that does not answer
        path.unlink(missing_ok=True)
        return None
    return saved


class Writer:
    """Saves in a thread, one file at a time and in order, while training goes on; what went wrong is raised later."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def save(self, path: Folder, state: dict[str, Any]) -> None:
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
