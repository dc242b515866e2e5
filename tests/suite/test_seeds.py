"""Lists of seeds, as files and options have them."""

from __future__ import annotations

from typing import Any

import pytest

from suite.errors import SuiteError
from suite.seeds import numbers
from suite.sweep import sweep_of


def wanted(**values: Any) -> Any:
    return sweep_of({"methods": ["grace"], "protocols": ["cifar100-b0i5"]} | values, "test")


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("1993", [1993]),
        ("0,1,2", [0, 1, 2]),
        ("0-4", [0, 1, 2, 3, 4]),
        (" 3 , 1-2,3 ", [3, 1, 2]),
        ("4294967295", [2**32 - 1]),
    ],
)
def test_seed_lists(text: str, seeds: list[int]) -> None:
    assert numbers(text) == seeds
    assert wanted(orders=text).orders == seeds
    assert wanted(orders=seeds + seeds).orders == seeds  # each once


@pytest.mark.parametrize("text", ["", "a", "-1", "1.5", "1,,2", "3-1", "0-99999", "4294967296", "٣", "1 2"])
def test_what_is_no_seed_list(text: str) -> None:
    with pytest.raises(SuiteError, match=r"^test: seeds: "):
        wanted(seeds=text)


@pytest.mark.parametrize("value", [[], [-1], [True], [1.0], [2**32], 3, None])
def test_what_is_no_list_of_seeds(value: Any) -> None:
    with pytest.raises(SuiteError, match=r"^test: seeds"):
        wanted(seeds=value)
