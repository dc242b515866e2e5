"""A hash of what a run holds, to tell whether two processes hold the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


def digest(state: object) -> str:
    """Return a hash of tensors and plain values, nested in mappings, lists and tuples: 32 hexadecimal digits."""
    found = hashlib.blake2b(digest_size=16)
    for part in _parts(state):
        found.update(part)
    return found.hexdigest()


def _parts(value: object) -> Iterator[bytes | memoryview]:
    if isinstance(value, Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield repr(name).encode()
            yield from _parts(item)
    elif isinstance(value, list | tuple):
        yield str(len(value)).encode()
        for item in value:
            yield from _parts(item)
    else:
        yield repr(value).encode()
