"""Whether a sweep can be carried out: what it lacks, how that is worked on, and the images that it needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from suite.cli.settings import Settings
from suite.launch import LaunchOptions, carries
from suite.plan import Plan, plan
from suite.plugins import read_plugin
from suite.store import Store
from suite.sweep import Sweep, with_texts
from suite.trackers import check

if TYPE_CHECKING:
    from grace.streams.catalogue import DatasetSpec


def ready(settings: Settings, sweep: Sweep) -> tuple[Sweep, Plan, LaunchOptions]:
    """Return the sweep with the texts of its plugins, what it lacks, and how that is worked on; raises SuiteError."""
    check(sweep.launch.track)
    seen, sweep = Store.open(settings.root), with_texts(sweep)
    found = plan(sweep, seen)
    for warning in [*seen.damaged, *found.broken]:
        settings.warn(warning)
    options = _options(settings, sweep, found)
    carries(options, sweep.workers)
    return sweep, found, options


def _options(settings: Settings, sweep: Sweep, found: Plan) -> LaunchOptions:
    """Return what a launch is told."""
    launch = sweep.launch.model_dump(include={each.name for each in fields(LaunchOptions)})
    sources = {run.spec.key: run.choice.source for run in found.runs}
    tuned = {run.spec.key: run.choice.tuned_on for run in found.runs if run.choice.tuned_on}
    plugins = [read_plugin(Path(file), sweep.plugin_texts) for file in sweep.plugins]
    return LaunchOptions(
        root=settings.root,
        verbose=settings.verbose,
        **{**launch, "data": Path(launch["data"])},
        sources=sources,
        tuned=tuned,
        plugins=plugins,
    )


def images(settings: Settings, datasets: Iterable[DatasetSpec], options: LaunchOptions) -> list[DatasetSpec]:
    """Check the images of some datasets; return each once. Raises DataError."""
    from grace.streams.datasets import check

    specs = list(dict.fromkeys(datasets))
    for spec in specs:
        settings.note(f"data {spec.name}: {check(spec, options.data, options.download)}")
    return specs


def fetched(settings: Settings, datasets: Iterable[DatasetSpec], options: LaunchOptions) -> None:
    """Check the images of some datasets, and download what is missing and may be; raises DataError."""
    from grace.streams.datasets import fetch

    specs = images(settings, datasets, options)
    if options.download:
        for spec in specs:
            fetch(spec, options.data)
