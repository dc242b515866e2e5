"""`list`: the names of one kind, or of all four."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import click
from rich.table import Table
from rich.text import Text

import protocols
from grace.methods import METHODS
from grace.nets import BACKBONES
from grace.streams.registry import DATASETS
from suite.cli.settings import Settings
from suite.cli.verbs import OneOf, Verb
from suite.declared import declared
from suite.sweep import load_protocols

Row = dict[str, Any]


def protocol_rows() -> list[Row]:
    """Return what `list` says of each registered protocol."""
    found = (protocols.get(name) for name in protocols.names())
    return [
        {
            "name": protocol.name,
            "dataset": protocol.dataset.name,
            "tasks": protocols.describe(protocol),
            "increments": list(protocol.increments),
            "memory": str(protocol.budget),
            "backbone": protocol.backbone,
            "source": protocol.source,
        }
        for protocol in found
    ]


def method_rows() -> list[Row]:
    """Return what `list` says of each method, family by family."""
    found = sorted(map(declared, METHODS), key=lambda method: (method.family, method.title.lower()))
    return [
        {
            "name": method.name,
            "title": method.title,
            "family": method.family,
            "reference": method.reference,
            "growth": method.growth,
            "uses_memory": method.uses_memory,
            "cumulative": method.cumulative,
            "about": method.about,
        }
        for method in found
    ]


def dataset_rows() -> list[Row]:
    """Return what `list` says of each dataset."""
    return [
        {
            "name": spec.name,
            "kind": spec.kind,
            "classes": spec.classes,
            "size": spec.size,
            "channels": spec.channels,
            "train_images": spec.train_images,
            "test_images": spec.test_images,
            "licence": spec.licence,
            "source": spec.source,
        }
        for spec in DATASETS.values()
    ]


def backbone_rows() -> list[Row]:
    """Return what `list` says of each backbone."""
    return [
        {
            "name": name,
            "parameters": entry.parameters,
            "width": entry.width,
            "smallest": entry.smallest,
            "about": entry.about,
        }
        for name, entry in BACKBONES.items()
    ]


KINDS: dict[str, Callable[[], list[Row]]] = {
    "protocols": protocol_rows,
    "methods": method_rows,
    "datasets": dataset_rows,
    "backbones": backbone_rows,
}
COLUMNS = {  # shown to people; --json has all
    "protocols": ["name", "tasks", "memory", "backbone"],
    "methods": ["name", "title", "family", "reference", "about"],
    "datasets": ["name", "classes", "size", "train_images", "test_images", "kind"],
    "backbones": ["name", "parameters", "about"],
}
FOOTERS = {
    "protocols": "Any DATASET-bBASEiINCREMENT is one; +net=BACKBONE, +aa, +cache256, +shots=N, +m=N[/class] vary it.",
    "methods": "",
    "datasets": "size: side of the input, pixels. A dataset of your own: new protocol.",
    "backbones": "",
}


@click.command(cls=Verb, name="list")
@click.argument("kind", type=OneOf("kind of name", KINDS), required=False)
@click.pass_obj
def command(settings: Settings, kind: str | None) -> None:
    """Names of KIND: protocols, methods, datasets or backbones; without it, of all four."""
    load_protocols(settings.protocols)
    kinds = [kind] if kind else list(KINDS)
    rows = {each: KINDS[each]() for each in kinds}
    if settings.json:
        settings.emit(rows[kind] if kind else rows)
        return
    out = settings.out
    for i, each in enumerate(kinds):
        if i:
            out.print()
        if not kind:
            out.print(Text(each.upper(), style="bold"))
        out.print(grid(COLUMNS[each], rows[each]))
        if FOOTERS[each] and not settings.quiet:
            out.print(Text(FOOTERS[each], style="dim"))


def grid(columns: Sequence[str], rows: Sequence[Row], wrapped: Sequence[str] = ()) -> Table:
    """Return rows as a table without lines; figures stand right, `wrapped` columns and the last one may be broken."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        figures = all(re.fullmatch(r"[\d.,]+|-", shown(row[column])) for row in rows)
        table.add_column(
            column.replace("_", " "),
            justify="right" if figures else "left",
            overflow="fold",
            no_wrap=column not in wrapped and i < len(columns) - 1,
            style="cyan" if i == 0 else None,
        )
    for row in rows:
        table.add_row(*(shown(row[column]) for column in columns))
    return table


def fitting(columns: Sequence[str], rows: Sequence[Row], width: int, spare: Sequence[str]) -> list[str]:
    """Return the columns without as many of the `spare` ones, first to last, as it takes to fit the width."""
    left = list(columns)
    needs = {column: max(len(column), *(len(shown(row[column])) for row in rows)) + 2 for column in columns}
    for column in spare:
        if sum(needs[name] for name in left) > width:
            left.remove(column)
    return left


def shown(value: Any) -> str:
    """Return a cell: thousands separated, a dash for what is unknown."""
    if value is None or value == "":
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)
