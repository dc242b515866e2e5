"""What it takes a process to load a small set: parsed from its files, or mapped from the copy that a node shares.

    python -m bench.loading [--data DIR]

Fashion-MNIST from DIR, where it is there, and CIFAR-100 in its own format with pixels at random. Each load is a process
of its own, with the libraries imported before. Memory is what the kernel counts for the second process while the first,
which has loaded the same, is alive. Parsed is what a process does where no copy can be written.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROUNDS = 3
KINDS = {"fashion-mnist": "FashionMNIST", "cifar100": "cifar-100-python"}


def one(name: str, data: Path, parsed: bool) -> None:
    """Load a set as a lane does, look at every pixel, print what it took and wait to be ended."""
    import torch
    import torchvision  # noqa: F401

    from grace.streams import datasets
    from grace.streams.registry import DATASETS

    if parsed:
        datasets.mapped = lambda name, data, files, made: made()
    spec, before, started = DATASETS[name], _memory(), time.perf_counter()
    train, test = datasets.load(spec, data, range(spec.classes), download=False)
    content = datasets.fingerprint(train, test)
    took = time.perf_counter() - started
    seen = [int(split.x.sum(dtype=torch.int64)) for split in (train, test)]
    print(json.dumps({"content": content, "seen": seen, "ms": 1000 * took}), flush=True)
    for _ in sys.stdin:  # told to look
        now = _memory()
        print(json.dumps({kind: now[kind] - before[kind] for kind in now}), flush=True)


def _memory() -> dict[str, float]:
    """Return this process's memory in MiB: its own share of all, and what no other process has."""
    text = Path("/proc/self/smaps_rollup").read_text()
    size = {kind: int(value) / 1024 for kind, value in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    return {"Pss": size["Pss"], "private": size["Private_Clean"] + size["Private_Dirty"]}


def main() -> None:
    """Print a table: first and second load, and what the second one's process took of memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--one", nargs=2)
    options = parser.parse_args()
    if options.one:
        one(options.one[0], options.data, options.one[1] == "parsed")
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        if (options.data / KINDS["fashion-mnist"]).is_dir():
            shutil.copytree(options.data / KINDS["fashion-mnist"], data / KINDS["fashion-mnist"])
        _cifar100(data / KINDS["cifar100"])
        print("| set | way | first, ms | second, ms | its share of memory, MiB | its own alone, MiB |")
        print("|---|---|---|---|---|---|")
        for name, place in KINDS.items():
            for way in ("parsed", "mapped") if (data / place).is_dir() else ():
                for _ in range(ROUNDS):
                    shutil.rmtree(data / "mapped", ignore_errors=True)
                    _row(name, way, data)


def _row(name: str, way: str, data: Path) -> None:
    """Load twice, with both alive at the end, and print what they say."""
    command = [sys.executable, "-m", "bench.loading", "--data", str(data), "--one", name, way]
    alive = []
    try:
        told = []
        for _ in range(2):
            alive.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            told.append(json.loads(_asked(alive[-1])))
        memory = json.loads(_asked(alive[1], "look"))
    finally:
        for process in alive:
            process.kill()
            process.wait()
    assert [told[0][kind] for kind in ("content", "seen")] == [told[1][kind] for kind in ("content", "seen")]
    times = " | ".join(f"{each['ms']:.1f}" for each in told)
    print(f"| {name} | {way} | {times} | {memory['Pss']:.0f} | {memory['private']:.0f} |", flush=True)


def _asked(process: subprocess.Popen[str], question: str = "") -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    if question:
        process.stdin.write(question + "\n")
        process.stdin.flush()
    return process.stdout.readline()


def _cifar100(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, count in (("train", 50_000), ("test", 10_000)):
        pixels = np.random.RandomState(count).randint(0, 256, (count, 3072), dtype=np.uint8)
        entry = {"data": pixels, "fine_labels": [i % 100 for i in range(count)], "coarse_labels": [0] * count}
        (folder / name).write_bytes(pickle.dumps(entry, protocol=2))


if __name__ == "__main__":
    main()
