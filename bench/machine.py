"""The machine that a benchmark ran on, what it can do at best, and where results are kept."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from suite.provenance import code, now, processor

RESULTS = Path(__file__).with_name("results")


def device() -> torch.device:
    """Return the GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def described() -> str:
    """Return the machine in one line: processor or GPU, cores, memory, versions."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    kind = f"{torch.backends.cpu.get_cpu_capability()}, {'with' if amx else 'without'} AMX"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (f"{name} ({kind}), {os.cpu_count()} cores, {torch.get_num_threads()} threads, {memory:.0f} GiB; "
            f"Python {platform.python_version()}, torch {torch.__version__}")  # fmt: skip


def slug() -> str:
    """Return a file name's part that tells machines apart."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{processor()} x{os.cpu_count()}"
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace("(r)", "")).strip("-")


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], least: float = 0.3) -> float:
    """Return the best time of one call, among as many as fill `least` seconds; the first one is not counted."""
    work()
    best, spent = float("inf"), 0.0
    while spent < least:
        synchronise()
        start = time.perf_counter()
        work()
        synchronise()
        taken = time.perf_counter() - start
        best, spent = min(best, taken), spent + taken
    return best


def ceilings(precisions: Sequence[str]) -> dict[str, float]:
    """Return what the device reaches: FLOP/s of matrix products and 3x3 convolutions per precision, bytes/s of memory.

    The convolution is the middle stage of a CIFAR ResNet, 32 channels at 16x16, channels last, batch 128.
    """
    where = device()
    found: dict[str, float] = {}
    for precision in precisions:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        size = 8192 if where.type == "cuda" else 2048
        a = torch.randn(size, size, device=where, dtype=dtype)
        found[f"{precision} matrix product, FLOP/s"] = 2 * size**3 / seconds(lambda a=a: a @ a)  # type: ignore[misc]
        x = torch.randn(128, 32, 16, 16, device=where, dtype=dtype).contiguous(memory_format=torch.channels_last)
        w = torch.randn(32, 32, 3, 3, device=where, dtype=dtype).contiguous(memory_format=torch.channels_last)
        work = 2 * 128 * 32 * 32 * 9 * 16 * 16
        found[f"{precision} convolution, FLOP/s"] = work / seconds(
            lambda x=x, w=w: torch.nn.functional.conv2d(x, w, padding=1)  # type: ignore[misc]
        )
    big = torch.empty(2**28 if where.type == "cuda" else 2**26, device=where)
    other = torch.empty_like(big)
    found["memory, bytes/s"] = 2 * big.numel() * 4 / seconds(lambda: other.copy_(big))
    return found


def report(name: str, title: str, lines: Sequence[str]) -> Path:
    """Print a result and keep it, with machine, commit and time, as a Markdown file; return its path."""
    source = code()
    commit = f"{(source['commit'] or 'no commit')[:10]}{' with changes' if source['dirty'] else ''}"
    text = "\n".join([f"# {title}", "", f"{described()}; {commit}; {now()}", "", *lines, ""])
    print(text)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{slug()}.md"
    path.write_text(text, encoding="utf-8")
    print(f"written to {path}")
    return path
