"""Metrics against hand-worked matrices and against the identities that hold for every matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grace import metrics
from grace.metrics import Scores


def of(rows: list[list[int]], counts: list[int] | None = None) -> Scores:
    """Scores from the right answers per task, row by row; 100 images a task unless said, so hits read as percent."""
    hits = np.zeros((len(rows), len(rows)), dtype=np.int64)
    for t, row in enumerate(rows):
        hits[t, : t + 1] = row
    return Scores(hits, np.array(counts or [100] * len(rows)))


# Five equal tasks. Drops from the diagonal 25, 17, -1, 8: task 2 got better at the very end.
FIVE = of([[90], [80, 85], [75, 80, 70], [70, 75, 65, 80], [65, 68, 71, 72, 75]])
# A B50 stream: 50 classes x 100 images, then twice 10 x 100.
B50 = of([[4000], [3500, 800], [3000, 600, 700]], [5000, 1000, 1000])


def test_four_forgettings_of_one_matrix() -> None:
    assert metrics.forget_max(FIVE) == pytest.approx((25 + 17 + 0 + 8) / 4 / 100)  # 12.50
    assert metrics.forget_prev(FIVE) == pytest.approx((25 + 17 - 1 + 8) / 4 / 100)  # 12.25
    assert metrics.forget_diag(FIVE) == pytest.approx(0.1225)
    assert metrics.forget_lib(FIVE) == pytest.approx((25 + 17 - 1) / 4 / 100)  # 10.25
    assert metrics.bwt(FIVE) == pytest.approx(-0.1225)


def test_best_row_may_lie_between() -> None:
    scores = of([[50], [90, 60], [70, 60, 80]])
    assert metrics.forget_max(scores) == metrics.forget_prev(scores) == pytest.approx(0.10)
    assert metrics.forget_diag(scores) == pytest.approx(-0.10)
    assert metrics.forget_lib(scores) == pytest.approx(-0.10)


def test_averages_of_equal_tasks() -> None:
    curve = [0.90, 0.825, 0.75, 0.725, 0.702]
    assert metrics.curve(FIVE) == pytest.approx(curve)
    assert metrics.task_curve(FIVE) == pytest.approx(curve)
    assert metrics.avg(FIVE) == metrics.avg_task(FIVE) == pytest.approx(0.7804)
    assert metrics.avg_inc(FIVE) == pytest.approx(0.7505)
    assert metrics.last(FIVE) == metrics.last_task(FIVE) == pytest.approx(0.702)
    assert metrics.drop(FIVE) == pytest.approx(0.198)


def test_averages_of_unequal_tasks() -> None:
    assert metrics.curve(B50) == pytest.approx([4000 / 5000, 4300 / 6000, 4300 / 7000])
    assert metrics.task_curve(B50) == pytest.approx([0.8, (0.7 + 0.8) / 2, (0.6 + 0.6 + 0.7) / 3])
    assert metrics.avg(B50) == pytest.approx((0.8 + 43 / 60 + 43 / 70) / 3)
    assert metrics.avg_task(B50) == pytest.approx((0.8 + 0.75 + 1.9 / 3) / 3)
    assert metrics.last(B50) == pytest.approx(43 / 70)
    assert metrics.last_task(B50) == pytest.approx(1.9 / 3)
    assert metrics.forget_max(B50) == pytest.approx((0.2 + 0.2) / 2)
    assert metrics.old(B50) == [None, pytest.approx(0.7), pytest.approx(3600 / 6000)]
    assert metrics.new(B50) == pytest.approx([0.8, 0.8, 0.7])


def test_intransigence_is_the_distance_to_the_upper_bound() -> None:
    upper = of([[4500], [4400, 900], [4300, 900, 850]], [5000, 1000, 1000])
    assert metrics.intransigence(B50, upper) == pytest.approx([0.1, 1000 / 6000, 1750 / 7000])
    with pytest.raises(ValueError, match="argument"):
        metrics.intransigence(B50, FIVE)


def test_one_task() -> None:
    scores = of([[73]])
    assert metrics.curve(scores) == [0.73]
    assert metrics.avg(scores) == metrics.last(scores) == metrics.avg_task(scores) == metrics.last_task(scores) == 0.73
    assert metrics.avg_inc(scores) is None
    for name in ("forget_max", "forget_prev", "forget_diag", "forget_lib", "bwt", "drop"):
        value = metrics.SCALARS[name](scores)
        assert value == 0.0
        assert not math.copysign(1.0, value or 0.0) < 0, f"{name} is a negative zero"
    assert metrics.old(scores) == [None]
    assert metrics.new(scores) == [0.73]


def test_two_tasks() -> None:
    scores = of([[90], [60, 80]])
    assert metrics.forget_max(scores) == metrics.forget_prev(scores) == metrics.forget_diag(scores)
    assert metrics.forget_diag(scores) == pytest.approx(0.3)
    assert metrics.forget_lib(scores) == 0.0  # the only earlier task is the one that it leaves out


def test_nothing_is_rounded() -> None:
    scores = of([[1], [1, 1]], [3, 7])
    assert metrics.curve(scores) == [1 / 3, 2 / 10]
    assert metrics.avg(scores) == (1 / 3 + 0.2) / 2


# From predictions: 3 + 2 classes, tasks of unequal size that do not coincide with any round number of classes.
LABELS = [np.array([0, 1, 2, 2], np.int16), np.array([0, 1, 2, 2, 3, 4, 3], np.int16)]
BEST = [
    np.array([[0, 1, 2], [2, 1, 0], [2, 0, 1], [0, 1, 2]], np.int16),
    np.array(
        [
            [0, 1, 2, 3, 4],
            [4, 3, 2, 0, 1],
            [3, 2, 1, 0, 4],
            [2, 1, 0, 3, 4],
            [3, 0, 1, 2, 4],
            [3, 4, 0, 1, 2],
            [0, 1, 2, 4, 3],
        ],
        np.int16,
    ),
]


def test_counting() -> None:
    scores = metrics.score([3, 5], LABELS, BEST)
    assert scores.hits.tolist() == [[2, 0], [2, 1]]
    assert scores.counts.tolist() == [4, 3]
    assert scores.matrix[0, 0] == 0.5
    assert np.isnan(scores.matrix[0, 1])
    assert scores.matrix[1].tolist() == [0.5, 1 / 3]


def test_top_k_widens_and_uses_all_classes_when_there_are_few() -> None:
    assert metrics.score([3, 5], LABELS, BEST, top=2).hits.tolist() == [[3, 0], [3, 2]]
    assert metrics.score([3, 5], LABELS, BEST, top=5).hits.tolist() == [[4, 0], [4, 3]]
    assert metrics.curve(metrics.score([3, 5], LABELS, BEST, top=5)) == [1.0, 1.0]


@pytest.mark.parametrize("increments", [[50, 10, 10], [5] * 4, [20] * 3, [2, 3, 1]])
def test_tasks_are_the_groups_whatever_their_size(increments: list[int]) -> None:
    """The groups are tasks, never ten labels at a time: only task j's images decide a[t, j]."""
    seen = np.cumsum(increments).tolist()
    labels = [np.repeat(np.arange(s), 2).astype(np.int16) for s in seen]
    wrong_task = 1
    best = []
    for truth in labels:
        in_task = (truth >= seen[wrong_task - 1]) & (truth < seen[wrong_task])
        best.append(np.where(in_task, (truth + 1) % seen[0], truth)[:, None].astype(np.int16))
    matrix = metrics.score(seen, labels, best).matrix
    for t in range(len(increments)):
        for j in range(t + 1):
            assert matrix[t, j] == (0.0 if j == wrong_task else 1.0)


