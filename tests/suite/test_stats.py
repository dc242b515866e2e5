"""Mean and sample standard deviation against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.stats import Summary, summarise


def test_three_values() -> None:
    mean, std, n = summarise([64.1, 65.0, 66.2]) or Summary(0, 0, 0)
    assert mean == pytest.approx(65.1)
    assert std == pytest.approx(math.sqrt((1.0 + 0.01 + 1.21) / 2))  # 1.0536, where dividing by n gives 0.86
    assert n == 3


def test_one_value_has_no_deviation() -> None:
    assert summarise([0.5]) == Summary(0.5, None, 1)


def test_missing_values_do_not_count() -> None:
    assert summarise([None, 1.0, None, 3.0]) == Summary(2.0, math.sqrt(2), 2)
    assert summarise([None]) is None
    assert summarise([]) is None


def test_equal_values_have_none_to_speak_of() -> None:
    assert summarise([0.1] * 7) == Summary(0.1, 0.0, 7)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20), st.floats(-1e3, 1e3), st.randoms())
def test_order_is_free_and_a_shift_moves_the_mean_only(values: list[float], shift: float, random: object) -> None:
    one = summarise(values)
    mixed = list(values)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert summarise(mixed) == one
    moved = summarise([value + shift for value in values])
    assert one is not None
    assert moved is not None
    assert moved.mean == pytest.approx(one.mean + shift, abs=1e-9)
    assert moved.std == pytest.approx(one.std, abs=1e-6)
