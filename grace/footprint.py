"""What a learner holds between tasks, read off its checkpoint: the checkpoint is the account."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from grace.learner import Learner


@dataclass(frozen=True)
class Footprint:
    """Counts are of numbers, sizes of bytes; an exemplar is charged as its uint8 pixels at the input size."""

    parameters: int  # branches, their shared stem and head: what classifies
    backbone_parameters: int  # what the survey's convention counts
    head_parameters: int
    auxiliary_parameters: int  # of modules kept for learning alone; in no other count of parameters
    buffer_numbers: int  # batch-norm statistics
    state_numbers: int  # tensors that a method keeps in its state
    model_bytes: int  # parameters, buffers, modules kept for learning and state tensors
    exemplars: int
    exemplar_bytes: int
    evaluation_flops: int = 0  # floating-point operations per image at evaluation, two per multiply-add; 0: not counted


def footprint(learner: Learner, bytes_per_image: int, evaluation_flops: int = 0) -> Footprint:
    """Count what `learner.state_dict()` holds; no method reports its own size."""
    saved = learner.state_dict()
    named = {name for name, _ in learner.net.named_parameters()}
    weights: dict[str, Tensor] = saved["weights"]
    sizes = {n: t.numel() for n, t in weights.items() if n in named}
    backbone = sum(size for n, size in sizes.items() if n.startswith(("branches.", "stem.")))
    auxiliary = sum(size for n, size in sizes.items() if n.startswith("aside."))
    parameters = sum(sizes.values()) - auxiliary
    state = list(_tensors(saved["state"]))
    exemplars = sum(len(rows) for rows in saved["memory"].values())
    return Footprint(
        parameters=parameters,
        backbone_parameters=backbone,
        head_parameters=parameters - backbone,
        auxiliary_parameters=auxiliary,
        buffer_numbers=sum(t.numel() for n, t in weights.items() if n not in named),
        state_numbers=sum(t.numel() for t in state),
        model_bytes=sum(t.numel() * t.element_size() for t in [*weights.values(), *state]),
        exemplars=exemplars,
        exemplar_bytes=exemplars * bytes_per_image,
        evaluation_flops=evaluation_flops,
    )


def kept_tensors(learner: Learner) -> list[Tensor]:
    """Return the tensors that a learner keeps in its state."""
    return list(_tensors(learner.state_dict()["state"]))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