def test_order_of_the_images_is_free() -> None:
    shuffled = np.random.default_rng(0).permutation(7)
    labels, best = [LABELS[0], LABELS[1][shuffled]], [BEST[0], BEST[1][shuffled]]
    assert (metrics.score([3, 5], labels, best).hits == metrics.score([3, 5], LABELS, BEST).hits).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([LABELS[0], LABELS[1] + 1], "task 1: labels"),  # class 5 was not seen
        ([LABELS[0] - 1, LABELS[1]], "task 0: labels"),
        ([LABELS[0], LABELS[1][:-1]], "one per prediction"),
        ([LABELS[0], np.array([0, 1, 2, 3, 3, 4, 3], np.int16)], "the same ones"),  # an image changed its task
        ([np.array([0, 1, 2, 2], np.int16), np.array([0, 1, 2, 2, 1, 0, 2], np.int16)], "needs test images"),
    ],
)
def test_images_that_do_not_fit_are_refused(labels: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.score([3, 5], labels, BEST)


@st.composite
def streams(draw: st.DrawFn) -> Scores:
    counts = draw(st.lists(st.integers(1, 200), min_size=1, max_size=6))
    rows = [[draw(st.integers(0, n)) for n in counts[: t + 1]] for t in range(len(counts))]
    return of(rows, counts)


@given(streams())
@settings(max_examples=80, deadline=None)
def test_identities(scores: Scores) -> None:
    values = {name: f(scores) for name, f in metrics.SCALARS.items()}
    tasks = len(scores.counts)
    tolerance = 1e-12
    assert values["forget_max"] >= 0
    assert values["forget_max"] >= values["forget_prev"] - tolerance
    assert values["forget_prev"] >= values["forget_diag"] - tolerance
    assert values["bwt"] == pytest.approx(-values["forget_diag"], abs=tolerance)
    left_out = scores.matrix[-2, -2] - scores.matrix[-1, -2] if tasks > 1 else 0.0
    assert values["forget_lib"] * max(tasks - 1, 1) + left_out == pytest.approx(
        values["forget_diag"] * max(tasks - 1, 1), abs=tolerance
    )
    low, high = min(metrics.curve(scores)), max(metrics.curve(scores))
    assert low - tolerance <= values["avg"] <= high + tolerance
    if tasks > 1:
        rest = values["avg_inc"]
        assert rest is not None
        assert values["avg"] * tasks == pytest.approx(metrics.curve(scores)[0] + rest * (tasks - 1))
        before = metrics.old(scores)[-1]
        share = scores.counts[:-1].sum() / scores.counts.sum()
        assert before is not None
        assert values["last"] == pytest.approx(share * before + (1 - share) * metrics.new(scores)[-1])


@given(st.integers(0, 100), st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_constant_accuracy_gives_constant_metrics(percent: int, sizes: list[int]) -> None:
    counts = [100 * s for s in sizes]
    scores = of([[percent * s for s in sizes[: t + 1]] for t in range(len(sizes))], counts)
    for name in ("avg", "last", "avg_task", "last_task"):
        assert metrics.SCALARS[name](scores) == pytest.approx(percent / 100)
    for name in ("forget_max", "forget_prev", "forget_diag", "forget_lib", "bwt", "drop"):
        assert metrics.SCALARS[name](scores) == pytest.approx(0)


@given(streams(), st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_more_images_of_the_same_change_nothing(scores: Scores, factor: int) -> None:
    many = Scores(scores.hits * factor, scores.counts * factor)
    assert metrics.curve(many) == metrics.curve(scores)
    assert metrics.forget_max(many) == metrics.forget_max(scores)
