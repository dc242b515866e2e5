"""`make bench`: how fast training is, against the bare step and against the field's usual pipeline, side by side.

    python -m bench.speed [--minutes 12] [--backbone resnet32] [--precisions fp32,bf16]

(a) the bare step on a batch that is already there, (b) `Trainer.fit`, (c) the usual pipeline (bench/usual.py), for the
phases of GRACE on images of CIFAR's size, in rounds until the minutes are over; ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import median

import torch

from bench.cases import BATCH, CASES, SPEC, Case, bare, ours, traffic, usual
from bench.machine import ceilings, device, report
from bench.passes import passes
from bench.small_run import small_runs
from grace.nets import backbone_factory
from grace.nets.arithmetic import flops
from grace.training.engine import Engine
from suite.execute import exact

PLAIN = Engine("fp32", "plain")
SHORT = {"cpu": 2.0, "cuda": 1.0}  # seconds that one measurement should take, about
Samples = dict[tuple[str, str], list[float]]  # (case, what) -> images per second, one per round


def precisions() -> list[str]:
    """Return the precisions worth looking at on this device."""
    return ["fp32", "tf32", "bf16"] if torch.cuda.is_available() else ["fp32", "bf16"]


def measure(backbone: str, wanted: Sequence[str], minutes: float) -> Samples:
    """Return images per second of every case and kind, round after round while the time lasts; two rounds at least."""
    where, started = device(), time.monotonic()
    found: Samples = defaultdict(list)
    rounds = 0
    while True:
        begun = time.monotonic()
        for case in CASES:
            _round(case, backbone, wanted, where, found, first=rounds == 0)
        rounds += 1
        print(f"round {rounds}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        left = 60 * minutes - (time.monotonic() - started)
        if rounds >= 2 and left < time.monotonic() - begun:
            return found


def _round(case: Case, backbone: str, wanted: Sequence[str], where: torch.device, found: Samples, first: bool) -> None:
    threads = torch.get_num_threads()
    exact(threads, where, "fp32")
    rate = found[case.name, "(a) plain"][0] if not first else bare(case, backbone, PLAIN, where, 2)
    short = SHORT[where.type]
    steps = max(4, round(short * rate / BATCH))
    count = 5000 if where.type == "cuda" else 3 * BATCH  # images of an epoch
    epochs = max(2, round(short * rate / count))
    samples = {"(a) plain": bare(case, backbone, PLAIN, where, steps)}
    samples["(c) usual"] = usual(case, backbone, where, min(count, 2500))
    for precision in wanted:
        exact(threads, where, precision)
        engine = Engine(precision, "compiled")  # type: ignore[arg-type]
        before = bare(case, backbone, engine, where, steps)
        samples[f"(b) {precision}"] = ours(case, backbone, engine, where, count, epochs)
        # before and after: a machine that is shared does not keep its pace
        samples[f"(a) {precision}"] = (before + bare(case, backbone, engine, where, steps)) / 2
    exact(threads, where, "fp32")
    print(case.name, {kind: round(value) for kind, value in samples.items()}, file=sys.stderr, flush=True)
    for kind, value in samples.items():
        found[case.name, kind].append(value)


def ratio(found: Samples, case: str, above: str, below: str) -> str:
    """Return the median of the rounds' ratios with least and most."""
    each = [x / y for x, y in zip(found[case, above], found[case, below], strict=True)]
    return f"{median(each):.2f} ({min(each):.2f}-{max(each):.2f})"


def rates(found: Samples, wanted: Sequence[str]) -> list[str]:
    """Return the table of images per second and the ratios that matter."""
    heads = ["case", "(a) plain", "(c) usual", *(f"({x}) {p}" for p in wanted for x in "ab"),
             *(f"b/a {p}" for p in wanted), *(f"b/c {p}" for p in wanted)]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for case in CASES:
        cells = [case.name]
        cells += [f"{median(found[case.name, kind]):,.0f}" for kind in heads[1 : 3 + 2 * len(wanted)]]
        cells += [ratio(found, case.name, f"(b) {p}", f"(a) {p}") for p in wanted]
        cells += [ratio(found, case.name, f"(b) {p}", "(c) usual") for p in wanted]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def floors(found: Samples, backbone: str, wanted: Sequence[str], best: dict[str, float]) -> list[str]:
    """Return the table of operations and bytes per image, the least time that they need here, and what is taken."""
    lines = ["| case | MFLOP per image | MB per image, unfused | least, us: "
             + " / ".join(wanted) + " | taken by (b), us | times the least |", "|---|---|---|---|---|---|"]  # fmt: skip
    each = flops(backbone_factory(backbone)(), (3, SPEC.size, SPEC.size))
    for case in CASES:
        work, moved = (3 + case.frozen) * each, traffic(case, backbone)
        least = {p: work / best[f"{p} convolution, FLOP/s"] for p in wanted}
        taken = {p: 1 / median(found[case.name, f"(b) {p}"]) for p in wanted}
        lines.append(
            f"| {case.name} | {work / 1e6:.0f} | {moved / 1e6:.1f} | "
            + " / ".join(f"{1e6 * least[p]:.0f}" for p in wanted) + " | "
            + " / ".join(f"{1e6 * taken[p]:.0f}" for p in wanted) + " | "
            + " / ".join(f"{taken[p] / least[p]:.2f}" for p in wanted) + " |")  # fmt: skip
    return lines


