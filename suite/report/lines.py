"""The lines and streams that every section of the report goes by, and how far apart two lines are on a stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from typing import Any, NamedTuple

from suite.figures.lines import lines as figured
from suite.figures.lines import names, slug_of
from suite.figures.style import style
from suite.grouping import Row, Stream, Wanted, stream_of, streams
from suite.report.text import between
from suite.results import UPPER_BOUND
from suite.stats import FEW, Summary, bootstrap, outcomes, summarise
from suite.table import TUNED
from suite.tables.choice import alignment_of, base_of


@dataclass(frozen=True)
class Line:
    """One method with one variant of its settings: its runs, missing and failed ones by stream."""

    slug: str  # unique, for ids and addresses
    method: str
    variant: str
    title: str
    family: str
    reference: str
    runs: Mapping[Stream, Sequence[Row]]
    missing: Mapping[Stream, int]
    failed: Mapping[Stream, int]  # of the missing ones
    reasons: Mapping[Stream, str]  # why there can be none
    colour: str  # in figures

    @property
    def name(self) -> str:
        """What the first column of a table says."""
        return f"{self.title}{TUNED * self.tuned} {self.variant}".rstrip()

    @property
    def tuned(self) -> bool:
        """Whether a search found settings of some of its runs."""
        return any(run.get("tuned_on") for runs in self.runs.values() for run in runs)

    @property
    def ranked(self) -> bool:
        """Whether it is a rival, and no upper bound."""
        return self.family != UPPER_BOUND

    def mean(self, stream: Stream, field: str) -> Summary | None:
        """Return the summary of a field of its runs on a stream."""
        return summary(self.runs.get(stream, ()), field)


class Beside(NamedTuple):
    """A minus B over the runs that share order, seed and images, in the unit of the rows."""

    pairs: int
    difference: float
    interval: tuple[float, float] | None  # 95 % of the resampled means; None for a single pair
    wins: int
    ties: int
    losses: int

    @property
    def text(self) -> str:
        """The interval as it is shown: in parentheses where it rests on few pairs."""
        words = between(self.interval)
        return f"({words})" if self.interval and self.pairs < FEW else words


@dataclass(frozen=True)
class Place:
    """One stream: its slug, its name in the page (with the id where one name means two), and its budget."""

    stream: Stream
    slug: str
    name: str
    base: str  # the protocol without what aligns its memory
    alignment: str
    budget: float | None  # MiB by the survey's convention


def places(rows: Sequence[Row], lacking: Sequence[Wanted]) -> list[Place]:
    """Return the streams in the order of the tables."""
    across = streams(rows, lacking)
    called = names(across)
    budgets = {stream_of(row): row.get("budget_mb") for row in rows}
    words = slugs(called[stream] for stream in across)
    return [
        Place(stream, word, called[stream], base_of(stream[0]), alignment_of(stream[0]), budgets.get(stream))
        for stream, word in zip(across, words, strict=True)
    ]


def lines(rows: Sequence[Row], lacking: Sequence[Wanted], across: Sequence[Stream]) -> list[Line]:
    """Return the lines in the order of the tables, with the slugs that they have in figures."""
    return [
        Line(each.slug, group.method, group.variant, group.title, group.family, group.reference, dict(group.runs),
             dict(group.missing), dict(group.failed), dict(group.reasons),
             style(each.style, rival=each.rival).colour)
        for each in figured(rows, across, lacking)
        for group in [each.group]
    ]  # fmt: skip


def slugs(texts: Iterable[str]) -> list[str]:
    """Return a short word per text that ids and addresses can hold, each another."""
    found: dict[str, None] = {}
    for text in texts:
        word = slug_of(text) or "x"
        free = (word if i == 1 else f"{word}-{i}" for i in range(1, 1_000_000))
        found[next(each for each in free if each not in found)] = None
    return list(found)


def summary(runs: Iterable[Row], field: str) -> Summary | None:
    """Return the summary of the finite values of a field."""
    return summarise(value for value in (run.get(field) for run in runs) if value is not None and isfinite(value))


def beside(ours: Iterable[Row], theirs: Iterable[Row], field: str, better: int = 1) -> Beside | None:
    """Return how far apart two lines are, None where no two runs share order, seed and images.

    `better` is 1 where more is better and -1 where less is; the difference is ours minus theirs all the same.
    """
    other = {_twin(run): run.get(field) for run in theirs}
    pairs = [(_twin(run), run.get(field), other.get(_twin(run))) for run in ours]
    apart = [a - b for _, a, b in sorted(pairs, key=lambda pair: pair[0][:2]) if a is not None and b is not None]
    apart = [value for value in apart if isfinite(value)]
    if not apart:
        return None
    return Beside(len(apart), fsum(apart) / len(apart), bootstrap(apart), *outcomes(apart, better))


def _twin(run: Row) -> tuple[Any, ...]:
    return run["order_seed"], run["train_seed"], run["data"], run["precision"], run["workers"]
