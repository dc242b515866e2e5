"""Whether a sweep can be carried out: what it lacks, how that is worked on, and the images that it needs."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from suite.cli.settings import Settings
from suite.launch import LaunchOptions, carries
from suite.plan import Plan, Planned, plan
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
    plugins = [read_plugin(Path(file), sweep.plugin_texts) for file in sweep.plugins]
    return LaunchOptions(
        root=settings.root,
        verbose=settings.verbose,
        **{**launch, "data": Path(launch["data"])},
        sources=sources,
        plugins=plugins,
    )


def images(settings: Settings, left: list[Planned], options: LaunchOptions) -> list[DatasetSpec]:
    """Check the images of every run that is left; return the datasets. Raises DataError."""
    from grace.streams.datasets import check

    specs = list(dict.fromkeys(run.spec.protocol.dataset for run in left))
    for spec in specs:
        settings.note(f"data {spec.name}: {check(spec, options.data, options.download)}")
    return specs


def fetched(settings: Settings, left: list[Planned], options: LaunchOptions) -> None:
    """Check the images of every run that is left, and download what is missing and may be; raises DataError."""
    from grace.streams.datasets import fetch

    specs = images(settings, left, options)
    if options.download:
        for spec in specs:
            fetch(spec, options.data)
