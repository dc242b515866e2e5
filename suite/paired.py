"""Two methods over the same runs: the differences of pairs, their mean, and how far that may be chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from math import fsum
from typing import Any

from grace.methods import METHODS
from suite.caption import warnings
from suite.errors import Exit, SuiteError, unknown
from suite.grouping import Row
from suite.metric import Metric, metric_of
from suite.pairing import Match, Side, matched, why
from suite.stats import FEW, bootstrap, outcomes


@dataclass(frozen=True)
class Pair:
    """One run of each with the same order, seed and images; values as in the rows."""

    order_seed: int
    train_seed: int
    a: float
    b: float
    keys: tuple[str, str]

    @property
    def difference(self) -> float:
        """A minus B."""
        return self.a - self.b


@dataclass(frozen=True, kw_only=True)
class Paired:
    """The pairs on one protocol; `label` says also precision and workers, where several were used."""

    protocol: str
    label: str
    pairs: tuple[Pair, ...]  # by order and seed
    mean_a: float
    mean_b: float
    difference: float  # mean over pairs of A minus B
    interval: tuple[float, float] | None  # of that mean, 95 %; None for one pair, which cannot be resampled
    wins: int  # pairs in which A is the better
    ties: int
    losses: int

    @property
    def few(self) -> bool:
        """Whether there are too few pairs for the interval to mean much."""
        return len(self.pairs) < FEW


@dataclass(frozen=True)
class Unpaired:
    """A run with none to compare it with, and why."""

    side: str  # A or B, as it was asked for
    protocol: str
    order_seed: int
    train_seed: int
    key: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A beside B. Values are as in the rows (fractions); `metric` knows how they are shown."""

    a: str
    b: str
    title_a: str
    title_b: str
    metric: Metric
    streams: tuple[Paired, ...]  # one per protocol, b0i5 before b0i10
    wins: int  # protocols on which A has the better mean
    ties: int
    losses: int
    difference: float  # mean over protocols of their differences
    unpaired: tuple[Unpaired, ...]
    unsettled: int  # runs left out: they kept another number of backbones than their budget was solved for
    smoke: int  # runs left out: their epochs were limited
    warnings: tuple[str, ...]

    @property
    def pairs(self) -> int:
        """How many pairs there are on all protocols."""
        return sum(len(each.pairs) for each in self.streams)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def compare(rows: Iterable[Row], a: str, b: str, metric: str = "avg", *, allow_smoke: bool = False) -> Comparison:
    """Return how A and B (`method` or `method@field=value`) differ on the runs that they have in common.

    Runs are paired by protocol, class order, training seed, images, precision and workers. Unsettled runs are left out,
    smoke runs too unless they are allowed. Raises SuiteError for unknown names, for several settings of one method, and
    where there is no pair.
    """
    figure, rows, sides = metric_of(metric), list(rows), (Side.of(a), Side.of(b))
    if sides[0] == sides[1]:
        raise SuiteError(f"{a} beside itself: two methods are wanted, or METHOD@FIELD=VALUE for some runs", Exit.USAGE)
    chosen = [_own(side, rows) for side in sides]
    settled = [[row for row in own if row.get("settled") is not False] for own in chosen]
    kept = [[row for row in own if allow_smoke or not row["smoke"]] for own in settled]
    matches, left = matched(sides, kept, figure.field)
    lone = _lone(sides, kept, left, figure)
    if not matches:
        raise _nothing(sides, kept, lone)
    streams = _paired(matches, figure)
    wins, ties, losses = outcomes([each.difference for each in streams], figure.better)
    title_a, title_b = (f"{own[0]['title']}{side.suffix}" for side, own in zip(sides, kept, strict=True))
    return Comparison(
        a=str(sides[0]),
        b=str(sides[1]),
        title_a=title_a,
        title_b=title_b,
        metric=figure,
        streams=streams,
        wins=wins,
        ties=ties,
        losses=losses,
        difference=fsum(each.difference for each in streams) / len(streams),
        unpaired=lone,
        unsettled=sum(map(len, chosen)) - sum(map(len, settled)),
        smoke=sum(map(len, settled)) - sum(map(len, kept)),
        warnings=tuple(warnings([row for match in matches for row in match.rows])),
    )


def _own(side: Side, rows: Sequence[Row]) -> list[Row]:
    """Return the rows of one side; raises SuiteError where there are none."""
    own = side.own(rows)
    methods = {*METHODS, *(row["method"] for row in rows)} if not own else set()
    if not own and side.method not in methods:
        raise unknown("method", side.method, methods, see="list methods")
    if not own:
        there = len(rows)
        raise SuiteError(f"none of {there} finished run{'' if there == 1 else 's'} is one of {side}", Exit.NOTHING)
    return own


def _paired(matches: Sequence[Match], metric: Metric) -> tuple[Paired, ...]:
    """Return the pairs of each protocol, precision and number of workers."""
    places = {place: list(found) for place, found in groupby(matches, lambda match: match.alike.place)}
    ids = Counter(protocol for protocol, _ in {place[:2] for place in places})
    several = Counter(place[:2] for place in places)
    streams = []
    for (protocol, id_, arithmetic), found in places.items():
        pairs = tuple(_pair(match, metric.field) for match in found)
        differences = [pair.difference for pair in pairs]
        wins, ties, losses = outcomes(differences, metric.better)
        name = protocol if ids[protocol] == 1 else f"{protocol} #{id_}"
        streams.append(
            Paired(
                protocol=protocol,
                label=name if several[protocol, id_] == 1 else f"{name} ({arithmetic})",
                pairs=pairs,
                mean_a=fsum(pair.a for pair in pairs) / len(pairs),
                mean_b=fsum(pair.b for pair in pairs) / len(pairs),
                difference=fsum(differences) / len(pairs),
                interval=bootstrap(differences),
                wins=wins,
                ties=ties,
                losses=losses,
            )
        )
    return tuple(streams)


def _pair(match: Match, field: str) -> Pair:
    (one, other), alike = match.rows, match.alike
    values = float(one[field]), float(other[field])
    return Pair(alike.order_seed, alike.train_seed, *values, (one["key"], other["key"]))


def _lone(
    sides: tuple[Side, Side], kept: Sequence[Sequence[Row]], left: Sequence[Row], metric: Metric
) -> tuple[Unpaired, ...]:
    """Return the runs that are left, with their reasons."""
    mine = {row["key"] for row in kept[0]}
    found = []
    for row in left:
        i = int(row["key"] not in mine)
        reason = why(row, kept[1 - i], sides[1 - i], metric.field)
        at = (row["protocol"], row["order_seed"], row["train_seed"], row["key"])
        found.append(Unpaired(str(sides[i]), *at, reason))
    return tuple(found)


def _nothing(sides: tuple[Side, Side], kept: Sequence[Sequence[Row]], lone: Sequence[Unpaired]) -> SuiteError:
    """Return the error where no two runs are alike."""
    bare = [str(side) for side, own in zip(sides, kept, strict=True) if not own]
    if bare:
        return SuiteError(f"{' and '.join(bare)}: nothing but smoke runs, or runs that were not settled", Exit.NOTHING)
    reasons = list(dict.fromkeys(f"{each.side} on {each.protocol}: {each.why}" for each in lone))
    more = f", and {len(reasons) - 3} more like it" if len(reasons) > 3 else ""
    return SuiteError(f"no run of {sides[0]} has its like of {sides[1]}: {'; '.join(reasons[:3])}{more}", Exit.NOTHING)
