"""Which method within which memory, worked out by hand from the ten runs."""

from __future__ import annotations

from typing import Any

import pytest

from suite.report.answers import Answer
from suite.report.text import ceiling
from suite.results import result_row
from tests.suite.records_for_tests import record, ten_rows
from tests.suite.report.reports_for_tests import report

ONE = (4_000_000 + 12 * 2**17) / 2**20  # MiB of one branch and twelve images
TWO, THREE = ONE + 4_000_000 / 2**20, ONE + 8_000_000 / 2**20


def answers(rows: list[dict[str, Any]] | None = None) -> list[Answer]:
    return report(rows).answers


def test_the_best_method_changes_where_more_memory_allows_a_better_one() -> None:
    found = [(a.place.name, a.best.method, a.budget) for a in answers()]
    assert found == [
        ("toy-b0i2", "anchor", pytest.approx(ONE)),
        ("toy-b0i2", "prune_it", pytest.approx(TWO)),  # widen has the same mean, and needs three branches
        ("toy-b4i2", "anchor", pytest.approx(ONE)),
        ("toy-b4i2", "prune_it", pytest.approx(TWO)),
    ]


def test_it_is_said_how_sure_that_is() -> None:
    first, second, third, _ = answers()
    assert first.second is not None
    assert first.beside is not None
    assert first.second.method == "drift"
    # anchor: (.9 + .8 + .8) / 3 and (.9 + .75 + 22 / 30) / 3; drift: (1 + .5 + 1 / 3) / 3 and (1 + .5 + .3) / 3
    assert first.beside.difference == pytest.approx((2.5 / 3 - 1.8333333333 / 3 + 2.3833333333 / 3 - 0.6) / 2)
    assert (first.beside.wins, first.beside.pairs) == (2, 2)
    assert first.sure == "ahead in 2 of 2 pairs; fewer than 5 pairs: not sure"
    assert second.beside is not None
    assert second.beside.interval is None
    assert third.sure == "nothing to compare it with within this memory"


@pytest.mark.parametrize(
    ("lead", "words"),
    [
        ([3, 2, 3, 2, 3], "ahead in 5 of 5 pairs; the interval is above zero"),
        ([3, -3, 2, -2, 1], "ahead in 3 of 5 pairs; the interval includes zero: a tie, as far as these runs tell"),
    ],
)
def test_five_pairs_are_judged_by_their_interval(lead: list[int], words: str) -> None:
    rows = [result_row(record(seed, "anchor", seed=seed, right=[[5], [5, 5], [5, 5, 5]])) for seed in range(5)]
    rows += [result_row(record(9 + seed, "widen", seed=seed, right=[[5 + more], [5, 5], [5, 5, 5]]))
             for seed, more in enumerate(lead)]  # fmt: skip
    (answer,) = answers(rows)
    assert answer.best.method == "widen"
    assert answer.sure == words


def test_an_aligned_protocol_has_one_answer_at_its_budget() -> None:
    rows = [{**row, "protocol": "toy-b0i2+mb=12", "budget_mb": 12.0, "alignment": "mb=12"}
            for row in ten_rows() if row["protocol"] == "toy-b0i2"]  # fmt: skip
    (answer,) = answers(rows)
    assert (answer.budget, answer.aligned, answer.place.base) == (12.0, True, "toy-b0i2")


def test_a_budget_is_met_only_by_a_method_whose_every_run_fits() -> None:
    rows = ten_rows()
    (grown,) = [row for row in rows if row["method"] == "prune_it" and row["train_seed"] == 1]
    grown["memory_mb_max"] = 20.0
    second = answers(rows)[1]
    assert (second.best.method, second.budget) == ("widen", pytest.approx(THREE))


@pytest.mark.parametrize(("value", "text"), [(0.30123, "0.302"), (5.3147, "5.32"), (12.0, "12"), (516.91, "517")])
def test_budgets_are_rounded_up(value: float, text: str) -> None:
    assert ceiling(value) == text
