"""Images that are to be trained on: checked, and downloaded, before anything starts."""

from __future__ import annotations

from collections.abc import Iterable

from grace.streams.catalogue import DatasetSpec
from suite.cli.settings import Settings
from suite.launch import LaunchOptions


def fetched(settings: Settings, datasets: Iterable[DatasetSpec], options: LaunchOptions) -> None:
    """Check images before anything is trained on them, and download what is missing and may be."""
    from grace.streams.datasets import check, fetch

    specs = list(dict.fromkeys(datasets))
    for spec in specs:
        settings.note(f"data {spec.name}: {check(spec, options.data, options.download)}")
    if options.download:
        for spec in specs:
            fetch(spec, options.data)
