"""Areas under accuracy against memory, by hand."""

from __future__ import annotations

import math

import pytest

from suite.auc import area, over_span

FIVE = (7.6, 12.4, 16.0, 19.8, 23.5)  # the survey's budgets on CIFAR-100 B0I10, in MiB


def test_trapezoids_by_hand() -> None:
    # 2 * (0.5 + 0.7) / 2 + 3 * (0.7 + 0.9) / 2
    assert area({0.0: 0.5, 2.0: 0.7, 5.0: 0.9}) == pytest.approx(3.6)
    assert over_span({0.0: 0.5, 2.0: 0.7, 5.0: 0.9}) == pytest.approx(0.72)


def test_points_may_come_in_any_order() -> None:
    assert area({5.0: 0.9, 0.0: 0.5, 2.0: 0.7}) == area({0.0: 0.5, 2.0: 0.7, 5.0: 0.9})


def test_one_accuracy_everywhere_is_its_multiple_of_the_span() -> None:
    level = dict.fromkeys(FIVE, 0.68)
    assert area(level) == pytest.approx(0.68 * 15.9)
    assert over_span(level) == pytest.approx(0.68)
    # published areas on this ladder lie between these: 4.31 (GEM) to 11.12 (FOSTER)
    assert 4.31 < area(level) < 11.12  # type: ignore[operator]


@pytest.mark.parametrize("points", [{}, {7.6: 0.5}, {7.6: 0.5, 12.4: math.nan}, {7.6: math.inf, 12.4: 0.5}])
def test_no_area(points: dict[float, float]) -> None:
    assert area(points) is None
    assert over_span(points) is None
