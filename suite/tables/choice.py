"""Which runs a table is about: of the right kind of protocol, wanted, no smoke runs; and which of them are lacking."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from suite.declared import declared
from suite.errors import Exit, SuiteError
from suite.grouping import Row, Wanted
from suite.tables.impossible import impossible

if TYPE_CHECKING:
    from suite.record import Failure

ALIGNED = re.compile(r"\+((?:mb|align|auc)=[^+]+)$")  # the suffix that is last in a protocol's name
LABEL = re.compile(r"(\S+) (\S+) o(\d+) s(\d+)(?: (?!x\d+$)(\S+))?(?: x(\d+))?")  # of a run: RunSpec.label
NAMED = ("method", "protocol", "order_seed", "train_seed", "precision", "workers")  # what it says
PLACES = {  # which presets are about which protocols, in words for those who have none of them
    "benchmark": "without alignment",
    "aligned": "of a protocol with aligned memory (+mb=, +align=)",
    "auc": "of a point on a ladder of budgets (+auc)",
}
MOST = 6  # reasons of failures that are told


@dataclass(frozen=True)
class Chosen:
    """The rows of a table, the runs that it lacks, and what there is to say of what was left out."""

    rows: Sequence[Row]
    lacking: Sequence[Wanted]
    remarks: tuple[str, ...]
    why: tuple[str, ...]  # runs failed

    def having(self, rows: Sequence[Row]) -> Chosen:
        """Return the same choice with more in its rows."""
        return replace(self, rows=rows)


def alignment_of(protocol: str) -> str:
    """Return what aligns the memory of a protocol, read off its name: `mb=23.5`, or nothing."""
    found = ALIGNED.search(protocol)
    return found[1] if found else ""


def base_of(protocol: str) -> str:
    """Return a protocol's name without its alignment."""
    return ALIGNED.sub("", protocol)


def kind_of(protocol: str) -> str:
    """Return the preset that a protocol's runs are shown by."""
    alignment = alignment_of(protocol)
    return "auc" if alignment.startswith("auc=") else "aligned" if alignment else "benchmark"


def choose(
    preset: str,
    rows: Iterable[Row],
    wanted: Iterable[Wanted] | None,
    failures: Mapping[str, Failure],
    *,
    allow_smoke: bool,
) -> Chosen:
    """Return the runs that a preset is about; raises SuiteError where there are none, saying what there is instead."""
    plan = None if wanted is None else {each.key: each for each in wanted}
    given = [row for row in rows if plan is None or row["key"] in plan]
    there = [row for row in given if preset not in PLACES or kind_of(row["protocol"]) == preset]
    settled = [row for row in there if row.get("settled") is not False]
    shown = settled if allow_smoke else [row for row in settled if not row["smoke"]]
    keys = {row["key"] for row in shown}
    asked = chain(_tried(given, failures), impossible(given)) if plan is None else plan.values()
    lacking = [
        each._replace(failed=each.key in failures)
        for each in asked
        if each.key not in keys and (preset not in PLACES or kind_of(each.protocol) == preset)
    ]
    if not shown and not (plan is not None and lacking and not there):
        raise _nothing(preset, given, there, len(there) - len(settled), list(_reasons(lacking, failures)))
    smoke, unsettled = len(settled) - len(shown), len(there) - len(settled)
    remarks = [f"{_count(smoke, 'smoke run')} left out"] if smoke else []
    if unsettled:
        remarks.append(f"{_count(unsettled, 'run')} left out: they kept another number of backbones than their budget "
                       "was solved for")  # fmt: skip
    return Chosen(shown, lacking, tuple(remarks), tuple(_reasons(lacking, failures)))


def tried(label: str) -> dict[str, Any] | None:
    """Return what a run's label says, as rows have it; None for no label."""
    found = LABEL.fullmatch(label)
    if found is None:
        return None
    method, protocol, order, seed, precision, workers = found.groups()
    return {"method": method, "protocol": protocol, "order_seed": int(order), "train_seed": int(seed),
            "precision": precision or "fp32", "workers": int(workers or 1)}  # fmt: skip


def _tried(rows: Sequence[Row], failures: Mapping[str, Failure]) -> Iterator[Wanted]:
    """Yield the runs that failed as ones that are wanted, unless one of the same label is there by now.

    That one may have other settings, or have been no smoke run: a label does not tell, and then it was made good.
    """
    done = {tuple(row[name] for name in NAMED) for row in rows}
    for key, failure in failures.items():
        facts = tried(failure.label)
        if facts is None or tuple(facts[name] for name in NAMED) in done:
            continue
        try:
            about = declared(facts["method"])
            yield Wanted(key, about.name, facts["protocol"], about.title, about.family, about.reference)
        except SuiteError:  # a method of a plugin that is not at hand
            yield Wanted(key, facts["method"], facts["protocol"])


def _reasons(lacking: Sequence[Wanted], failures: Mapping[str, Failure]) -> Iterator[str]:
    """Yield why runs failed, the most frequent reasons first."""
    told = Counter((each.title or each.method, each.protocol, failures[each.key].reason) for each in lacking
                   if each.failed)  # fmt: skip
    for (title, protocol, reason), count in told.most_common(MOST):
        yield f"{_count(count, 'run')} of {title} on {protocol} failed: {' '.join(reason.split())}"
    if len(told) > MOST:
        rest = sum(told.values()) - sum(count for _, count in told.most_common(MOST))
        yield f"{_count(rest, 'more run')} failed for other reasons"


def _nothing(preset: str, given: Sequence[Row], there: Sequence[Row], unsettled: int, why: Sequence[str]) -> SuiteError:
    """Return the error for a table of nothing, and what to do about it."""
    if given and not there:
        kinds = Counter(kind_of(row["protocol"]) for row in given)
        others = ", ".join(f"{count:,} for table {kind}" for kind, count in sorted(kinds.items()))
        return SuiteError(f"there is no finished run {PLACES[preset]}; there are {others}", Exit.NOTHING)
    if not there:
        failed = f"; {'; '.join(why)}" if why else ""
        return SuiteError(f"there is no finished run to make a table of{failed}", Exit.NOTHING)
    if unsettled == len(there):
        what = "the only run has" if unsettled == 1 else f"all {unsettled} runs have"
        return SuiteError(f"{what} another number of backbones than the budget was solved for", Exit.NOTHING)
    smoke = len(there) - unsettled
    runs = "the only run is a smoke run" if smoke == 1 else f"all {smoke} runs are smoke runs"
    return SuiteError(f"{runs} (--limit-epochs), no results; add --smoke to see them all the same", Exit.NOTHING)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
