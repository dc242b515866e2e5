"""What scheduling costs: overhead per run over the bare work, and how fast runs are handed out to many lanes.

    python -m bench.scheduling [--tiny 2 20 200] [--runs 1000] [--cpus 64] [--lanes 16]

First tiny real runs: bare, in this process and kept nowhere; as `--address none` works on them; and in lanes on Ray,
two at a time. Then runs that only sleep, on a Ray that pretends to more cores and memory than there are: every lane is
real, with its two processes, and what is left of the time is scheduling.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

import protocols
from bench.machine import report
from grace.methods import method
from grace.training.phase import Recipe
from suite import lanes, local
from suite.configure import plain
from suite.events import Event
from suite.execute import execute
from suite.launch import Launch, LaunchOptions
from suite.spec import RunSpec
from suite.store import Store

SLEEP = 1.0  # seconds of a simulated run
LIMIT = 0.05  # seconds a run that scheduling may take
GROWTH = 1.2  # times the memory after a tenth of the runs that processes may have after the last
EVERY = 1.0  # seconds between looks at the memory
BARE = 20  # bare runs, of which the middle one counts
MIB = 2**20


def tiny(count: int) -> list[RunSpec]:
    """Return runs of some tenths of a second of real work each: replay on the toy dataset, one epoch per task."""
    protocol, recipe = protocols.get("toy-b0i2"), Recipe(1, lr=0.05, batch_size=64)
    config = plain(method("replay")[1](initial=recipe, later=recipe))
    return [
        RunSpec(method="replay", config=config, protocol=protocol, order_seed=1993, train_seed=seed)
        for seed in range(count)
    ]


def bare(folder: Path) -> float:
    """Return the seconds of one tiny run in this process that leaves nothing, the middle of some."""
    taken = []
    for number, spec in enumerate(tiny(BARE)):
        began = time.perf_counter()
        execute(
            spec,
            folder / str(number),
            data=folder,
            download=False,
            threads=1,
            device=torch.device("cpu"),
            engine="auto",
            checkpoint_seconds=float("inf"),
            observe=lambda progress: False,
            origin={},
        )
        taken.append(time.perf_counter() - began)
    return median(taken)


def launched(launch: Launch, runs: Sequence[RunSpec], options: LaunchOptions) -> tuple[float, float]:
    """Return the seconds until a lane takes up the first run, and from then on until the last has ended."""
    claimed: list[float] = []

    def observe(event: Event) -> None:
        if event.kind == "claimed":
            claimed.append(time.perf_counter())

    began = time.perf_counter()
    outcome = launch(runs, options, observe, lambda: False)
    ended = time.perf_counter()
    if len(outcome.finished) != len(runs):
        raise RuntimeError(f"{len(outcome.finished)} of {len(runs)} runs finished: {outcome}")
    return claimed[0] - began, ended - claimed[0]


def overheads(counts: Sequence[int], folder: Path) -> list[str]:
    """Return a Markdown table of what tiny runs take, in this process and in two lanes."""
    alone = bare(folder)
    found = [
        f"A tiny run takes {1000 * alone:.0f} ms bare (the middle of {BARE}).",
        "",
        "| runs | way | until the first begins, s | all of them, s | overhead per run, ms | over the bare work |",
        "|---|---|---|---|---|---|",
    ]
    ways: list[tuple[str, Launch, int]] = [("in this process", local.launch, 1), ("two lanes on Ray", lanes.launch, 2)]
    for count in counts:
        for name, launch, wide in ways:
            options = LaunchOptions(
                root=folder / f"{name[:2]}{count}", data=folder, gpus_per_run=0, max_concurrent=2, download=False
            )
            start, rest = launched(launch, tiny(count), options)
            over = rest * min(wide, count) / count - alone
            found.append(f"| {count} | {name} | {start:.1f} | {rest:.1f} | {1000 * over:.0f} | {over / alone:+.0%} |")
    return found


def asleep(spec: RunSpec, *rest: Any) -> Event:
    """Simulate a run: it tells of its tasks, as a run does, and otherwise sleeps."""
    observe = rest[2]
    for task in range(2):
        time.sleep(SLEEP / 2)
        observe(
            Event("task", spec.key, {"task": task, "tasks": 2, "trained": task + 1, "work": task + 1, "losses": []})
        )
    return Event("finished", spec.key, {"seconds": SLEEP})


def resident(name: str) -> int:
    """Return the bytes of memory that this process has, or, with a name, that of Ray's process of that name."""
    pids = [os.getpid()]
    if name:
        pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _named(entry, name)]
    sizes = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return max(sizes, default=0) * os.sysconf("SC_PAGE_SIZE")  # one that is just being forked is no second


