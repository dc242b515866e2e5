"""Checkpoint files: whole or absent, never half; only tensors and plain values inside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` beside `path`, flush it to the disk and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
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
