"""Branches at rest side by side: on a GPU one small net on one batch leaves most of the processors idle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

STREAMS = 4  # at most; each keeps the maps of one branch


def abreast(calls: Sequence[Callable[[Tensor], Tensor]], learning: Sequence[bool], x: Tensor) -> list[Tensor]:
    """Return call(x) for every call, in order; while a CUDA graph is captured, those not learning run in parallel.

    Only there: outside of a graph their launches, one after another, take longer than the work. What learns stays on
    the stream of the capture, so that gradients do, too: everything where x itself has one. Nothing is computed
    differently.
    """
    alone = len(calls) == 1 or x.requires_grad
    if alone or not (x.is_cuda and torch.cuda.is_current_stream_capturing()):
        return [call(x) for call in calls]
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


@cache
def _streams(device: torch.device) -> list[torch.cuda.Stream]:
    return [torch.cuda.Stream(device) for _ in range(STREAMS)]  # type: ignore[no-untyped-call]
