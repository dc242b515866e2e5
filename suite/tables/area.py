"""The table of areas under accuracy against memory: protocols across, without their ladders' points."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from protocols.alignment import points as ladder_of
from suite.auc import area as under
from suite.auc import over_span
from suite.grouping import Row, Stream, Wanted, variants
from suite.table import Column, Table
from suite.tables.choice import Chosen, alignment_of, base_of
from suite.tables.filling import Layout, filled, no_numbers
from suite.tables.options import Options

NOTES = (
    "Areas are taken of each seed that has all points of the ladder, and averaged then; accuracies are fractions in "
    "them, budgets 2^20 bytes by the convention survey.",
)
CURVES = (("AUC-A", "auc_a", "avg", "the mean over tasks of the accuracy on all classes seen"),
          ("AUC-L", "auc_l", "last", "the accuracy after the last task"))  # fmt: skip

ACCURACIES = [Column(field, field, field, 100, 1, "high") for _, _, field, _ in CURVES]


class Seed(NamedTuple):
    """What one method's runs over a ladder have in common."""

    base: str
    method: str
    variant: str
    order_seed: int
    train_seed: int


def area(chosen: Chosen, options: Options) -> Table:
    """Return AUC-A and AUC-L of every method, as published and divided by the span, for each protocol with a ladder."""
    ladders, seeds = _ladders(chosen), _seeds(chosen.rows)
    whole = {seed: runs for seed, runs in seeds.items() if runs.keys() == ladders[seed.base]}
    short = {seed: runs for seed, runs in seeds.items() if seed not in whole}
    rows = [_row(seed, runs) for seed, runs in whole.items()]
    columns, abouts = dict[Stream, tuple[Column, ...]](), dict[Stream, str]()
    by_base = defaultdict[str, list[Row]](list)
    for row in rows:
        by_base[row["protocol"]].append(row)
    for base, own in by_base.items():
        columns[base, ""], abouts[base, ""] = _columns(own, options.digits), _about(own[0])
    for base in ladders.keys() - by_base.keys():
        abouts[base, ""] = f"no seed has all {len(ladders[base])} points yet"
    remarks = (*chosen.remarks, *_incomplete(short, ladders), *no_numbers(chosen.rows, ACCURACIES))
    layout = Layout(
        preset="auc",
        title="Area under accuracy against memory",
        columns=_columns(rows, options.digits),
        by_protocol=columns,
        abouts=abouts,
        notes=NOTES,
        labels={row["key"]: row["variant"] for row in rows},
        sources=tuple(chosen.rows),
    )
    lacking = tuple(_lacking(chosen, short))
    return filled(Chosen(rows, lacking, remarks, chosen.why), layout)


def _ladders(chosen: Chosen) -> dict[str, set[str]]:
    """Return the points of each protocol's ladder: those of its backbone, and any that there are runs of."""
    found: dict[str, set[str]] = {}
    for name in {*(row["protocol"] for row in chosen.rows), *(each.protocol for each in chosen.lacking)}:
        base = base_of(name)
        if base not in found:
            try:
                found[base] = {alignment_of(point) for point in ladder_of(f"{base}+auc")}
            except ValueError:  # a protocol that is not at hand
                found[base] = set()
        found[base].add(alignment_of(name))
    return found


def _seeds(rows: Sequence[Row]) -> dict[Seed, dict[str, Row]]:
    """Return the runs of each seed by their points. Where a point has one variant alone, all variants share it."""
    labels, found = variants(rows), defaultdict[Seed, dict[str, Row]](dict)
    for row in rows:
        base, point = base_of(row["protocol"]), alignment_of(row["protocol"])
        own = found[Seed(base, row["method"], labels[row["key"]], row["order_seed"], row["train_seed"])]
        if point not in own or str(own[point].get("finished")) < str(row.get("finished")):
            own[point] = row
    told = {seed[:2] for seed in found if seed.variant}
    shared = [seed for seed in found if not seed.variant and seed[:2] in told]
    several = defaultdict[tuple[str, str], set[str]](set)
    for seed in found:
        several[seed[:2]] |= {seed.variant} - {""}
    for seed in shared:
        runs = found.pop(seed)
        for variant in several[seed[:2]]:
            own = found[seed._replace(variant=variant)]
            own |= {point: run for point, run in runs.items() if point not in own}
    return dict(found)


