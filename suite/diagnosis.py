"""What a run's exception stands for: its kind, one line for people, and where in our code it happened."""

from __future__ import annotations

import os
import socket
import traceback
from pathlib import Path
from typing import Any

import torch

import grace
import protocols
import suite
from grace.checks import DataError
from grace.contract import ContractError
from grace.training.trainer import NonFiniteLoss
from suite.errors import SuiteError
from suite.plugins import plugin_of
from suite.provenance import now
from suite.record import Failure
from suite.spec import RunSpec

OURS = tuple(str(Path(package.__path__[0])) + os.sep for package in (grace, protocols, suite))
NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")  # what torch says without a class for it


def failure_of(spec: RunSpec, error: BaseException) -> Failure:
    """Return the failure that an exception stands for: what kind, in one line, and where in our code or a plugin's."""
    frames = traceback.extract_tb(error.__traceback__)
    plugin = plugin_of(spec.method)
    theirs = [frame for frame in frames if plugin and frame.filename == plugin.file]
    ours = [frame for frame in frames if frame.filename.startswith(OURS)]
    frame = next(reversed(theirs or ours or list(frames)), None)
    text = next(iter(str(error).strip().splitlines()), "")
    clear = isinstance(error, DataError | NonFiniteLoss | ContractError | SuiteError)
    reason = text if clear else f"{type(error).__name__}: {text}".rstrip(": ")
    if theirs and frame and not clear:
        reason = f"{frame.filename}:{frame.lineno}: {reason}"
    file, line = getattr(error, "file", ""), getattr(error, "line", 0)
    where = f"{file}:{line}" if file else f"{frame.filename}:{frame.lineno} in {frame.name}" if frame else ""
    return Failure(
        key=spec.key,
        label=spec.label,
        kind=_kind(error),
        reason=reason,
        where=where,
        traceback="".join(traceback.format_exception(error)),
        host=socket.gethostname(),
        time=now(),
    )


def _kind(error: BaseException) -> Any:
    if isinstance(error, NonFiniteLoss):
        return "non-finite"
    if isinstance(error, DataError):
        return "data"
    no_memory = isinstance(error, RuntimeError) and any(words in str(error).lower() for words in NO_MEMORY)
    return "oom" if isinstance(error, MemoryError | torch.OutOfMemoryError) or no_memory else "error"
