"""Seeing what a GPU would have to wait for, without one."""

from __future__ import annotations

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class OnCuda(TorchDispatchMode):
    """Notes operations on tensors that are not on the GPU: each copy to it would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(not tensor.is_cuda for tensor in tensors):
            self.elsewhere.add(str(func))
        return func(*args, **(kwargs or {}))
