"""`plan`: what a sweep would run, what of it is done, and what the rest would cost."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text

from grace.training.engine import PRECISIONS
from suite.cli import forecast
from suite.cli.launching import placed
from suite.cli.listing import grid
from suite.cli.scheduling import planned_options, typed
from suite.cli.settings import Settings
from suite.cli.verbs import Verb
from suite.cli.wanted import same, sweep_options, wanted
from suite.cli.words import count, duration, size, span
from suite.plan import Plan, Planned, plan
from suite.store import Store
from suite.sweep import Launch, Sweep, find_protocols


@click.command(cls=Verb, name="plan")
@sweep_options
@planned_options
@click.pass_obj
def command(settings: Settings, /, **options: Any) -> None:
    """What a sweep would run, what of it is done, and what the rest would cost. Runs nothing."""
    launch = {name: options.pop(name) for name in Launch.model_fields if name in options}
    sweep = placed(wanted(settings, **options), launch)
    store = Store.open(settings.root, write=False)
    found = plan(sweep, store)
    for warning in [*store.damaged, *found.broken]:
        settings.warn(warning)
    if settings.json:
        settings.emit(as_json(sweep, found))
        return
    show(settings, sweep, found)
    if found.left and not settings.quiet:
        settings.out.print(f"\nnext: {same('run', sweep, settings, options, *typed(launch))}", soft_wrap=True)


def as_json(sweep: Sweep, found: Plan) -> dict[str, Any]:
    """Return the plan as scripts read it; bounds are pairs, null is unknown."""
    return {
        "runs": [run.row() for run in found.runs],
        "total": len(found.runs),
        "done": len(found.runs) - len(found.left),
        "failed": sum(bool(run.failed) for run in found.left),
        "left": len(found.left),
        "epochs": found.total("epochs"),
        "images": found.total("images"),
        "parameters": [
            {"method": run.spec.method, "protocol": run.spec.protocol.name, "backbones": run.cost.parameters}
            for run in _kinds(found)
        ],
        "disk_bytes": found.disk,
        "seconds": None if found.untimed == len(found.left) else list(found.seconds),
        "untimed": found.untimed,
        **forecast.as_json(sweep, found),
        "notes": found.notes,
        "waiting": [{"run": wish.label, "reason": wish.reason, "for": wish.waits_for} for wish in found.waiting],
        "unmet": [{"run": wish.label, "reason": wish.reason} for wish in found.unmet],
    }


def show(settings: Settings, sweep: Sweep, found: Plan) -> None:
    """Print the plan for people."""
    out, left = settings.out, found.left
    foretold = forecast.facts(sweep, found)  # what cannot be meant should show before anything else does
    failed = sum(bool(run.failed) for run in left)
    states = [f"{len(found.runs) - len(left):,} done", f"{len(left):,} to run"]
    if failed:
        states.insert(1, f"{failed:,} failed before")
    protocols = {protocol.name for name in sweep.protocols for protocol in find_protocols(name)}
    others = len({run.spec.protocol.name for run in _kinds(found)} - protocols)
    factors = [
        count(len(set(sweep.methods)), "method"),
        count(len(protocols), "protocol"),
        count(len(sweep.orders), "order"),
        count(len(sweep.seeds), "seed"),
    ]
    if found.waiting:
        states.append(f"{len(found.waiting)} to follow")
    if found.unmet:
        states.append(f"{len(found.unmet)} beyond their budget")
    total = count(len(found.runs) + len(found.wishes), "run")
    if others:
        factors[-1] += f", and what they need on {count(others, 'other protocol')}"
    out.print(Text.assemble((total, "bold"), f" = {' x '.join(factors)}: {', '.join(states)}"))
    out.print()
    out.print(grid(["protocol", "method", "runs", "done", "epochs", "images", "parameters"], _rows(found)))
    out.print()
    out.print(Text("each per run; ranges depend on the images; parameters are those of the backbones", style="dim"))
    out.print()
    facts = {"to do": f"{count(len(left), 'run')}, {span(found.total('epochs'))} epochs, {_images(found)}"}
    if left:
        facts |= {"disk": "unknown" if found.disk is None else f"about {size(found.disk)} of predictions"}
        facts |= {"time": _time(found)}
    facts |= foretold
    if sweep.precision != "fp32":
        facts |= {"precision": f"{sweep.precision}: {PRECISIONS[sweep.precision]}"}
    if sweep.workers > 1:
        facts |= {"workers": f"{sweep.workers}: {_shared(found, sweep.workers)}"}
    if sweep.limit_epochs is not None:
        facts |= {
            "smoke": f"{count(sweep.limit_epochs, 'epoch')} a phase at most; tables leave these runs out unless asked"
        }
    for name, fact in facts.items():
        out.print(Text.assemble((f"{name:10}", "bold"), fact), soft_wrap=True)
    for note in found.notes:
        out.print(Text.assemble(("preset    ", "bold"), note), soft_wrap=True)
    for what, wishes in (("later", found.waiting), ("cannot", found.unmet)):
        told: dict[tuple[str, str, str], int] = {}
        for wish in wishes:
            told[wish.method, wish.protocol, wish.reason] = told.get((wish.method, wish.protocol, wish.reason), 0) + 1
        for (method, protocol, reason), number in told.items():
            times = f" ({count(number, 'run')})" if number > 1 else ""
            out.print(Text.assemble((f"{what:10}", "bold"), f"{method} {protocol}{times}: {reason}"), soft_wrap=True)
    for run in left:
        if run.failed:
            out.print(Text.assemble(("failed    ", "bold red"), f"{run.spec.label}: {run.failed}"), soft_wrap=True)
    for line in forecast.failed(sweep, found):
        out.print(Text.assemble(("again     ", "bold"), line), soft_wrap=True)


def _kinds(found: Plan) -> list[Planned]:
    """Return one run of each method on each protocol."""
    return list({_kind(run): run for run in reversed(found.runs)}.values())[::-1]


def _kind(run: Planned) -> tuple[str, str]:
    return run.spec.protocol.name, run.spec.method


def _rows(found: Plan) -> list[dict[str, Any]]:
    rows = []
    for kind in _kinds(found):
        same = [run for run in found.runs if _kind(run) == _kind(kind)]
        cost = kind.cost
        rows.append(
            {
                "protocol": kind.spec.protocol.name,
                "method": kind.spec.method,
                "runs": len(same),
                "done": sum(run.done for run in same),
                "epochs": span(cost.epochs),
                "images": span(cost.images),
                "parameters": span(cost.parameters),
            }
        )
    return rows


def _shared(found: Plan, workers: int) -> str:
    """Say what becomes of the batches of a run that several workers train."""
    recipes = [value for run in found.runs for value in run.spec.config.values() if isinstance(value, dict)]
    texts = []
    for images in sorted({recipe["batch_size"] for recipe in recipes if "batch_size" in recipe}):
        least, rest = divmod(images, workers)
        texts.append(f"global batch {images}, {f'{least} or {least + 1}' if rest else least} on each")
    return "; ".join([*texts, "another class of results than one worker's"])


def _images(found: Plan) -> str:
    images = found.total("images")
    return "images unknown until the data are read" if images is None else f"{span(images)} images"


def _time(found: Plan) -> str:
    """Say how long the rest takes, as far as finished runs tell."""
    if found.untimed == len(found.left):
        return "unknown: no finished run to judge by"
    low, high = map(duration, found.seconds)
    text = f"{low if low == high else f'{low} to {high}'} one after the other, by finished runs of the same kind"
    return text + (f"; unknown for {count(found.untimed, 'run')}" if found.untimed else "")
