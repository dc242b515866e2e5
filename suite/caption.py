"""What stands below a table: what its columns mean, where its numbers come from, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from suite.grouping import Row


def about(row: Row) -> str:
    """Return a run's protocol in words: `10 tasks, 100 classes, resnet32, 2000 exemplars`."""
    number, _, per = row["memory"].partition("/")
    kept = f"{number} exemplars{f' per {per}' if per else ''}"
    return f"{_count(row['tasks'], 'task')}, {row['classes']} classes, {row['backbone']}, {kept}"


def definitions(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return what each column is."""
    titles: dict[str, set[str]] = {}
    for row in rows:
        titles.setdefault(row["readout"], set()).add(row["title"])
    titles.pop("linear", None)
    readouts = "".join(f"; {readout} readout: {', '.join(sorted(of))}" for readout, of in sorted(titles.items()))
    return (
        "Avg: mean over tasks of the top-1 accuracy on all classes seen, first task included, in %. "
        f"Last: that accuracy after the last task{readouts}.",
        "Forgetting: mean over earlier tasks of the best accuracy reached (last task included) minus the final one, "
        "in points; lower is better.",
        "n: runs, each with its own class order or training seed; \N{PLUS-MINUS SIGN}: sample standard deviation "
        "over them (divisor n - 1).",
        "#P: parameters kept after the last task, in millions; MB: 2^20 bytes of network and exemplars kept then.",
    )


def origins(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return which runs, settings and code the numbers are from."""
    if not rows:
        return ()
    orders, seeds = _distinct(rows, "order_seed"), _distinct(rows, "train_seed")
    commits = sorted({_code(row) for row in rows})
    where = f"code: {', '.join(commits)}; torch: {_listed(_distinct(rows, 'torch'))}"
    precisions = _distinct(rows, "precision")
    where += "" if precisions == ["fp32"] else f"; precision: {_listed(precisions)}"
    lines = [f"Class orders: {_listed(orders)}; training seeds: {_listed(seeds)}; {where}."]
    tuned: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row["preset"]:
            tuned.setdefault((row["title"], row["preset"]), set()).add(row["protocol"])
    lines += [
        f"Settings of {title} on {', '.join(sorted(on))}: {source}." for (title, source), on in sorted(tuned.items())
    ]
    return tuple(lines)


def warnings(rows: Sequence[Row], left_out: int) -> tuple[str, ...]:
    """Return what makes numbers less comparable than they look. `left_out` is how many smoke runs are not shown."""
    lines = [f"{_count(left_out, 'smoke run')} left out"] if left_out else []
    if any(row["smoke"] for row in rows):
        lines.append("smoke runs are shown: their epochs were limited, they are no results")
    for what, field in (("torch", "torch"), ("devices", "device"), ("precisions", "precision")):
        values = _distinct(rows, field)
        if len(values) > 1:
            lines.append(f"unlike environments: {what} {_listed(values)}")
    by_stream: dict[tuple[str, int], set[str]] = {}
    for row in rows:
        by_stream.setdefault((row["protocol"], row["order_seed"]), set()).add(str(row["data"]))
    for stream in sorted({protocol for (protocol, _), data in by_stream.items() if len(data) > 1}):
        lines.append(f"{stream}: the runs did not see the same images (fingerprints differ)")
    return (*lines, *_unpaired(rows))


def _unpaired(rows: Sequence[Row]) -> Iterable[str]:
    """Yield protocols on which methods have equally many runs, but not of the same orders and seeds."""
    for stream in sorted({(row["protocol"], row["protocol_id"]) for row in rows}):
        seeds: dict[str, set[tuple[int, int]]] = {}
        for row in rows:
            if (row["protocol"], row["protocol_id"]) == stream:
                seeds.setdefault(row["method"], set()).add((row["order_seed"], row["train_seed"]))
        if any(len(a) == len(b) and a != b for a in seeds.values() for b in seeds.values()):
            yield f"{stream[0]}: methods were run with different class orders or seeds"


def _distinct(rows: Sequence[Row], field: str) -> list[Any]:
    return sorted({row[field] for row in rows if row[field] is not None})


def _listed(values: Sequence[Any]) -> str:
    """Return numbers as people list them: 0-4 for five in a row."""
    if len(values) > 2 and all(isinstance(v, int) for v in values) and values[-1] - values[0] == len(values) - 1:
        return f"{values[0]}-{values[-1]}"
    return ", ".join(map(str, values))


def _code(row: Row) -> str:
    commit = f"commit {row['commit'][:10]}" if row["commit"] else f"version {row['version'] or 'unknown'}"
    return f"{commit}{' with changes' if row['dirty'] else ''}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
