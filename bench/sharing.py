"""What runs that begin alike save by training their first task once: the same sweep with and without, in turns.

    python -m bench.sharing [PROTOCOL] [--epochs N]

Nine methods of one first-task recipe, by default on digits-b0i2 (UCI digits, five tasks of two classes), every recipe
cut to N epochs, one run after the other in one process. Said are processor times, which other programs disturb least,
how many first tasks and epochs were trained, and whether the records agree bit for bit.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.machine import described
from suite import local
from suite.launch import LaunchOptions
from suite.plan import plan
from suite.store import Store
from suite.sweep import Sweep

METHODS = ["der", "ewc", "finetune", "grace", "icarl", "joint", "lwf", "replay", "wa"]
ROUNDS = 3


def main() -> None:
    """Print the times of each round, their ratio and how many first tasks were trained."""
    parser = argparse.ArgumentParser()
    parser.add_argument("protocol", nargs="?", default="digits-b0i2")
    parser.add_argument("--epochs", type=int, default=20)
    asked = parser.parse_args()
    print(described())
    sweep = Sweep(methods=METHODS, protocols=[asked.protocol], seeds=[0], limit_epochs=asked.epochs)
    print("| round | shared, s | not, s | ratio | first tasks trained, shared | not | epochs, shared | not | records |")
    print("|---|---|---|---|---|---|---|---|---|")
    _warm(sweep)
    ratios = []
    for number in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            took, digests, firsts, trained = {}, {}, {}, {}
            for share in (True, False) if number % 2 else (False, True):  # neither is always the first
                root = Path(folder) / str(share)
                store = Store.open(root, write=True)
                runs = [run.spec for run in plan(sweep, store).left]
                options = LaunchOptions(root=root, data=root, address="none", gpus_per_run=0, share=share)
                started = time.process_time()
                local.launch(runs, options, lambda event: None, lambda: False)
                took[share] = time.process_time() - started
                records = list(store.records())
                digests[share] = sorted(record.digest() for record in records)
                phases = [phase for record in records for task in record.tasks for phase in task.phases]
                firsts[share] = len(records) - sum("shared" in phase for phase in phases)
                trained[share] = sum(phase["epochs"] for phase in phases if "shared" not in phase)
            ratios.append(took[True] / took[False])
            counts = f"{firsts[True]} | {firsts[False]} | {trained[True]} | {trained[False]}"
            same = "equal" if digests[True] == digests[False] else "DIFFER"
            print(
                f"| {number} | {took[True]:.1f} | {took[False]:.1f} | {ratios[-1]:.2f} | {counts} | {same} |",
                flush=True,
            )
    print(f"ratio: median {median(ratios):.2f}")


def _warm(sweep: Sweep) -> None:
    """Have one run imported, loaded and begun before anything is timed."""
    with tempfile.TemporaryDirectory() as folder:
        root, one = Path(folder), sweep.model_copy(update={"methods": METHODS[:1], "limit_epochs": 1})
        options = LaunchOptions(root=root, data=root, address="none", gpus_per_run=0)
        runs = [run.spec for run in plan(one, Store.open(root, write=True)).left]
        local.launch(runs, options, lambda event: None, lambda: False)


if __name__ == "__main__":
    main()