def _row(seed: Seed, runs: dict[str, Row]) -> dict[str, Any]:
    """Return a seed's runs over a ladder as one row of figures."""
    row: dict[str, Any] = {
        **next(iter(runs.values())),
        "key": "/".join(map(str, seed)),
        "protocol": seed.base,
        "protocol_id": "",
        "variant": seed.variant,
        "points": len(runs),
        "budgets": sorted(run["budget_mb"] for run in runs.values()),
    }
    for _, name, field, _ in CURVES:
        curve = {run["budget_mb"]: run[field] for run in runs.values() if run[field] is not None}
        row[name] = under(curve) if len(curve) == len(runs) else None
        row[f"{name}_span"] = over_span(curve) if len(curve) == len(runs) else None
    return row


def _columns(rows: Sequence[Row], digits: int) -> tuple[Column, ...]:
    found = []
    for title, name, _, what in CURVES:
        wide = any((row[name] or 0) >= 100 for row in rows)
        about = f"trapezoid rule over {what} against the budget, as published"
        found.append(Column(name, title, name, 1, 1 if wide else 2, "high", about))
        about = f"{title} divided by the span of the budgets: a mean accuracy, in %"
        found.append(Column(f"{name}_span", f"{title}/span", f"{name}_span", 100, digits, "high", about))
    return (*found, Column("points", "Points", "points", 1, 0, "", "budgets that the areas are over"))


def _about(row: Row) -> str:
    low, *_, high = row["budgets"]
    return f"{row['tasks']} tasks, {row['classes']} classes, {row['points']} budgets, {low:.2f}-{high:.2f} MiB"


def _incomplete(short: dict[Seed, dict[str, Row]], ladders: dict[str, set[str]]) -> Iterator[str]:
    """Yield whose seeds lack points, and which."""
    found = defaultdict[tuple[str, str], list[set[str]]](list)
    for seed, runs in short.items():
        title = f"{next(iter(runs.values()))['title']} {seed.variant}".rstrip()
        found[seed.base, title].append(ladders[seed.base] - runs.keys())
    alike = defaultdict[tuple[str, int, str], list[str]](list)
    for (base, title), lacking in sorted(found.items()):
        alike[base, len(lacking), ", ".join(sorted(set().union(*lacking)))].append(title)
    for (base, count, points), titles in alike.items():
        seeds = f"{count} seed{'' if count == 1 else 's'}{' each' if len(titles) > 1 else ''}"
        yield f"{', '.join(titles)} on {base}: {seeds} left out, without {points}"


def _lacking(chosen: Chosen, short: dict[Seed, dict[str, Row]]) -> Iterator[Wanted]:
    """Yield a missing run for each seed that lacks points: those with some of them, or else as many as were wanted."""
    units = defaultdict[tuple[str, str], list[Wanted]](list)
    for seed, runs in short.items():
        row = next(iter(runs.values()))
        about = row["title"], row["family"], row["reference"]
        units[seed.base, seed.method].append(Wanted("/".join(map(str, seed)), seed.method, seed.base, *about))
    wanted = defaultdict[tuple[str, str], dict[str, list[Wanted]]](lambda: defaultdict(list))
    for each in chosen.lacking:
        wanted[base_of(each.protocol), each.method][each.protocol].append(each)
    for (base, method), points in wanted.items():
        most = max(points.values(), key=len)
        reason = next((each.reason for runs in points.values() for each in runs if each.reason), "")
        own = units[base, method]
        if reason or len(most) > len(own):
            units[base, method] = [each._replace(protocol=base, reason=reason) for each in most]
    for unit in units.values():
        yield from unit