def _named(entry: Path, name: str) -> bool:
    try:
        return (entry / "cmdline").read_bytes().startswith(name.encode())
    except OSError:
        return False


def simulated(runs: int, cpus: int, wide: int, folder: Path) -> list[str]:
    """Return what handing out sleeping runs to many lanes takes, beyond the sleep, and the memory meanwhile."""
    import ray

    from suite.lanes.driver import drive, measure
    from suite.lanes.lane import Job
    from suite.lanes.nodes import Nodes

    options = LaunchOptions(root=folder / "many", data=folder, gpus_per_run=0, cpus_per_run=cpus // wide)
    specs = {spec.key: spec for spec in tiny(runs)}
    Store.open(options.root, write=True)
    told: list[tuple[float, int]] = []  # when a run finished, and the memory of driver and queue then
    ready: list[float] = []
    sizes: list[tuple[int, int, int]] = []
    last = 0.0

    def observe(event: Event) -> None:
        nonlocal last
        now = time.perf_counter()
        if event.kind == "lane" and event.fields["state"] == "ready":
            ready.append(now)
        if event.kind == "finished":
            told.append((now, len(told)))
            if now - last >= EVERY:
                last = now
                sizes.append((len(told), resident(""), resident("ray::Queue")))

    session = tempfile.mkdtemp(prefix="ray-")
    began = time.perf_counter()
    ray.init(
        "local", num_cpus=cpus, _memory=wide * 2e9, object_store_memory=128 * MIB, include_dashboard=False,
        _temp_dir=session, log_to_driver=False, logging_level="ERROR", configure_logging=False,
    )  # fmt: skip
    nodes = Nodes(None, folder, print)
    nodes.begin()
    options, kinds = measure(options, nodes)
    drive(Job("queue", specs, options, {}, asleep, None), kinds, nodes, folder, observe, lambda: False)
    ray.shutdown()
    return _told(runs, cpus, began, ready, [now for now, _ in told], sizes)


def _told(
    runs: int, cpus: int, began: float, ready: list[float], ended: list[float], sizes: list[tuple[int, int, int]]
) -> list[str]:
    # what finished after the last lane was there, in lanes that were all there
    steady = [moment for moment in ended if moment >= ready[-1] + SLEEP]
    pace = (steady[-1] - steady[0]) / max(len(steady) - 1, 1)
    over = pace - SLEEP / len(ready)
    early = next(row for row in sizes if row[0] >= runs / 10)
    grown = [late / soon for soon, late in zip(early[1:], sizes[-1][1:], strict=True)]
    verdict = "" if over <= LIMIT else " (too much)"
    return [
        f"{len(ended)} runs that sleep {SLEEP:g} s in {len(ready)} lanes on {cpus} pretended cores: the first lane was "
        f"there after {ready[0] - began:.0f} s, the last after {ready[-1] - began:.0f} s.",
        "",
        f"- Once all were there, {len(steady)} runs ended {1000 * pace:.1f} ms apart; "
        f"{1000 * SLEEP / len(ready):.1f} ms would be their sleep alone: scheduling takes "
        f"{1000 * over:.1f} ms a run{verdict}; {1000 * LIMIT:.0f} are allowed.",
        *(
            f"- Memory of the {name}: {soon / MIB:.0f} MiB after {early[0]} runs, {late / MIB:.0f} MiB at the end"
            f"{'' if ratio <= GROWTH else ' (it grows)'}."
            for name, soon, late, ratio in zip(("driver", "queue"), early[1:], sizes[-1][1:], grown, strict=True)
        ),
    ]


def main() -> None:
    """Measure both and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", type=int, nargs="*", default=[2, 20, 200], metavar="N", help="numbers of tiny runs")
    parser.add_argument("--runs", type=int, default=1000, help="that only sleep")
    parser.add_argument("--cpus", type=int, default=64, help="pretended for these")
    parser.add_argument("--lanes", type=int, default=16, help="that share them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="grace-scheduling-") as name:
        if options.tiny:
            report("scheduling-tiny", "Scheduling of tiny runs", overheads(options.tiny, Path(name)))
        if options.runs:
            told = simulated(options.runs, options.cpus, options.lanes, Path(name))
            report("scheduling-simulated", "Scheduling of simulated runs", told)


if __name__ == "__main__":
    main()
