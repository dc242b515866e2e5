"""What is in memory while a phase trains: the learner's own, and teachers and students that only its loss knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from grace.nets.backbone import Backbone
from grace.training.phase import Phase


def referred(function: Any) -> dict[str, nn.Module]:
    """Return the modules that a function can reach, by name: in its free variables and arguments, and in theirs."""
    found: dict[str, nn.Module] = {}
    for name, module in _reached("loss", function, set()):
        while name in found:  # functions have names of their own
            name += "'"
        found[name] = module
    return found


def held(phase: Phase, net: nn.Module, state: Iterable[Tensor], exemplar_bytes: int) -> dict[str, int]:
    """Return what training a phase keeps in memory, in numbers and bytes; no optimiser, gradients or activations.

    Counted are the learner's net and state, what the phase trains, and every net that its loss can reach, each tensor
    once: a teacher, a student, a network that is being expanded.
    """
    modules = [net, *referred(phase.loss).values(), *(m for m in [*phase.trains, *phase.adapts] if _module(m))]
    lone = [item for item in phase.trains if isinstance(item, nn.Parameter)]
    inside = [module for item in modules if isinstance(item, nn.Module) for module in item.modules()]
    parameters = _each([p for module in inside for p in module.parameters(recurse=False)] + lone)
    backbone = _each(p for module in inside if isinstance(module, Backbone) for p in module.parameters())
    others = _each(b for module in inside for b in module.buffers(recurse=False))
    every = {**parameters, **others, **_each(state)}
    return {
        "parameters": sum(p.numel() for p in parameters.values()),
        "backbone_parameters": sum(p.numel() for p in backbone.values()),
        "model_bytes": sum(t.numel() * t.element_size() for t in every.values()),
        "exemplar_bytes": exemplar_bytes,
    }


def _each(tensors: Iterable[Tensor]) -> dict[int, Tensor]:
    return {id(tensor): tensor for tensor in tensors}


def _module(item: Any) -> bool:
    return isinstance(item, nn.Module)


def _reached(name: str, value: Any, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    """Yield (name, module) for what `value` leads to; each object is looked at once."""
    if id(value) in seen:
        return
    seen.add(id(value))
    inner: dict[str, Any] = {}
    if isinstance(value, nn.Module):
        yield name, value
    elif isinstance(value, partial):
        inner = {name: value.func, **{f"{name}({i})": v for i, v in enumerate(value.args)}, **value.keywords}
    elif isinstance(value, MethodType):
        inner = {name: value.__self__, f"{name}()": value.__func__}
    elif isinstance(value, FunctionType):
        inner = {**_free(value), **{f"default {i}": v for i, v in enumerate(value.__defaults__ or ())}}
    elif isinstance(value, Mapping):
        inner = {f"{name}.{key}": item for key, item in value.items()}
    elif isinstance(value, list | tuple):
        inner = {f"{name}.{i}": item for i, item in enumerate(value)}
    elif isinstance(getattr(value, "net", None), nn.Module):  # a learner
        inner = {f"{name}.net": value.net}
    for key, item in inner.items():
        yield from _reached(key, item, seen)


def _free(function: FunctionType) -> dict[str, Any]:
    """Return a function's free variables by name, those that have no value yet aside."""
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found
