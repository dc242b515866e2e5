"""Whether a phase has changed anything but what it lists."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from grace.training.held import referred
from grace.training.phase import Phase, Trainable


class Watched:
    """The tensors of a net, and of the modules that a loss refers to, that a phase does not list.

    Told by identity, place and torch's version counters, at no cost to speak of; with `copies`, by their values too.
    """

    def __init__(self, phase: Phase, net: nn.Module, copies: bool = False) -> None:
        listed = {id(tensor) for item in [*phase.trains, *phase.adapts] for tensor in _tensors(item).values()}
        self._modules = {"net": net, **referred(phase.loss)}
        self._before = {
            (owner, name): (tensor, tensor._version, tensor.data_ptr(), tensor.clone() if copies else None)
            for owner, module in self._modules.items()
            for name, tensor in _tensors(module).items()
            if id(tensor) not in listed
        }

    def changed(self) -> str:
        """Return the name of a tensor that is no longer what it was, or nothing."""
        now = {owner: _tensors(module) for owner, module in self._modules.items()}
        for (owner, name), (tensor, version, place, copy) in self._before.items():
            same = now[owner].get(name) is tensor and tensor._version == version and tensor.data_ptr() == place
            if not same or (copy is not None and not torch.equal(tensor, copy)):
                return f"{owner}.{name}"
        return ""


def _tensors(item: Trainable) -> dict[str, Tensor]:
    if isinstance(item, nn.Module):
        return {**dict(item.named_parameters()), **dict(item.named_buffers())}
    return {"": item}
