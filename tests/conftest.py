"""What every test shares: one thread per process, and registries that no test changes for another."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: two cores, several processes


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless it is asked for by its marker or by its name."""
    asked = "soak" in config.option.markexpr or any("::" in argument for argument in config.args)
    long = [] if asked else [item for item in items if item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture(autouse=True)
def registries_left_as_found() -> Iterator[None]:
    from grace.streams.registry import DATASETS
    from protocols.registry import REGISTERED, USUAL

    before = [(table, dict(table)) for table in (DATASETS, USUAL, REGISTERED)]
    yield
    for table, saved in before:
        table.clear()
        table.update(saved)
