"""`show`: one protocol, method, dataset or backbone in full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from suite.account import MIB
from suite.cli.facts import Facts, facts_of
from suite.cli.listing import grid, shown
from suite.cli.numbers import numbers, numbers_of
from suite.cli.settings import Settings
from suite.cli.verbs import Several, Verb
from suite.cli.wanted import seeds_of
from suite.cli.words import count
from suite.sweep import load_protocols

GROWTH = {
    "fixed": "one, whatever the number of tasks",
    "per-task": "one per task",
    "data": "between one and one per task, as the images decide",
}
EXEMPLARS = {True: "kept within the protocol's memory", False: "none"}


@click.command(cls=Verb, name="show")
@click.argument("name")
@click.option("--orders", cls=Several, metavar="LIST", help="Seeds of the class orders to show (default 1993).")
@click.pass_obj
def command(settings: Settings, name: str, orders: tuple[str, ...]) -> None:
    """One protocol, method, dataset or backbone in full."""
    load_protocols(settings.protocols)
    facts = facts_of(name, seeds_of("orders", orders or ["1993"]))
    entries = numbers_of(facts)
    if settings.json:
        about = {} if entries is None else {"published": [entry.plain() for entry in entries]}
        settings.emit(facts | about)
        return
    parts = {"method": method, "protocol": protocol, "dataset": dataset, "backbone": backbone}[facts["kind"]](facts)
    settings.out.print(Text.assemble((facts["name"], "bold cyan"), f"  {facts['kind']}"))
    for part in parts:
        settings.out.print(part)
    for part in numbers(facts, entries or []):
        settings.out.print(part)


def method(facts: Facts) -> Iterable[RenderableType]:
    """Say what a method does and what can be set."""
    yield Text(facts["about"])
    yield ""
    yield Text(facts["doc"])
    yield ""
    memory = (
        "every image of every class seen: an upper bound" if facts["cumulative"] else EXEMPLARS[facts["uses_memory"]]
    )
    yield pairs(
        {
            "family": facts["family"],
            "reference": facts["reference"],
            "backbones": GROWTH[facts["growth"]],
            "exemplars": memory,
            "source": facts["module"],
        }
    )
    yield ""
    rows = [
        {"setting": f["field"], "default": setting(f["default"]), "where from": f["comment"]} for f in facts["fields"]
    ]
    yield grid(["setting", "default", "where from"], rows, wrapped=("default",))
    yield Text(f"\nset one with --set method.{facts['name']}.FIELD=VALUE", style="dim")
    if facts["presets"]:
        names = list(dict.fromkeys(name for each in facts["presets"] for name in each["values"]))
        yield ""
        yield grid(
            ["preset for", *names],
            [{"preset for": p["protocol"]} | {n: str(p["values"].get(n, "")) for n in names} for p in facts["presets"]],
        )


def protocol(facts: Facts) -> Iterable[RenderableType]:
    """Say how a protocol's classes arrive and with what they are learned."""
    of, net, memory = facts["dataset"], facts["backbone"], facts["memory"]
    side = of["size"]
    room = "" if memory["bytes"] is None else f", {memory['bytes'] / 2**20:.2f} MiB"
    each = "per class" if memory["per"] == "class" else "in total"
    yield pairs(
        {
            "stream": facts["stream"],
            "dataset": f"{of['name']}: {of['classes']} classes, {side}x{side}x{of['channels']}{images(of)}",
            "backbone": f"{net['name']}: {net['parameters']:,} parameters, {net['width']} features",
            "memory": _memory(facts) or f"{count(memory['exemplars'], 'exemplar')} {each}{room}",
            "views": views(facts["augmentation"]),
            "schedule": "" if facts["schedule"] == 1 else f"{facts['schedule']:g} of every recipe's epochs",
            "source": facts["source"],
        }
        | {f"{name} preset": found["source"] for name, found in facts["presets"].items()}
    )
    if facts["alignment"] and facts["alignment"]["bytes"] is not None:
        yield ""
        yield grid(
            ["method", "backbone", "backbones", "exemplars", ""], [_share(s) for s in facts["alignment"]["shares"]]
        )
    for seed, order in facts["orders"].items():
        yield ""
        rows, start = [], 0
        for task in facts["tasks"]:
            labels = order[start : task["seen"]]
            rows.append({**task, "per class": task["exemplars_per_class"], "labels": " ".join(map(str, labels))})
            start = task["seen"]
        fields = ["task", "classes", "seen", *([] if facts["alignment"] else ["per class"]), "labels"]
        table = grid(fields, rows)
        if not facts["alignment"]:
            table.columns[3].header = "exemplars/class"
        table.columns[-1].header = f"original labels, order {seed}"
        table.columns[-1].overflow = "fold"
        yield table


