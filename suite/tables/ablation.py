"""The table of one method's variants: the first line in figures, the others with their difference to it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from suite.errors import Exit, SuiteError
from suite.grouping import Row, differing, flat, settings_of
from suite.table import Block, Cell, Column, Entry, Line, Table
from suite.tables.catalogue import columns_of
from suite.tables.choice import Chosen
from suite.tables.filling import Layout, filled, text_of
from suite.tables.options import Options

COLUMNS = ("params_final", "memory_mb", "survey_mb", "avg", "last", "forget_max")
PLAIN = {"precision": '"fp32"', "workers": "1", "smoke": "false"}  # what runs have unless somebody says otherwise
Kind = tuple[str, str]  # a protocol's name, and settings as text
Settings = Mapping[str, str]  # flat, as JSON


def ablation(chosen: Chosen, options: Options) -> Table:
    """Return the variants of one method. Raises SuiteError where several methods have some, or none has."""
    rows = _of_one(chosen.rows)
    names, first = _names(rows)
    title = str(rows[0]["title"])
    columns = columns_of(options.columns or COLUMNS, rows, options.digits, reference="the first line")
    lacking = tuple(each for each in chosen.lacking if each.method == rows[0]["method"])
    note = f"In brackets: the difference to the first line, which has {first}; the others differ in what they name."
    labels = {row["key"]: names[_kind(row)] for row in rows}
    layout = Layout("ablation", f"Variants of {title}", columns, notes=(note,), labels=labels)
    table = filled(replace(chosen, rows=rows, lacking=lacking), layout)
    lines = sorted((line for block in table.blocks for line in block.lines), key=lambda line: line.variant != "")
    family = table.blocks[0].family
    return replace(table, blocks=(Block(family, tuple(_beside(line, lines[0], columns) for line in lines)),))


def _of_one(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the one method that has variants on some protocol."""
    kinds = defaultdict[str, dict[str, set[str]]](lambda: defaultdict(set))
    for row in rows:
        protocol, text = _kind(row)
        kinds[row["method"]][protocol].add(text)
    several = sorted(method for method, own in kinds.items() if any(len(texts) > 1 for texts in own.values()))
    if not several:
        who = "no method has" if len(kinds) > 1 else f"{next(iter(kinds))} has not"
        raise SuiteError(f"table ablation needs runs of one method with different settings, which {who}; --set changes "
                         "a setting of a run", Exit.NOTHING)  # fmt: skip
    if len(several) > 1:
        raise SuiteError(f"table ablation is of one method; give -m with one of {', '.join(several)}", Exit.USAGE)
    return [row for row in rows if row["method"] == several[0]]


def _kind(row: Row) -> Kind:
    return row["protocol"], json.dumps(settings_of(row), sort_keys=True)


def _names(rows: Sequence[Row]) -> tuple[dict[Kind, str], str]:
    """Return what each kind of run is called, nothing for those of the first line, and what the first line has.

    The first line is the method as it usually is on each protocol. Where that is not known or was not run, it is the
    variant that differs least from the others, as the full method does in an ablation.
    """
    counts = Counter(map(_kind, rows))
    settings = {kind: flat(json.loads(kind[1])) for kind in counts}
    usual = {protocol: _usual(rows[0]["method"], protocol) for protocol, _ in counts}
    if all(usual.values()):
        changes = {kind: _changes(own, {**PLAIN, **usual[kind[0]]}) for kind, own in settings.items()}
        apart = set(differing(list(changes.values())))
        names = {kind: _said(changes[kind], apart) for kind in counts}
        if "" in names.values():
            common = _said(next(iter(changes.values())), set(next(iter(changes.values()))) - apart)
            return names, f"the usual settings of its protocol{f' but {common}' if common else ''}"

    def others(kind: Kind) -> tuple[int, int, Kind]:
        return sum(len(differing([settings[kind], own])) for own in settings.values()), -counts[kind], kind

    full = settings[min(settings, key=others)]
    first = _said(full, set(differing(list(settings.values()))))
    return {kind: _said(own, set(differing([full, own]))) for kind, own in settings.items()}, first


def _said(settings: Settings, names: set[str]) -> str:
    return " ".join(f"{name}={settings[name]}" for name in sorted(names) if name in settings)


def _changes(settings: Settings, usual: Settings) -> dict[str, str]:
    return {name: value for name, value in settings.items() if usual.get(name) != value}


def _usual(method: str, protocol: str) -> Settings:
    from suite.sweep import usual_settings  # takes longer to import than the other tables take

    return flat(usual_settings(method, protocol) or {})


def _beside(line: Line, first: Line, columns: Sequence[Column]) -> Line:
    """Return a line with its differences to the first."""
    if line is first:
        return line
    entries = []
    for entry, of in zip(line.entries, first.entries, strict=True):
        cells = [_less(cell, other, column) for cell, other, column in zip(entry.cells, of.cells, columns, strict=True)]
        entries.append(Entry(tuple(cells), entry.n, entry.missing, entry.short, entry.failed, entry.reason))
    return replace(line, entries=tuple(entries))


def _less(cell: Cell, first: Cell, column: Column) -> Cell:
    if cell.value is None or first.value is None or not column.best:
        return cell
    return replace(cell, delta=text_of(cell.value - first.value, column, "+"))
