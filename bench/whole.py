"""How long a whole CIFAR-100 B0I10 GRACE run takes at the published recipe, measured epoch by epoch.

    python -m bench.whole [--precision bf16] [--engine compiled] [--epochs 6] [--images 500] [--full] [--merge]

Runs GRACE through all ten tasks on random images of CIFAR's size and count, a few epochs a phase, and multiplies the
median epoch of each phase (its first aside) by the published number; what a task costs besides (first epochs, views,
herding, saturation, evaluation, checkpoints) is taken as measured. Random images leave a branch unsaturated or not as
it happens, so both ends are measured: no task compresses (most branches), and with --merge every task does. With --full
every epoch is run. Fewer `--images` per class make it bearable on a CPU; times are scaled up by their number.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from dataclasses import fields, replace
from pathlib import Path
from statistics import median

import torch

from bench.cases import SPEC
from bench.machine import described, device, report, synchronise
from grace.methods import method
from grace.nets import backbone_factory
from grace.run import run_stream
from grace.streams.images import TensorImages
from grace.training.engine import PRECISIONS, WAYS, Engine
from grace.training.phase import Recipe
from grace.training.trainer import Progress
from suite.execute import exact
from suite.sweep import find_protocol

LEAST = 50  # images per class


class Clock:
    """Takes the time of every epoch."""

    def __init__(self) -> None:
        self.epochs: dict[tuple[int, str], list[float]] = defaultdict(list)
        self.last = time.perf_counter()

    def __call__(self, progress: Progress) -> bool:
        """Note how long it was since the last call."""
        synchronise()
        now = time.perf_counter()
        self.epochs[progress.task, progress.phase].append(now - self.last)
        self.last = now
        return False


def main() -> None:
    """Run, extrapolate and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16" if device().type == "cuda" else "fp32")
    parser.add_argument("--engine", choices=WAYS, default="compiled")
    parser.add_argument("--epochs", type=int, default=6, help="per phase, the first of which is not extrapolated")
    parser.add_argument("--images", type=int, default=500, help="training images per class; CIFAR-100 has 500")
    parser.add_argument("--full", action="store_true", help="run every epoch")
    parser.add_argument("--merge", action="store_true", help="compress in every task instead of none")
    options = parser.parse_args()
    if options.images < LEAST:
        parser.error(f"--images must be at least {LEAST}: a merged branch's batch norms need some steps to settle")
    where, protocol = device(), find_protocol("cifar100-b0i10")
    exact(torch.get_num_threads(), where, options.precision)
    learner_class, config_class = method("grace")
    published = config_class()
    recipes = {f.name: getattr(published, f.name) for f in fields(published)}
    recipes = {name: value for name, value in recipes.items() if isinstance(value, Recipe)}
    short = recipes if options.full else {n: replace(r, epochs=options.epochs) for n, r in recipes.items()}
    config = replace(published, **short, threshold=1.1 if options.merge else 0.0, decay=1.0)
    share = options.images / 500
    budget = replace(protocol.budget, exemplars=round(protocol.budget.exemplars * share))
    train, test = (_random(round(count * share), where) for count in (50_000, 10_000))
    learner = learner_class(config, backbone_factory(protocol.backbone), budget, where)
    clock = Clock()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        records = run_stream(
            learner, replace(protocol, budget=budget), train, test, seed=0, device=where, folder=Path(folder),
            observe=clock, engine=Engine(options.precision, options.engine),
        )  # fmt: skip
    measured = time.perf_counter() - start
    lines = ["| task | phase | epochs | first epoch, s | later epochs, s each | seconds |", "|---|---|---|---|---|---|"]
    whole = 0.0
    for (task, phase), times in clock.epochs.items():
        once = times[0]  # an evaluation, or a first epoch with what comes before it
        if phase == "evaluate":
            seconds = once
            lines.append(f"| {task} | herding, saturation, evaluation | | | | {seconds:.2f} |")
        else:
            epoch = median(times[1:]) if len(times) > 1 else once
            seconds = sum(times) if options.full else once + epoch * (recipes[phase].epochs - 1)
            lines.append(f"| {task} | {phase} | {recipes[phase].epochs} | {once:.2f} | {epoch:.3f} | {seconds:.1f} |")
        whole += seconds
    ways = sorted({phase["way"] for record in records for phase in record.phases})
    peak = (
        f"; at most {torch.cuda.max_memory_reserved() / 2**20:,.0f} MiB of GPU memory taken"
        if where.type == "cuda"
        else ""
    )
    ending = "every task compresses" if options.merge else "no task compresses"
    summary = (f"**{whole / share / 60:,.1f} minutes** for a run at the published recipe, {ending}, "
               f"{options.precision}, {', '.join(ways)}{peak}. "
               f"Measured: {measured:,.0f} s with {options.images} images per class"
               + ("." if options.full else f", {options.epochs} epochs a phase, extrapolated."))  # fmt: skip
    name = f"whole-{options.precision}-{'merge' if options.merge else 'grow'}"
    report(name, "A whole GRACE run on images of CIFAR-100's size, B0I10, ResNet-32", [summary, "", *lines])
    print(f"{whole / share / 60:.1f} minutes on {described()}")


def _random(count: int, where: torch.device) -> TensorImages:
    """Return random images, every class equally often."""
    x = torch.randint(0, 256, (count, 3, SPEC.size, SPEC.size), dtype=torch.uint8)
    return TensorImages(x.to(where), torch.arange(count) % 100, SPEC)


if __name__ == "__main__":
    main()
