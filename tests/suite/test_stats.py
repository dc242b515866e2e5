"""Mean and sample standard deviation against numbers worked out by hand."""

from __future__ import annotations

import math
import random
from itertools import product
from statistics import NormalDist, quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.stats import LEVEL, Summary, bootstrap, outcomes, summarise


def test_three_values() -> None:
    mean, std, n = summarise([64.1, 65.0, 66.2]) or Summary(0, 0, 0)
    assert mean == pytest.approx(65.1)
    assert std == pytest.approx(math.sqrt((1.0 + 0.01 + 1.21) / 2))  # 1.0536, where dividing by n gives 0.86
    assert n == 3


def test_one_value_has_no_deviation() -> None:
    assert summarise([0.5]) == Summary(0.5, None, 1)


def test_missing_values_do_not_count() -> None:
    assert summarise([None, 1.0, None, 3.0]) == Summary(2.0, math.sqrt(2), 2)
    assert summarise([math.nan, 1.0, None, 3.0]) == Summary(2.0, math.sqrt(2), 2)
    assert summarise([math.nan, 0.5]) == Summary(0.5, None, 1)
    assert summarise([None]) is None
    assert summarise([math.nan, None]) is None
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


def test_an_interval_takes_two_values() -> None:
    assert bootstrap([]) is None
    assert bootstrap([0.3]) is None
    assert bootstrap([0.0, 1.0]) == (0.0, 1.0)  # a quarter of the resamples has either value twice


def test_equal_values_leave_no_doubt() -> None:
    assert bootstrap([0.1] * 6) == pytest.approx((0.1, 0.1), abs=1e-12)


def test_the_interval_is_that_of_all_resamples() -> None:
    """Five values have 3,125 resamples: all of them, instead of 10,000 drawn at random."""
    values = [-0.02, 0.011, 0.013, 0.034, 0.05]
    every = quantiles((sum(each) / 5 for each in product(values, repeat=5)), n=40, method="inclusive")
    assert bootstrap(values) == pytest.approx((every[0], every[-1]), abs=0.001)


def test_of_many_values_it_is_that_of_the_normal_distribution() -> None:
    chance = random.Random(0)
    values = [chance.gauss(0.3, 0.1) for _ in range(400)]
    low, high = bootstrap(values) or (0, 0)
    mean, std, n = summarise(values) or Summary(0, 0, 0)
    half = NormalDist().inv_cdf(0.5 + LEVEL / 200) * (std or 0) / math.sqrt(n)
    assert (low, high) == (pytest.approx(mean - half, abs=0.05 * half), pytest.approx(mean + half, abs=0.05 * half))


def test_again_it_is_the_same_and_of_negatives_the_mirror_image() -> None:
    values = [0.3, -0.1, 0.2, 0.25, 0.7, 0.4]
    low, high = bootstrap(values) or (0, 0)
    assert bootstrap(list(values)) == (low, high)
    assert bootstrap([-value for value in values]) == pytest.approx((-high, -low))
    assert -0.1 <= low < sum(values) / 6 < high <= 0.7


def test_outcomes_count_by_which_end_is_better_and_rounding_is_a_tie() -> None:
    assert outcomes([0.2, -0.1, 1e-13, 0.0], better=1) == (1, 2, 1)
    assert outcomes([0.2, 0.3, -0.1], better=-1) == (1, 0, 2)
    assert outcomes([], better=1) == (0, 0, 0)
