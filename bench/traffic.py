"""Counts the bytes that operations read and write."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

FREE = ("view", "reshape", "transpose", "permute", "expand", "slice", "select", "detach", "t", "alias", "split",
        "unsqueeze", "squeeze", "empty", "empty_like", "as_strided", "is_pinned")  # fmt: skip


class Traffic(TorchDispatchMode):
    """Sums the sizes of every operation's tensors, inputs and outputs; operations that only look elsewhere are free."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count it."""
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ not in FREE:
            self.bytes += sum(t.numel() * t.element_size() for t in _tensors([args, kwargs or {}, result]))
        return result


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for item in value for t in _tensors(item)] if isinstance(value, list | tuple) else []
