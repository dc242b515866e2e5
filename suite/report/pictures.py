"""The figures of the report, drawn for the page: each once, and no more panels than a page bears."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec

from suite.figures import Figure, figures
from suite.figures.data import as_csv
from suite.grouping import Row
from suite.report.painter import Painter
from suite.tables.choice import base_of, kind_of

KINDS = ("curves", "params", "memory", "auc", "pareto", "saturation")
BOX = re.compile(r'viewBox="0 0 ([0-9.]+) ')
SCALE = 2.2  # pixels at most per point of the drawing: its text as large as the page's
MANY = 2_000  # runs from which on a page is slow to make
MOST, MOST_OF_MANY = 6, 1  # protocols that are drawn; each with its aligned ones, unless runs are many
PANELS = 12  # of one kind


@dataclass(frozen=True)
class Picture:
    """One figure as SVG for the page, with its data."""

    figure: Figure
    svg: str
    width: int  # pixels at most
    csv: str


@dataclass(frozen=True)
class Galleries:
    """The figures by kind, and the protocols that are not drawn; `drawn` is False where what draws is not installed."""

    kinds: Mapping[str, Sequence[Picture]]
    left: Sequence[str]
    drawn: bool


def galleries(rows: Sequence[Row], painter: Painter | None = None) -> Callable[[], Galleries]:
    """Have the figures drawn of the protocols with the most methods and runs, as many as a page bears."""
    if find_spec("matplotlib") is None:
        return lambda: Galleries({}, (), False)
    bases, many = _bases(rows), len(rows) >= MANY
    shown = set(bases[: MOST_OF_MANY if many else MOST])
    rows = [row for row in rows if base_of(row["protocol"]) in shown]
    plain = [row for row in rows if kind_of(row["protocol"]) in (("benchmark",) if many else ("benchmark", "aligned"))]
    made = [(kind, one) for kind in KINDS for one in _fitting(figures(kind, rows if kind == "auc" else plain))]
    wait, left = (painter or Painter()).ask([one for _, one in made]), [base for base in bases if base not in shown]

    def hung() -> Galleries:
        kinds: dict[str, list[Picture]] = {kind: [] for kind in KINDS}
        for (kind, one), svg in zip(made, wait(), strict=True):
            kinds[kind].append(_picture(one, svg))
        return Galleries(kinds, left, True)

    return hung


def _bases(rows: Sequence[Row]) -> list[str]:
    """Return the protocols without what aligns them, those with the most methods and then runs first."""
    methods, runs = defaultdict[str, set[str]](set), Counter[str]()
    for protocol, method in ((row["protocol"], row["method"]) for row in rows):
        base = base_of(protocol)
        methods[base].add(method)
        runs[base] += 1
    return sorted(runs, key=lambda base: (-len(methods[base]), -runs[base]))


def _fitting(several: Sequence[Figure]) -> Iterator[Figure]:
    """Yield the first figures, as many as there is room for."""
    room = PANELS
    for figure in several:
        room -= len(figure.panels)
        if room >= 0:
            yield figure


def _picture(figure: Figure, svg: str) -> Picture:
    svg = svg[svg.index("<svg") :]
    box = BOX.search(svg)
    wide = round(SCALE * float(box[1])) if box else 0
    named = f'<svg role="img" aria-label="{escape(figure.alt, quote=True)}"'
    return Picture(figure, svg.replace("<svg", named, 1), wide, as_csv(figure))
