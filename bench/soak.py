"""Faults of all kinds at random on a sweep of small runs: its results must be those of an undisturbed one.

    python -m bench.soak [--seed 0] [--minutes 10] [--runs 40] [--faults 30]

A cluster of a head and two nodes is started on this machine, with the results on a disk of their own (`unshare`;
without it, faults of the disk are left out). Every kind of fault is done once, then others until there are enough,
within the minutes; the same command is started again, each time from another folder, where it was the victim. At the
end each run must have one record with the undisturbed run's digest, and no process and no file may be left. Exits with
1 otherwise.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from statistics import median

from bench.faults import disk
from bench.faults.kinds import KINDS, LIGHT, OF_THE_DISK
from bench.faults.siege import Siege
from bench.faults.trace import redone
from bench.faults.verdict import complaints, undisturbed
from bench.faults.world import World, world
from suite.store import Store

METHODS = ("finetune", "replay", "der", "grace")
ROOM = 64 * 1024  # KiB of the disk
LANES = 2
SLOWEST = 4.0  # seconds that an epoch is held up at the most


def sweep(runs: int) -> list[str]:
    """Return the command of a sweep of so many runs, but for where it runs: a few epochs of each of five tasks."""
    seeds = f"0-{max(0, -(-runs // len(METHODS)) - 1)}"
    return ["run", "-m", *METHODS, "-p", "toy-b0i2", "--seeds", seeds, "--limit-epochs", "3", "--name", "soak"]


def besiege(siege: Siege, faults: int, minutes: float, epochs: int) -> None:
    """Do faults, each kind once and then any, until there are so many or the time is over. `epochs` are the sweep's."""
    possible = [kind for kind in KINDS if siege.world.disk or kind not in OF_THE_DISK]
    order = siege.rng.sample(possible, len(possible))
    began = time.monotonic()
    while len(siege.faults) < faults and time.monotonic() - began < 60 * minutes and siege.left:
        left = epochs - sum(moment.kind == "trained" for moment in siege.world.moments())
        # the sweep is to last as long as there are faults to come
        rest = (faults - len(siege.faults)) * (60 * minutes / faults)
        siege.world.put("pace", min(SLOWEST, LANES * rest / max(left, 1)))
        kind = order.pop() if order else siege.rng.choice(LIGHT)
        done = siege.do(kind, KINDS[kind])
        print(f"{time.monotonic() - began:5.0f} s  {len(siege.left):3} runs left  {kind}"
              f"{'' if done else ': the sweep had ended'}",
              flush=True)  # fmt: skip


def lines(siege: Siege) -> list[str]:
    """Return a Markdown table of what was done and what it cost."""
    told = siege.world.moments()
    found = [
        "| fault | times | work goes on after, s (most) | epochs begun again | of them whole |",
        "|---|--:|--:|--:|--:|",
    ]
    for kind in KINDS:
        mine = [fault for fault in siege.faults if fault.kind == kind]
        if mine:
            after = [s for fault in mine if (s := siege.recovery(fault, told)) is not None]
            costs = [siege.cost(fault, told) for fault in mine]
            times = f"{median(after):.1f} ({max(after):.1f})" if after else "at once"
            again, whole = (sum(cost[i] for cost in costs) for i in (0, 1))
            found.append(f"| {kind} | {len(mine)} | {times} | {again} | {whole} |")
    total = redone(told)
    planned = len({(m.key, m.what) for m in told if m.kind == "epoch"})
    found += ["", f"{len(siege.faults)} faults, {len(siege.expected)} runs of {planned} epochs together; {total.begun} "
                  f"epochs were begun again, {total.whole} of them had been whole. The command was started "
                  f"{siege.starts} times and ended with {', '.join(map(str, siege.codes))}."]  # fmt: skip
    return found


def soak(here: World, seed: int, minutes: float, runs: int, faults: int) -> tuple[list[str], list[str]]:
    """Do it all; return the table and what is not as it must be."""
    command = sweep(runs)
    expected = undisturbed(here, *command)
    whole = Store.open(here.folder / "whole")
    epochs = sum(phase["epochs"] for record in whole.records() for task in record.tasks for phase in task.phases)
    here.start_nodes(LANES)
    more = ["--checkpoint-seconds", "0", "--stall-minutes", "1", "--patience-minutes", "5"]
    siege = Siege(here, [*command, *more], expected, random.Random(seed))
    siege.start()
    besiege(siege, faults, minutes, epochs)
    siege.finish()
    problems = complaints(here, expected) + [f"{fault.kind}: {fault.wrong}" for fault in siege.faults if fault.wrong]
    if len(siege.faults) < faults:
        problems.append(f"only {len(siege.faults)} of {faults} faults were done: more --minutes or --runs")
    return lines(siege), problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, print and keep the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--faults", type=int, default=30)
    options = parser.parse_args(arguments)
    with world(ROOM if disk.possible() else 0) as here:
        table, problems = soak(here, options.seed, options.minutes, options.runs, options.faults)
        if problems:
            print(here.told(), file=sys.stderr)
    verdict = ["Not as it must be:", *(f"- {line}" for line in problems)] if problems else [
        "Every run has one record with the digest of the undisturbed run; no process and no file is left."]  # fmt: skip
    from bench.machine import report

    report("soak", f"Faults at random, seed {options.seed}", [*table, "", *verdict])
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
