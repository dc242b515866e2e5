"""What a phase trains, put to work and to rest: the modules and lone parameters that it lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from grace.nets.backbone import Backbone, freeze
from grace.training.phase import Trainable


def place(trains: Sequence[Trainable], device: torch.device) -> None:
    """Move everything to the device, in place."""
    for item in trains:
        if isinstance(item, nn.Module):
            item.to(device)
        else:
            item.data = item.data.to(device)


def thaw(trains: Sequence[Trainable]) -> list[nn.Parameter]:
    """Let everything learn; return its parameters, each once."""
    params: list[nn.Parameter] = []
    for item in trains:
        item.requires_grad_(True)
        if isinstance(item, nn.Module):
            item.train()
            params += list(item.parameters())
        else:
            params.append(item)
    return list(dict.fromkeys(params))


def adapt(modules: Sequence[nn.Module]) -> None:
    """Put modules into train mode without letting them learn; `rest` ends it."""
    for module in modules:
        module.train()


def rest(trains: Sequence[Trainable]) -> None:
    """Freeze everything again."""
    for item in trains:
        if isinstance(item, nn.Module):
            freeze(item)
        else:
            item.requires_grad_(False)
            item.grad = None


def weights(trains: Sequence[Trainable]) -> list[Any]:
    """Return the state of each: what `restore` takes."""
    return [item.state_dict() if isinstance(item, nn.Module) else item.detach() for item in trains]


def restore(trains: Sequence[Trainable], saved: Sequence[Any]) -> None:
    """Take on a state that `weights` returned."""
    for item, value in zip(trains, saved, strict=True):
        if isinstance(item, nn.Module):
            item.load_state_dict(value)
        else:
            with torch.no_grad():
                item.copy_(value)


def backbones(trains: Sequence[Trainable]) -> list[Backbone]:
    """Return the backbones among the modules and inside them."""
    inner = (module for item in trains if isinstance(item, nn.Module) for module in item.modules())
    return [module for module in inner if isinstance(module, Backbone)]


def restless(module: nn.Module) -> str:
    """Return the name of a parameter that would learn, or of a module in train mode; nothing where all is at rest."""
    learning = (name for name, parameter in module.named_parameters() if parameter.requires_grad)
    working = (name or "itself" for name, inner in module.named_modules() if inner.training)
    return next(learning, None) or next(working, "")
