"""Do the fast ways give the results of the plain one? Same runs, same seeds, once by each way, compared in pairs.

    python -m bench.agreement --data DIR [--root DIR]

Sweeps Replay and GRACE over Fashion-MNIST B0I2 on a small backbone and a short schedule, five training seeds, by the
ways and precisions below. Finished runs are kept: the same command goes on, and then prints the table again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import mean, stdev

from bench.machine import report
from suite.results import result_rows
from suite.store import Store

PROTOCOL = "fashion-mnist-b0i2+net=resnet8+m=2000"
METHODS = ("replay", "grace")
SEEDS = range(5)
PATHS = {"plain": ("fp32", "plain"), "fast": ("fp32", "compiled"), "bf16": ("bf16", "compiled")}
RECIPES = {"replay": ("initial", "later"), "grace": ("initial", "expand", "compress")}
EPOCHS, LR = 1, 0.03  # short, and gentle enough that old classes are not simply gone: where methods are told apart
METRICS = ("avg", "last")
T_95 = 2.776  # Student's t, two-sided 95 %, four degrees of freedom: five pairs


def sweep(path: str, root: Path, data: Path) -> None:
    """Do what is missing of one path's runs, two at a time on two cores."""
    precision, way = PATHS[path]
    settings = [
        part
        for method, recipes in RECIPES.items()
        for recipe, field in product(recipes, (f"epochs={EPOCHS}", f"lr={LR}"))
        for part in ("--set", f"method.{method}.{recipe}.{field}")
    ]
    command = [sys.executable, "run_suite.py", "run", "-m", *METHODS, "-p", PROTOCOL, "--seeds", f"0-{SEEDS[-1]}",
               *settings, "--precision", precision, "--engine", way, "--root", str(root / path), "--data", str(data),
               "--no-download"]  # fmt: skip
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(code)  # the command has said why


def lines(root: Path, paths: Sequence[str]) -> list[str]:
    """Return a Markdown table: per method and metric the means, and the paired differences from the plain way."""
    found = {}
    for path in paths:
        store = Store.open(root / path)
        for row in result_rows(map(store.read, store.keys())):
            found[path, row["method"], row["train_seed"]] = row
    table = ["| method | metric | path | mean, % | sd | minus plain: mean of pairs | 95 % interval | run, s |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for method, metric, path in product(METHODS, METRICS, paths):
        values = [100 * found[path, method, seed][metric] for seed in SEEDS]
        pairs = [v - 100 * found["plain", method, seed][metric] for v, seed in zip(values, SEEDS, strict=True)]
        half = T_95 * stdev(pairs) / len(pairs) ** 0.5
        seconds = mean(found[path, method, seed]["seconds"] for seed in SEEDS)
        interval = "" if path == "plain" else f"{mean(pairs) - half:+.2f} to {mean(pairs) + half:+.2f}"
        difference = "" if path == "plain" else f"{mean(pairs):+.2f}"
        table.append(f"| {method} | {metric} | {path} | {mean(values):.2f} | {stdev(values):.2f} | {difference} | "
                     f"{interval} | {seconds:.0f} |")  # fmt: skip
    return table


def main() -> None:
    """Sweep by every path and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with Fashion-MNIST")
    parser.add_argument("--root", type=Path, default=Path("results/agreement"))
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS), help="plain and what to compare")
    options = parser.parse_args()
    paths = list(dict.fromkeys(["plain", *options.paths]))
    for path in paths:
        sweep(path, options.root, options.data)
    report(
        "agreement",
        f"{PROTOCOL}: {len(SEEDS)} training seeds, {EPOCHS} epoch a phase, lr {LR}",
        lines(options.root, paths),
    )


if __name__ == "__main__":
    main()
