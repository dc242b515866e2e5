"""Branches and nets at rest side by side: on a GPU one small net on one batch leaves most of the processors idle.

Only while a CUDA graph is captured: outside of one launches, one after another, take longer than the work. Nothing is
computed differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
STREAMS = 3  # at most; each keeps the maps of one branch


def overlaps(x: Tensor) -> bool:
    """Whether what is at rest is computed beside what learns, on images or maps x."""
    return x.is_cuda and not x.requires_grad and torch.cuda.is_current_stream_capturing()


def abreast(calls: Sequence[Callable[[Tensor], Tensor]], learning: Sequence[bool], x: Tensor) -> list[Tensor]:
    """Return call(x) for every call, in order; those not learning run in parallel where it pays.

    What learns stays on the stream of the capture, so that gradients do, too: everything where x itself has one.
    """
    if len(calls) == 1 or not overlaps(x):
        return [call(x) for call in calls]
    join()  # the streams are needed
    main, found = torch.cuda.current_stream(), dict[int, Tensor]()
    resting = [index for index, learns in enumerate(learning) if not learns]
    streams = _streams(x.device)[: len(resting)]
    for stream in streams:
        stream.wait_stream(main)
    for place, index in enumerate(resting):
        with torch.cuda.stream(streams[place % STREAMS]):
            found[index] = calls[index](x)
    for index, learns in enumerate(learning):
        if learns:
            found[index] = calls[index](x)
    for stream in streams:
        main.wait_stream(stream)
    return [found[index] for index in range(len(calls))]


class Beside(Generic[T]):
    """What a stream of its own computes while the one that asked goes on, until it looks at the result."""

    pending: ClassVar[list[Beside[Any]]] = []  # started, and not looked at yet

    def __init__(self, compute: Callable[[], T], x: Tensor) -> None:
        join()
        self._asked, self._stream = torch.cuda.current_stream(), _streams(x.device)[0]
        self._x: Tensor | None = x  # its memory is not to be used for anything else meanwhile
        self._stream.wait_stream(self._asked)
        with torch.cuda.stream(self._stream):
            self._result = compute()
        Beside.pending.append(self)

    def result(self) -> T:
        """Return it, once it is there."""
        self.join()
        return self._result

    def join(self) -> None:
        """Let the stream that asked wait, once."""
        if self in Beside.pending:
            Beside.pending.remove(self)
            self._asked.wait_stream(self._stream)
            self._x = None


def join() -> None:
    """Wait for whatever is computed beside: before its streams are used again, and before a capture ends."""
    for each in list(Beside.pending):
        each.join()


@cache
def _streams(device: torch.device) -> list[torch.cuda.Stream]:
    return [torch.cuda.Stream(device) for _ in range(STREAMS)]  # type: ignore[no-untyped-call]
