"""Report: everything that the page says, as plain values that are a pure function of rows, wanted runs and failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import fsum
from typing import Any

from suite.caption import warnings
from suite.cli.words import count, duration
from suite.declared import declared
from suite.errors import Exit, SuiteError
from suite.grouping import Row, Wanted
from suite.record import Failure
from suite.report.answers import Answer, answers
from suite.report.citations import citations
from suite.report.coverage import Bill, Field, bills, coverage
from suite.report.duels import Duel, duels
from suite.report.lines import Line, Place, lines, places
from suite.report.tables import Sheet, sheets
from suite.tables.choice import tried


@dataclass(frozen=True)
class Origin:
    """What the report is of and how its reader would go on; `damaged` are records that could not be read."""

    version: str
    program: str
    sweep: str = ""
    root: str = ""
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """One page. Sections that need no choice of form are values here; tables and figures are values of their own."""

    origin: Origin
    rows: Sequence[Row]  # settled, in the order given
    wanted: Sequence[Wanted] | None
    lines: Sequence[Line]
    places: Sequence[Place]
    failures: Sequence[Failure]
    unsettled: int
    smoke: int  # smoke runs that are left out

    @classmethod
    def of(
        cls,
        rows: Iterable[Row],
        wanted: Iterable[Wanted] | None,
        failures: Mapping[str, Failure],
        origin: Origin,
        *,
        allow_smoke: bool = False,
    ) -> Report:
        """Return the report of result rows; with `wanted`, of those runs alone, missing and failed ones counted.

        Raises SuiteError when there is no run and none is wanted or failed.
        """
        plan = None if wanted is None else {each.key: each for each in wanted}
        given = [row for row in rows if plan is None or row["key"] in plan]
        settled = [row for row in given if row.get("settled") is not False]
        shown = settled if allow_smoke else [row for row in settled if not row["smoke"]]
        done = {row["key"] for row in shown}
        failed = {key: each for key, each in failures.items() if key not in done and (plan is None or key in plan)}
        asked = plan.values() if plan is not None else filter(None, map(_tried, failed.values()))
        lacking = [each._replace(failed=each.key in failed) for each in asked if each.key not in done]
        if not shown and not lacking:
            raise _nothing(len(settled))
        across = places(shown, lacking)
        return cls(
            origin,
            shown,
            None if plan is None else list(plan.values()),
            lines(shown, lacking, [place.stream for place in across]),
            across,
            list(failed.values()),
            len(given) - len(settled),
            len(settled) - len(shown),
        )

    @property
    def title(self) -> str:
        """What the page is called."""
        return f"Report: {self.origin.sweep}" if self.origin.sweep else "Report"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What the header says besides the title."""
        fields = self.fields
        failed, missing = sum(f.failed for f in fields), sum(f.wanted - f.done for f in fields)
        dates = sorted(str(row[name])[:10] for row in self.rows for name in ("started", "finished") if row.get(name))
        span = dates and (dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}")
        known = [
            ("Runs", f"{len(self.rows)} done, {failed} failed, {missing - failed} missing"),
            ("Methods", str(len({line.method for line in self.lines}))),
            ("Protocols", str(len(self.places))),
            ("Compute", duration(fsum(row["seconds"] for row in self.rows)) if self.rows else ""),
            ("Dates", span or ""),
            ("Code", self.listed("commit", 10) or f"version {self.listed('version')}"),
            ("Devices", self.listed("device")),
            ("torch", self.listed("torch")),
            ("Suite", self.origin.version),
        ]
        return [(name, text) for name, text in known if text]

    def listed(self, field: str, length: int | None = None) -> str:
        """Return the values of a field, the most frequent first."""
        found = Counter(str(row[field])[:length] for row in self.rows if row.get(field))
        return ", ".join(value for value, _ in found.most_common())

    @cached_property
    def fields(self) -> list[Field]:
        """Every field of the coverage grid."""
        return [field for _, fields in self.grid for field in fields]

    @cached_property
    def grid(self) -> list[tuple[Line, list[Field]]]:
        """The coverage: lines down, streams across."""
        return coverage(self.lines, self.places)

    @property
    def folds(self) -> int:
        """How many pairs of a line and a stream have runs."""
        return sum(bool(runs) for line in self.lines for runs in line.runs.values())

    @cached_property
    def answers(self) -> list[Answer]:
        """Which method within which memory."""
        return answers(self.lines, self.places)

    @cached_property
    def sheets(self) -> list[Sheet]:
        """The main tables."""
        return sheets(self.rows, self.wanted, {each.key: each for each in self.failures})

    @cached_property
    def duels(self) -> list[Duel]:
        """The best method against each other one."""
        return duels(self.lines, self.places)

    @cached_property
    def bills(self) -> list[Bill]:
        """What it cost."""
        return bills(self.lines, self.places)

    @cached_property
    def warnings(self) -> list[str]:
        """What makes numbers less comparable than they look."""
        found = list(warnings(self.rows)) if self.rows else []
        if self.smoke:
            are = "is left out: it is no result" if self.smoke == 1 else "are left out: they are no results"
            found.append(f"{count(self.smoke, 'smoke run')} (--limit-epochs) {are}")
        if self.unsettled:
            they = "is left out: it kept" if self.unsettled == 1 else "are left out: they kept"
            budget = "its budget was" if self.unsettled == 1 else "their budgets were"
            found.append(f"{count(self.unsettled, 'run')} {they} another number of backbones than {budget} solved for")
        return [*found, *self.origin.damaged]

    @property
    def unlike(self) -> list[str]:
        """The warnings of environments that differ, for the strip below the title."""
        return [line for line in self.warnings if line.startswith("unlike environments")]

    @property
    def order(self) -> int | None:
        """The class order of all runs, None where they have several: luck with the order is then averaged over."""
        orders = {row["order_seed"] for row in self.rows}
        return orders.pop() if len(orders) == 1 else None

    @property
    def citations(self) -> str:
        """BibTeX."""
        return citations(self.rows, self.origin.version)

    @property
    def provenance(self) -> list[tuple[str, str]]:
        """Where the numbers come from, as far as runs share it; the rest stands with each run."""
        names = {"commit": "commit", "version": "version of the suite", "torch": "torch", "device": "device",
                 "host": "host", "precision": "precision", "workers": "workers of a run",
                 "plugin": "plugin digests"}  # fmt: skip
        found = [(title, self.listed(field)) for field, title in names.items()]
        images: dict[str, set[str]] = {}
        for row in self.rows:
            images.setdefault(f"images of {row['dataset']}, order {row['order_seed']}", set()).add(str(row["data"]))
        found += [(what, ", ".join(sorted(prints))) for what, prints in images.items()]
        return [(title, text) for title, text in found if text]

    def plain(self) -> dict[str, Any]:
        """Return the values that scripts of the page need, as JSON has them."""
        from suite.report.embedded import embedded

        return embedded(self)


def _tried(failure: Failure) -> Wanted | None:
    """Return a run that failed as one that is wanted, None where its label cannot be read."""
    facts = tried(failure.label)
    if facts is None:
        return None
    try:
        about = declared(facts["method"])
    except SuiteError:  # a method of a plugin that is not at hand
        return Wanted(failure.key, facts["method"], facts["protocol"])
    return Wanted(failure.key, about.name, facts["protocol"], about.title, about.family, about.reference)


def _nothing(smoke: int) -> SuiteError:
    if smoke:
        return SuiteError("there are only smoke runs; add --smoke to see them all the same", Exit.NOTHING)
    return SuiteError("there is no finished run to report on", Exit.NOTHING)