def compiling(backbone: str, wanted: Sequence[str]) -> list[str]:
    """Return the table of what compiling gives a bare step of one branch and of nine at rest beside one."""
    where = device()
    steps = 6 if where.type == "cpu" else 200
    lines = ["| case | precision | eager, images/s | compiled, images/s | ratio |", "|---|---|---|---|---|"]
    for case in (CASES[0], CASES[3]):
        for precision in wanted:
            exact(torch.get_num_threads(), where, precision)
            eager, done = (bare(case, backbone, Engine(precision, way), where, steps)  # type: ignore[arg-type]
                           for way in ("eager", "compiled"))  # fmt: skip
            lines.append(f"| {case.name} | {precision} | {eager:,.0f} | {done:,.0f} | {done / eager:.2f} |")
    exact(torch.get_num_threads(), where, "fp32")
    return lines


def peaks(backbone: str) -> list[str]:
    """Return the largest memory of one process (with its workers) per case, measured in processes of their own."""
    kinds = {"(b) fp32": ("ours", "fp32"), "(b) bf16": ("ours", "bf16"), "(c)": ("usual", "fp32")}
    lines = ["| case | " + " | ".join(f"{kind} peak, MiB" for kind in kinds) + " |", "|---|" + "---|" * len(kinds)]
    for index in (0, 3, 4):
        begun = [subprocess.Popen([sys.executable, "-m", "bench.peak", *kind, str(index), backbone],
                                  stdout=subprocess.PIPE, text=True) for kind in kinds.values()]  # fmt: skip
        values = [process.communicate()[0].splitlines()[-1] for process in begun]
        lines.append(f"| {CASES[index].name} | " + " | ".join(values) + " |")
    return lines


def determinism(backbone: str) -> list[str]:
    """Return the table of what determinism costs a bare step of one branch, as torch has it and as it is used here."""
    where, taken = device(), dict[str, list[float]]()
    for _ in range(3):
        for name, (wanted, filled) in {"not asked for": (False, False), "asked for": (True, False),
                                       "asked for, fresh memory filled with NaN": (True, True)}.items():  # fmt: skip
            exact(torch.get_num_threads(), where, "fp32")
            torch.use_deterministic_algorithms(wanted)
            torch.utils.deterministic.fill_uninitialized_memory = filled
            rate = bare(CASES[0], backbone, Engine("fp32", "eager"), where, 8 if where.type == "cpu" else 150)
            taken.setdefault(name, []).append(rate)
    exact(torch.get_num_threads(), where, "fp32")
    free = taken["not asked for"]
    lines = ["| deterministic algorithms | images/s | time of a step over that without |", "|---|---|---|"]
    for name, values in taken.items():
        each = [f / v for f, v in zip(free, values, strict=True)]
        lines.append(f"| {name} | {median(values):,.0f} | {median(each):.3f} ({min(each):.3f}-{max(each):.3f}) |")
    return lines


def _told(name: str, section: Callable[[str], list[str]], backbone: str) -> list[str]:
    """Return a section of the report, having told how long it took."""
    begun = time.monotonic()
    lines = section(backbone)
    print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return lines


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="for the rounds; the rest takes about four more")
    parser.add_argument("--backbone", default="resnet32")
    parser.add_argument("--precisions", default=",".join(precisions()))
    options = parser.parse_args()
    wanted = options.precisions.split(",")
    torch.set_num_threads(os.cpu_count() if device().type == "cpu" else torch.get_num_threads())
    exact(torch.get_num_threads(), device(), "fp32")
    best = ceilings([p for p in wanted if p != "tf32"])
    if "tf32" in wanted:
        exact(torch.get_num_threads(), device(), "tf32")
        best |= {k.replace("fp32", "tf32"): v for k, v in ceilings(["fp32"]).items() if "fp32 conv" in k}
        exact(torch.get_num_threads(), device(), "fp32")
    found = measure(options.backbone, wanted, options.minutes)
    sections = {"passes": passes, "small": lambda _: small_runs(), "peaks": peaks, "determinism": determinism,
                "compiling": lambda backbone: compiling(backbone, wanted)}  # fmt: skip
    rest = {name: _told(name, section, options.backbone) for name, section in sections.items()}
    lines = ["## Images per second", "", f"{options.backbone}, batches of {BATCH}, median of "
             f"{len(next(iter(found.values())))} rounds; ratios as median (least-most) over the rounds.", "",
             *rates(found, wanted), "", "## The floor", "",
             "Measured ceilings: " + "; ".join(f"{k} {v:.3g}" for k, v in best.items()) + ".", "",
             *floors(found, options.backbone, wanted, best), "", "## Passes without training", "",
             *rest["passes"], "", "## A whole small GRACE run", "", *rest["small"], "", "## Peak memory", "",
             *rest["peaks"], "", "## Compiling", "", *rest["compiling"], "", "## Determinism", "",
             *rest["determinism"]]  # fmt: skip
    report("speed", f"Training speed, {options.backbone}", lines)


if __name__ == "__main__":
    main()
