"""What stands below a table: what its columns mean, where its numbers come from, and what to beware of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from suite.grouping import Row

MOST = 12  # values of one kind that are listed


def about(row: Row) -> str:
    """Return a run's protocol in words: `10 tasks, 100 classes, resnet32, 2000 exemplars`."""
    if row.get("budget_mb") is not None:
        return f"{_count(row['tasks'], 'task')}, {row['classes']} classes, budget {row['budget_mb']:.2f} MiB"
    number, _, per = row["memory"].partition("/")
    kept = f"{number} exemplars{f' per {per}' if per else ''}"
    return f"{_count(row['tasks'], 'task')}, {row['classes']} classes, {row['backbone']}, {kept}"


def origins(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return which runs, settings, protocols and code the numbers are from."""
    if not rows:
        return ()
    orders, seeds = _distinct(rows, "order_seed"), _distinct(rows, "train_seed")
    commits = sorted({_code(row) for row in rows})
    where = f"code: {_few(commits)}; torch: {_few(_distinct(rows, 'torch'))}"
    precisions = _distinct(rows, "precision")
    where += "" if precisions == ["fp32"] else f"; precision: {_few(precisions)}"
    workers = _distinct(rows, "workers")
    where += "" if workers == [1] else f"; workers of a run: {_few(workers)}"
    lines = [f"Class orders: {_listed(orders)}; training seeds: {_listed(seeds)}; {where}."]
    ids = sorted({(row["protocol"], row["protocol_id"]) for row in rows})
    lines.append(f"Protocols by hash: {', '.join(f'{name} #{id_}' for name, id_ in ids)}.")
    tuned: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row["preset"]:
            # a preset that is only near names the protocol again: that would be a line per protocol
            source = re.sub(r" for [^ ]+\)$", ")", row["preset"])
            tuned.setdefault((row["title"], source), set()).add(row.get("base_protocol") or row["protocol"])
    lines += [
        f"Settings of {title} on {', '.join(sorted(on))}: {source}." for (title, source), on in sorted(tuned.items())
    ]
    return tuple(lines)


def warnings(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return what makes numbers less comparable than they look."""
    lines = []
    if any(row["smoke"] for row in rows):
        lines.append("smoke runs are shown: their epochs were limited, they are no results")
    for what, name in (("torch", "torch"), ("device", "devices"), ("precision", "precisions"), ("workers", "workers")):
        values = _distinct(rows, what)
        if len(values) > 1:
            lines.append(f"unlike environments: {name} {_few(values)}")
    by_stream: dict[tuple[str, int], set[str]] = {}
    for row in rows:
        by_stream.setdefault((row["protocol"], row["order_seed"]), set()).add(str(row["data"]))
    for stream in sorted({protocol for (protocol, _), data in by_stream.items() if len(data) > 1}):
        lines.append(f"{stream}: the runs did not see the same images (fingerprints differ)")
    return (*lines, *_unpaired(rows), *_unequally_tuned(rows))


def _unequally_tuned(rows: Sequence[Row]) -> Iterator[str]:
    """Yield protocols on which some methods' settings were searched for and those of others were not."""
    found: dict[tuple[str, str], dict[bool, set[str]]] = {}
    for row in rows:
        if not row["upper_bound"]:
            kinds = found.setdefault((row["protocol"], row["protocol_id"]), {})
            kinds.setdefault(bool(row.get("tuned_on")), set()).add(row["title"])
    for stream, kinds in sorted(found.items()):
        if len(kinds) == 2:
            yield f"{stream[0]}: settings of {', '.join(sorted(kinds[True]))} were tuned, those of others were not"


def _unpaired(rows: Sequence[Row]) -> Iterator[str]:
    """Yield protocols on which methods have equally many runs, but not of the same orders and seeds."""
    seeds: dict[tuple[str, str], dict[str, set[tuple[int, int]]]] = {}
    for row in rows:
        methods = seeds.setdefault((row["protocol"], row["protocol_id"]), {})
        methods.setdefault(row["method"], set()).add((row["order_seed"], row["train_seed"]))
    for stream, methods in sorted(seeds.items()):
        different = {frozenset(each) for each in methods.values()}
        if len({len(each) for each in different}) < len(different):
            yield f"{stream[0]}: methods were run with different class orders or seeds"


def _distinct(rows: Sequence[Row], field: str) -> list[Any]:
    return sorted({row[field] for row in rows if row[field] is not None})


def _listed(values: Sequence[Any]) -> str:
    """Return numbers as people list them: 0-4 for five in a row."""
    if len(values) > 2 and all(isinstance(v, int) for v in values) and values[-1] - values[0] == len(values) - 1:
        return f"{values[0]}-{values[-1]}"
    return _few(values)


def _few(values: Sequence[Any]) -> str:
    """Return a list, cut short where it would fill a page."""
    rest = len(values) - MOST
    return ", ".join(map(str, values[:MOST])) + (f" and {rest} more" if rest > 0 else "")


def _code(row: Row) -> str:
    commit = f"commit {row['commit'][:10]}" if row["commit"] else f"version {row['version'] or 'unknown'}"
    return f"{commit}{' with changes' if row['dirty'] else ''}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
