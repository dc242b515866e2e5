"""A comparison of two methods as text: cells and remarks for any format, and Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator

from suite.paired import Comparison, Paired
from suite.render import DASH
from suite.render.markdown import escape
from suite.stats import FEW, LEVEL, RESAMPLES

MANY = 5  # seeds or orders that are named one by one
COLUMNS = ("protocol", "pairs", "A", "B", "A - B", f"{LEVEL} % interval", "win/tie/loss")


def title(found: Comparison) -> str:
    """Return what is compared, in one line."""
    return f"A = {found.title_a}, B = {found.title_b}: {found.metric.title} ({found.metric.unit})"


def cells(found: Comparison) -> list[dict[str, str]]:
    """Return a row of COLUMNS per protocol."""
    return [dict(zip(COLUMNS, _cells(found, each), strict=True)) for each in found.streams]


def _cells(found: Comparison, each: Paired) -> Iterator[str]:
    yield from (each.label, str(len(each.pairs)))
    yield from (found.metric.text(mean) for mean in (each.mean_a, each.mean_b))
    yield found.metric.text(each.difference, "+")
    ends = " to ".join(found.metric.text(end, "+") for end in each.interval) if each.interval else DASH
    yield f"({ends})" if each.few and each.interval else ends
    yield f"{each.wins}/{each.ties}/{each.losses}"


def overall(found: Comparison) -> str:
    """Return the sentence over all protocols, empty where there is but one."""
    if len(found.streams) < 2:
        return ""
    mean = found.metric.text(found.difference, "+")
    return (
        f"Over {len(found.streams)} protocols: A better on {found.wins}, as good on {found.ties}, worse on "
        f"{found.losses}; mean of the protocols' differences {mean}."
    )


def remarks(found: Comparison) -> Iterator[str]:
    """Yield what must be known before anything is concluded: too few pairs, runs left out, unlike environments."""
    yield from _few(found)
    orders = {pair.order_seed for each in found.streams for pair in each.pairs}
    if len(orders) == 1 and found.pairs > 1:
        yield f"all pairs have class order {orders.pop()}: nothing is said about others"
    alone = defaultdict[tuple[str, str, str], list[tuple[int, int]]](list)
    for run in found.unpaired:
        alone[run.side, run.protocol, run.why].append((run.order_seed, run.train_seed))
    for (side, protocol, why), seeds in alone.items():
        yield f"unpaired: {_count(len(seeds), 'run')} of {side} on {protocol} ({_seeds(seeds)}): {why}"
    if found.unsettled:
        what = "more or fewer backbones than its memory budget was solved for"
        yield f"{_count(found.unsettled, 'run')} left out, each with {what}"
    if found.smoke:
        yield f"{_count(found.smoke, 'smoke run')} left out"
    yield from found.warnings


def _few(found: Comparison) -> Iterator[str]:
    """Yield one remark per number of pairs that is too small."""
    small = defaultdict[int, list[str]](list)
    for each in found.streams:
        if each.few:
            small[len(each.pairs)].append(each.label)
    for pairs, labels in sorted(small.items()):
        where = "" if len(labels) == len(found.streams) else f" on {', '.join(labels)}"
        apiece = " each" if len(labels) > 1 else ""
        yield f"{_count(pairs, 'pair')}{where}{apiece}: too few for an interval to mean much"


def notes(found: Comparison) -> Iterator[str]:
    """Yield what the columns are."""
    yield (
        "Pairs: a run of A and one of B with the same protocol, class order, training seed, images, precision and "
        "workers. A - B: mean of their differences."
    )
    yield (
        f"{LEVEL} % interval: of that mean, by resampling the pairs (percentile bootstrap, {RESAMPLES:,} resamples, "
        f"fixed seed); in parentheses below {FEW} pairs, where it is not to be relied on."
        if any(each.interval for each in found.streams)
        else f"{LEVEL} % interval: needs at least two pairs."
    )
    better = "more" if found.metric.better > 0 else "less"
    yield f"Win/tie/loss: pairs in which A is better, as good, worse at full precision; {better} is better."


def markdown(found: Comparison) -> str:
    """Return the comparison as Markdown (GitHub's tables)."""
    rows = [[escape(text) for text in row.values()] for row in cells(found)]
    rule = [":---", *["---:"] * (len(COLUMNS) - 1)]
    lines = [f"| {' | '.join(texts)} |" for texts in (COLUMNS, rule, *rows)]
    below = [f"- {escape(text)}" for text in (overall(found), *notes(found)) if text]
    below += [f"- **Warning**: {escape(text)}." for text in remarks(found)]
    return "\n".join([escape(title(found)), "", *lines, "", *below, ""])


def table(found: Comparison) -> str:
    """Return the comparison as CSV: a line per protocol, numbers unrounded and in the rows' units (fractions)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("a", "b", "metric", "protocol", "pairs", "mean_a", "mean_b", "difference", "low", "high")
    writer.writerow([*names, "wins", "ties", "losses"])
    for each in found.streams:
        ends = each.interval or (None, None)
        means = (each.mean_a, each.mean_b, each.difference, *ends, each.wins, each.ties, each.losses)
        writer.writerow([found.a, found.b, found.metric.field, each.label, len(each.pairs), *means])
    return out.getvalue()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _seeds(runs: list[tuple[int, int]]) -> str:
    """Return runs by order and seed: `order 1993 seed 0, 1`; of many the first."""
    found = defaultdict[int, list[int]](list)
    for order, seed in runs:
        found[order].append(seed)
    told = [f"order {order} seed {_first(sorted(set(seeds)))}" for order, seeds in found.items()]
    return "; ".join([*told[:MANY], *["..."] * (len(told) > MANY)])


def _first(values: list[int]) -> str:
    return ", ".join([*map(str, values[:MANY]), *["..."] * (len(values) > MANY)])
