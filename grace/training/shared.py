"""Phases that several runs train alike: trained by one of them, taken up by the others.

What a phase leaves behind is a function of what it is. Where all of that can be told - the loss is one of ours, the net
is made of our modules - a key is made of it, and the phase's checkpoint lies under the key, where other runs find it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from grace.nets.incremental import IncrementalNet
from grace.storage.folders import Folder
from grace.streams.samples import Batch, Task
from grace.training import checkpoint
from grace.training.engine import Engine
from grace.training.phase import Losses, Phase
from grace.training.steps import compiles

OURS = ("grace.", "torch.")  # modules whose code the facts tell of
APART = {"_parameters", "_buffers", "_modules"}  # told with their values


class Busy(Exception):
    """Another run trains the phase that this one needs; nothing is lost by coming back later. Names the key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"phase {key} is being trained by another run")
        self.key = key


class Lock(Protocol):
    """What keeps two processes from training the same phase; the system frees it when its holder dies."""

    def acquire(self, timeout: float) -> object:
        """Take it, or raise TimeoutError."""

    def release(self) -> None:
        """Give it back."""


@dataclass(frozen=True)
class CrossEntropy:
    """The plain loss of a net: cross-entropy of all its logits. Being this very class is how a phase can be shared."""

    net: IncrementalNet

    def __call__(self, batch: Batch) -> Losses:
        """Return the mean over the batch, as the term `ce`."""
        return {"ce": F.cross_entropy(self.net.logits(batch.x), batch.y)}


@dataclass(frozen=True)
class Sharing:
    """Where runs share phases. `facts` is everything of the run and the machine that decides a result, as one text."""

    folder: Folder
    facts: str
    run: str  # who shares, for the record
    lock: Callable[[str], Lock]

    def key(self, phase: Phase, task: Task, seed: int, engine: Engine) -> str:
        """Return the key of a phase that is about to begin on `task`, or nothing for one that cannot be shared.

        Shared is the first task's phase whose loss is the cross-entropy of the very net that it trains, on images of
        the task's own source. Into the key go images and labels by row, the recipe, every weight at its start, what the
        net is made of, the seed and the way of training, besides the facts.
        """
        plain = phase.after_backward is None and phase.views == 1 and not phase.adapts
        if not (plain and task.index == 0 and type(phase.loss) is CrossEntropy):
            return ""
        net = phase.loss.net
        if len(phase.trains) != 1 or phase.trains[0] is not net or phase.data.source is not task.train.source:
            return ""
        try:
            made_of = [(name, _module(module)) for name, module in net.named_modules()]
        except _Foreign:
            return ""
        machine = [torch.__version__, torch.version.cuda, torch.backends.cpu.get_cpu_capability(), str(net.device)]
        way = "plain" if engine.way == "plain" else "compiled" if compiles(engine, phase, net.device) else "eager"
        told = [self.facts, phase.name, asdict(phase.recipe), seed, way, machine, made_of]
        return _digest(
            [told, phase.data.rows, phase.data.y, {**dict(net.named_parameters()), **dict(net.named_buffers())}]
        )

    @contextmanager
    def claimed(self, key: str, phase: Phase, settle: Callable[[], None]) -> Iterator[Folder | None]:
        """Give the place of a phase's checkpoint: whole already, or for this run alone to fill; raises Busy.

        `settle` is called before others may have it: everything must be on the disk then.
        """
        path, lock = self.folder / f"{key}.pt", self.lock(key)
        if isinstance(path, Path):
            with suppress(OSError):
                os.utime(path)  # what is in use is young
        try:
            lock.acquire(timeout=0)
        except TimeoutError:
            saved = self.load(path)
            if saved is None or not _over(saved, phase):
                raise Busy(key) from None
            yield path  # others only read it, too
            return
        try:
            yield path
            settle()
        finally:
            lock.release()

    def sealed(self, path: Folder, saved: dict[str, Any]) -> dict[str, Any]:
        """Return what is to be written to `path`: where runs share it, with who trained it and a digest of it all."""
        signed = {**saved, "run": self.run}
        return {**signed, "seal": _digest(signed)} if path.parent == self.folder else saved

    def load(self, path: Folder | None) -> dict[str, Any] | None:
        """Return a checkpoint as `checkpoint.load` does; a shared one of which a bit has changed is removed, too."""
        saved = None if path is None else checkpoint.load(path)
        if (
            path is not None
            and saved is not None
            and path.parent == self.folder
            and saved.pop("seal", "") != _digest(saved)
        ):
            path.unlink(missing_ok=True)
            return None
        return saved

    def marked(self, saved: Mapping[str, Any], phase: Phase) -> dict[str, Any]:
        """Return the log of a checkpoint; `shared` names the run that trained it where that was another, to its end."""
        log, by = dict(saved["log"]), saved.get("run", self.run)
        return {**log, "shared": by} if by != self.run and _over(saved, phase) else log


def _over(saved: Mapping[str, Any], phase: Phase) -> bool:
    return int(saved["epoch"]) >= phase.recipe.epochs - 1


def _digest(value: Any) -> str:
    """Return the digest of nested lists and dictionaries with tensors and plain values: 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)

    def take(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)} ".encode())
            digest.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
        elif isinstance(value, list | tuple | Mapping):
            digest.update(f"{'list' if isinstance(value, list | tuple) else 'dict'} {len(value)} ".encode())
            for item in value.items() if isinstance(value, Mapping) else value:
                take(item)
        else:
            digest.update(f"{value!r} ".encode())

    take(value)
    return digest.hexdigest()


class _Foreign(Exception):
    """Something of which the key cannot tell what it does."""


def _module(module: nn.Module) -> list[Any]:
    """Return what a module is besides its weights: its class and its plain values; raises _Foreign."""
    held = {name: value for name, value in vars(module).items() if name not in APART}
    if any(value for name, value in held.items() if name.endswith("hooks")):
        raise _Foreign
    return [_named(type(module)), [(name, _told(held[name])) for name in sorted(held)]]


def _told(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_told(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, Mapping):
        return [[str(name), _told(item)] for name, item in value.items()]
    if isinstance(value, partial):
        return [_named(value.func), _told(value.args), _told(value.keywords)]
    if isinstance(value, torch.device | torch.dtype | torch.memory_format):
        return str(value)
    return _named(value)


def _named(value: Any) -> str:
    """Return the name of a class or function of ours or of torch; raises _Foreign for anything else."""
    if not isinstance(value, type | FunctionType | BuiltinFunctionType):
        raise _Foreign
    name = f"{value.__module__}.{value.__qualname__}"
    if not name.startswith(OURS) or "<" in name:  # a local function's name does not say what it does
        raise _Foreign
    return name
