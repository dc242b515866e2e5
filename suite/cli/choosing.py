"""Which finished runs a verb shows: by method, protocol and filter, or those that a sweep wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from suite.alignment import measured
from suite.cli.results import found
from suite.cli.resume import kept_sweep
from suite.cli.settings import Settings
from suite.cli.wanted import split
from suite.declared import declared
from suite.errors import Exit, SuiteError
from suite.grouping import Row, Wanted
from suite.record import Failure
from suite.results import Where, parse_where
from suite.store import Store
from suite.sweep import Sweep, find_protocols, load_protocols, read_sweep, resolution
from suite.tables.choice import tried

ALIGNED = {"aligned": ("mb=*", "align=*"), "auc": ("auc=*",)}  # what tables of aligned protocols take of a bare name


class Shown(NamedTuple):
    """The runs that were asked for; without a sweep nothing is wanted, and failures are those that pass the filters."""

    rows: list[Row]
    wanted: list[Wanted] | None
    failures: dict[str, Failure]


def shown(
    settings: Settings,
    sweep: str | None,
    methods: Iterable[str],
    streams: Iterable[str],
    where: Iterable[str],
    preset: str = "",
) -> Shown:
    """Return the runs asked for; raises SuiteError where there are none, or for a name that no run has either."""
    load_protocols(settings.protocols)
    filters, doubtful = [*where], list[tuple[str, str, SuiteError]]()
    protocols = partial(_protocols, preset=preset)
    for field, names, known in (("method", methods, _methods), ("protocol", streams, protocols)):
        for name in split(names):
            try:
                filters += [f"{field}={each}" for each in ([name] if "*" in name else known(name))]
            except SuiteError as error:  # records outlive plugins and files of protocols
                filters.append(f"{field}={name}")
                doubtful.append((field, name, error))
    wanted = None if sweep is None else wanted_by(settings, sweep, filters)
    failures = Store.open(settings.root).failures()
    failed = {each.key for each in wanted if each.key in failures} if wanted else set(_passing(failures, filters))
    kept = {key: failures[key] for key in failures if key in failed}
    rows: list[Row] = []
    try:
        rows += found(settings, tuple(filters))
    except SuiteError as error:
        if error.code is not Exit.NOTHING or not (kept or any(each.reason for each in wanted or ())):
            raise (doubtful[0][2] if doubtful else error) from None
    there = {(field, row[field]) for row in rows for field in ("method", "protocol")}
    for field, name, doubt in doubtful:
        if (field, name) not in there:
            raise doubt
    return Shown(rows, wanted, kept)


def _methods(name: str) -> list[str]:
    return [declared(name).name]


def _protocols(name: str, preset: str) -> list[str]:
    """Return the protocols, or patterns of them, that a name means to a table; raises SuiteError for no protocol."""
    found = find_protocols(name)
    names = [each.name for each in found if each.alignment or preset not in ALIGNED]
    kinds = ALIGNED.get(preset, ())
    return names + [f"{each.name}+{kind}" for each in found if not each.alignment for kind in kinds]


def _passing(failures: dict[str, Failure], filters: Iterable[str]) -> Iterator[str]:
    """Yield the keys of failed runs that filters let pass, by what their labels say."""
    passes = parse_where(filters)
    for key, failure in failures.items():
        facts = tried(failure.label)
        if facts and passes({**facts, "key": key}):
            yield key


def wanted_by(settings: Settings, sweep: str, filters: Iterable[str] = ()) -> list[Wanted]:
    """Return the runs of a sweep file, or of a sweep of the results folder, with those that cannot be.

    Filters let pass what they say of method, protocol, seeds, precision and workers; the rest is known of finished runs
    only.
    """
    source, passes = _read(settings, sweep), parse_where(filters)
    found = resolution(source, measured(Store.open(settings.root)))
    runs = [(spec.key, spec.method, spec.protocol.name, spec.order_seed, spec.train_seed, "") for spec, _ in found.runs]
    # a run that waits for another is missing like any other, whatever its key will be
    runs += [(wish.label, wish.method, wish.protocol, wish.order_seed, wish.train_seed,
              "" if wish.waits_for else wish.reason) for wish in found.wishes]  # fmt: skip
    wanted = []
    for key, method, protocol, order, seed, reason in runs:
        facts = {"method": method, "protocol": protocol, "order_seed": order, "train_seed": seed,
                 "precision": source.precision, "workers": source.workers}  # fmt: skip
        if Where({field: texts for field, texts in passes.wanted.items() if field in facts})(facts):
            about = declared(method)
            wanted.append(Wanted(key, method, protocol, about.title, about.family, about.reference, reason))
    return wanted


def _read(settings: Settings, sweep: str) -> Sweep:
    file = Path(sweep)
    return read_sweep(file) if file.suffix == ".toml" else kept_sweep(settings, sweep)