def _memory(facts: Facts) -> str:
    """Say how much memory every method gets on an aligned protocol; nothing on others."""
    found = facts["alignment"]
    if not found:
        return ""
    size = (
        f"what a run of {found['measured_of']} holds" if found["bytes"] is None else f"{found['bytes'] / MIB:.2f} MiB"
    )
    return f"{size} for every method: 4 bytes a backbone parameter, and the exemplars' pixels (survey)"


def _share(found: Facts) -> Facts:
    """Return a method's share as a line of the grid."""
    backbones = "as the images decide" if found["backbones"] is None else str(found["backbones"])
    exemplars = "" if found["exemplars"] is None else f"{found['exemplars']:,}"
    return {**found, "backbones": backbones, "exemplars": exemplars, "": found["reason"]}


def dataset(facts: Facts) -> Iterable[RenderableType]:
    """Say what a dataset's images are."""
    side = facts["size"]
    yield pairs(
        {
            "read as": facts["read_as"],
            "classes": shown(facts["classes"]),
            "images": images(facts).removeprefix(", "),
            "smallest": f"{facts['per_class']:,} training images in the smallest class" if facts["per_class"] else "",
            "input": f"{side}x{side}x{facts['channels']}, {facts['bytes_per_exemplar']:,} bytes an exemplar",
            "mean": spaced(facts["mean"]),
            "std": spaced(facts["std"]),
            "views": views(facts["augmentation"]),
            "subset": facts["subset"],
            "path": facts["path"],
            "source": facts["source"],
            "licence": facts["licence"],
            "protocols": ", ".join(facts["protocols"]),
        }
    )


def backbone(facts: Facts) -> Iterable[RenderableType]:
    """Say what a backbone is."""
    yield pairs(
        {
            "about": facts["about"],
            "parameters": f"{facts['parameters']:,}",
            "features": f"{facts['width']:,}",
            "images": f"from {facts['smallest']} pixels",
            "protocols": ", ".join(facts["protocols"]),
        }
    )


def pairs(facts: Mapping[str, str]) -> Table:
    """Return names and what they are, one a line; what is empty is left out."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        if fact:
            table.add_row(name, fact)
    return table


def images(facts: Mapping[str, Any]) -> str:
    """Return how many images a dataset has, as far as that is declared."""
    words = {"train_images": "training", "test_images": "test"}
    return "".join(f", {facts[key]:,} {word} images" for key, word in words.items() if facts[key] is not None)


def views(view: Mapping[str, Any]) -> str:
    """Return the random part of the training view in words, in the order of its application."""
    crop = {"pad": f"padding {view['padding']}, random crop", "resized": "random resized crop", "none": ""}
    parts = [
        crop[view["crop"]],
        "flip" if view["flip"] else "",
        f"brightness {view['brightness']:.3g}" if view["brightness"] else "",
        "AutoAugment" if view["autoaugment"] else "",
        f"cutout {view['cutout']}" if view["cutout"] else "",
    ]
    return ", ".join(part for part in parts if part) or "none"


def setting(value: Any) -> str:
    """Return a setting's value; a recipe in words."""
    if not isinstance(value, Mapping):
        return str(value)
    falls = " ".join(map(str, value["milestones"]))
    rate = f"x{value['gamma']:g} after {falls}" if falls else "cosine"
    return (
        f"{count(value['epochs'], 'epoch')}, lr {value['lr']:g} {rate}, weight decay {value['weight_decay']:g}, "
        f"momentum {value['momentum']:g}, batch {value['batch_size']}"
    )


def spaced(values: Iterable[float]) -> str:
    """Return numbers with spaces between them."""
    return " ".join(f"{value:g}" for value in values)
