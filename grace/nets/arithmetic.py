"""How backbones compute at the moment: precision, memory layout, compiled or not. Heads and losses stay apart."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from grace.nets.backbone import Backbone

Maps = list[Tensor]
RECOMPILES = 256  # per process: backbones x sizes x batch sizes x (learning or at rest); beyond it Dynamo goes eager
# In fp32 and tf32 on a GPU the part of what would be kept for the backward pass that is; batch norms and ReLUs are
# computed again where they are needed.
KEPT = 0.7


@dataclass(frozen=True)
class Arithmetic:
    """The default computes operation by operation in the precision of the weights."""

    bf16: bool = False  # convolutions in bfloat16, by autocast; weights and what leaves a backbone stay as they are
    channels_last: bool = False  # memory layout [B, H, W, C], which convolutions prefer
    compiled: bool = False  # by torch.compile: batch norm, ReLU and sums are fused around the convolutions


PLAIN = Arithmetic()
_now: ContextVar[Arithmetic] = ContextVar("arithmetic", default=PLAIN)


def current() -> Arithmetic:
    """Return how backbones compute now."""
    return _now.get()


@contextmanager
def computing(arithmetic: Arithmetic) -> Iterator[None]:
    """Let every backbone compute like this while the context lasts."""
    before = _now.set(arithmetic)
    try:
        yield
    finally:
        _now.reset(before)


def laid_out(x: Tensor) -> Tensor:
    """Return x [B, C, H, W] in the memory layout of now; anything else as it is."""
    return x.contiguous(memory_format=torch.channels_last) if current().channels_last and x.dim() == 4 else x


def maps(backbone: Backbone, x: Tensor) -> Maps:
    """Return the map after each stage, [B, C, H, W] each, of images x [B, 3, H, W], computed as it is done now."""
    now = current()
    if now == PLAIN:
        return backbone.stagewise(x)
    compute = _compiled(now.channels_last, x.is_cuda) if now.compiled else _eager
    if now.compiled:  # looked up when the first call of its kind is compiled
        torch._functorch.config.activation_memory_budget = KEPT if x.is_cuda and not now.bf16 else 1.0
    with torch.autocast(x.device.type, torch.bfloat16, enabled=now.bf16):
        return compute(backbone, x)


def _eager(backbone: Backbone, x: Tensor) -> Maps:
    return backbone.stagewise(x)


@cache
def _compiled(channels_last: bool, cuda: bool) -> Callable[[Backbone, Tensor], Maps]:
    """Return the compiled `_eager`. Its code serves all backbones of one architecture, since weights are arguments.

    The compiler keeps the memory layout that it is given: left alone, it lays maps out channels last wherever nothing
    learns, which is slower where `channels_last` is off. With `cuda` it combines small kernels that need not wait.
    """
    import torch._dynamo.config
    import torch._functorch.config
    import torch._inductor.config

    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # CUDA's compiler without a GPU is no news
    torch._dynamo.config.recompile_limit = RECOMPILES
    torch._dynamo.config.accumulated_recompile_limit = RECOMPILES
    if not torch.cuda.is_available():
        torch._inductor.config.compile_threads = 1  # no pool of processes that a killed run would leave behind
    options: dict[str, Any] = {"layout_optimization": channels_last, "combo_kernels": cuda}
    compute: Any = torch.compile(_eager, dynamic=False, options=options)
    return compute  # type: ignore[no-any-return]


@cache
def can_compile() -> bool:
    """Whether torch.compile has what it needs here: a C++ compiler, and Triton for CUDA."""
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch.utils._triton import has_triton

        get_cpp_compiler()
        return has_triton() if torch.cuda.is_available() else True
    except Exception:  # the errors of a missing compiler are as many as there are systems
        return False


def flops(backbone: Backbone, shape: tuple[int, ...]) -> int:
    """Return the floating-point operations of a forward pass of one image `shape` [C, H, W].

    torch's counter: convolutions and matrix products only, two for each multiply-add. The rear part of a split backbone
    is counted on the maps that such an image leaves it.
    """
    from torch.utils.flop_counter import FlopCounterMode

    sketch = copy.deepcopy(backbone).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        height, width = (side // backbone.shrunk for side in shape[-2:])
        sketch.stagewise(torch.empty(1, backbone.takes, height, width, device="meta"))
    return int(counter.get_total_flops())
