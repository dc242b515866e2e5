"""What a plan says about its runs on a machine: how many share a GPU, their memory there, how far a budget reaches."""

from __future__ import annotations

from typing import Any

from suite.again import Again
from suite.cli.scheduling import about_failed
from suite.cli.words import count
from suite.launch import HERE
from suite.ordering import in_order, meant
from suite.packing import GIB, MOST, Peak, on_each, shared
from suite.plan import Plan, Planned
from suite.spending import budget, needs_gpu, reach
from suite.sweep import Launch, Sweep


def facts(sweep: Sweep, found: Plan) -> dict[str, str]:
    """Return what there is to say, by name; raises SuiteError for a priority or a budget that cannot be meant."""
    launch, told = sweep.launch, {}
    order = in_order(found.left, meant(launch.priority, found), longest=launch.address != HERE)
    if launch.gpus_per_run:
        what = "run" if sweep.workers == 1 else "worker"
        told["at once"] = f"{count(on_each(launch.gpus_per_run), what)} on each GPU"
    if (peak := _most(found)) and launch.gpus_per_run != 0:
        told["memory"] = _memory(peak, launch.gpus_per_run, _unmeasured(found))
    if launch.budget:
        told["budget"] = f"{budget(launch.budget)}: {_reached(sweep, order)}"
    return told


def as_json(sweep: Sweep, found: Plan) -> dict[str, Any]:
    """Return the same as scripts read it; null is unknown, or not asked for."""
    launch, peak = sweep.launch, _most(found)
    order = in_order(found.left, meant(launch.priority, found), longest=launch.address != HERE)
    enough, known = _reach(sweep, order) if launch.budget else (None, None)
    return {
        "runs_on_each_gpu": on_each(launch.gpus_per_run) if launch.gpus_per_run else None,
        "gpu_memory": peak and {"method": peak.method, "protocol": peak.protocol, "peak_bytes": peak.size,
                                "device": peak.device, "device_bytes": peak.total, "fit": peak.runs},
        "budget": {"given": launch.budget, "reaches": enough, "timed": known} if launch.budget else None,
    }  # fmt: skip


def failed(sweep: Sweep, found: Plan) -> list[str]:
    """Say how much room runs get that were out of memory."""
    return about_failed(Again(None, sweep.launch.gpus_per_run, sweep.launch.address), found.left)


def _most(found: Plan) -> Peak | None:
    """Return the highest of the peaks of the runs left."""
    return max((run.peak for run in found.left if run.peak), key=lambda peak: peak.size, default=None)


def _unmeasured(found: Plan) -> int:
    return sum(run.peak is None for run in found.left)


def _memory(peak: Peak, share: float | None, unmeasured: int) -> str:
    """Say what finished runs took, and which share of such a GPU would do."""
    text = f"finished runs of {peak.method} on {peak.protocol} peaked at {peak.size / GIB:.1f} GiB"
    if peak.runs is not None and peak.total is not None:
        gpu = f"{peak.device} of {peak.total / GIB:.0f} GiB"
        if peak.runs <= 1:
            text += f": a run wants {gpu} to itself"
        elif share and peak.runs < min(on_each(share), MOST):
            text += f": {share:g} is too little on {gpu}, {shared(peak.runs):g} would fit ({peak.runs} at once)"
        else:
            text += f": {shared(peak.runs):g} would fit on {gpu} ({peak.runs} at once)"
    return text + (f"; unknown for {count(unmeasured, 'run')}" if unmeasured else "")


def _reached(sweep: Sweep, order: list[Planned]) -> str:
    """Say how many runs a budget is enough for."""
    launch = sweep.launch
    enough, known = _reach(sweep, order)
    if not known:
        return "how far it reaches is unknown: no finished run to judge by"
    slow = "" if _at_once(launch) or budget(launch.budget).unit != "h" else ", one after the other"
    runs = f"about {enough:,} of {known:,} runs" if enough < known else f"enough for {count(known, 'run')}"
    return f"{runs}{slow}, by finished runs" + (
        f"; unknown for {count(len(order) - known, 'run')}" if len(order) > known else ""
    )


def _at_once(launch: Launch) -> int | None:
    """Return how many runs are worked on at a time, as far as that is known without the machine."""
    return 1 if launch.address == HERE else launch.max_concurrent


def _reach(sweep: Sweep, order: list[Planned]) -> tuple[int, int]:
    launch, workers = sweep.launch, sweep.workers
    wanted, gpus = budget(launch.budget), launch.gpus_per_run
    if wanted.unit == "gpuh" and gpus == 0:
        raise needs_gpu(wanted, "--gpus-per-run 0")
    held = {"gpuh": 1.0 if gpus is None else gpus, "cpuh": launch.cpus_per_run}
    each = held[wanted.unit] * workers if wanted.unit in held else 1 / (_at_once(launch) or 1)
    return reach(wanted, [run.seconds and sum(run.seconds) / 2 for run in order], each)
