"""What must hold after every fault: each run done once, with the very result of an undisturbed one, nothing left."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.faults import processes
from bench.faults.world import World
from suite.store import Store

LINGERING = 30.0  # seconds for Ray to end the processes of a driver that is gone


def digests(root: Path, keys: Iterable[str] | None = None) -> dict[str, str]:
    """Return what each run of a store came to, by key."""
    return {record.key: record.digest() for record in Store.open(root).records(keys)}


def undisturbed(world: World, *sweep: str) -> dict[str, str]:
    """Return what the runs of a sweep come to in one process, without Ray and without a fault."""
    root = world.folder / "whole"
    (world.folder / "fed").touch()  # see bench.faults.methods.hungry
    code = world.command(*sweep, "--address", "none", root=root).wait(600)
    if code != 0:
        raise RuntimeError(f"undisturbed, the sweep ends with {code}\n{world.told()}")
    for name in ("trace", "fed"):
        (world.folder / name).unlink(missing_ok=True)
    return digests(root)


def complaints(world: World, expected: Mapping[str, str], failed: Iterable[str] = ()) -> list[str]:
    """Return what is not as it must be once the last command has ended; `failed` are runs that have to fail."""
    store = Store.open(world.root)
    found = [f"run {key} has no record" for key in sorted(set(expected) - set(store.keys()))]
    found += [f"run {key} was not asked for" for key in sorted(set(store.keys()) - set(expected))]
    found += [f"run {key} came to another result" for key, digest in digests(world.root).items()
              if digest != expected.get(key, digest)]  # fmt: skip
    found += [f"record {line}" for line in store.damaged]
    found += [f"run {key} failed: {failure.reason}" for key, failure in store.failures().items() if key not in failed]
    found += [f"run {key} has not failed" for key in set(failed) - set(store.failures())]
    return found + orphans(world) + leftovers(world, failed)


def orphans(world: World, seconds: float = LINGERING) -> list[str]:
    """Return the processes that the commands left behind: lanes, queues, drivers."""
    names = ("ray::RayTrainWorker", "ray::TrainController", "ray::Queue")
    deadline = time.monotonic() + seconds
    while True:
        left = [pid for name in names for pid in world.marked(name)]
        left += [pid for pid in world.marked() if "suite.lanes.driver" in processes.called(pid)]
        if not left or time.monotonic() > deadline:
            return [f"process {pid} is left: {processes.called(pid)}" for pid in left]
        time.sleep(0.1)


def leftovers(world: World, failed: Iterable[str] = ()) -> list[str]:
    """Have `gc` remove what it may, and return what is still there and should not be.

    A run that failed keeps its checkpoints: it may be tried again.
    """
    code = world.command("gc").wait()
    found = [] if code == 0 else [f"gc ends with {code}"]
    kept = {"records", "predictions", "failed", "sweeps", "live", "index", "logs", "shared", "store.json", "work"}
    for path in sorted(world.root.rglob("*")):
        name = path.relative_to(world.root)
        working = name.parts[0] == "work" and len(name.parts) > 1 and name.parts[1].partition(".")[0] not in set(failed)
        if ".tmp-" in path.name or working or name.parts[0] not in kept:
            found.append(f"{name} is left")
    return found
