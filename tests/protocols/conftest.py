"""What tests of the registry share: whatever a test registers is gone after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from grace.streams.registry import DATASETS
from protocols.registry import REGISTERED, USUAL


@pytest.fixture(autouse=True)
def registries_left_as_found() -> Iterator[None]:
    before = [(table, dict(table)) for table in (DATASETS, USUAL, REGISTERED)]
    yield
    for table, saved in before:
        table.clear()
        table.update(saved)
