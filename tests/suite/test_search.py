"""A search's trials and what is kept of them: what counts as done, who is tried again, and who has won."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import protocols
from suite.search import Kept, Notebook, Search, Trial, carry_out, finalists, left, named
from suite.verdict import verdict


def search(count: int = 6, confirm: int = 2) -> Search:
    trials = tuple(Trial(i, 5, {"t": i} if i else {}, {"t": float(i)}) for i in range(count))
    return Search(
        method="wa", protocol=protocols.get("digits-b0i2"), config={"t": 0.0}, space={"t": "0..9"}, order=0, tasks=3,
        holdout=0.1, seed=5, confirm=confirm, trials=trials,
    )  # fmt: skip


def keep(book: Notebook, trial: Trial, *scores: float, state: str = "finished", kind: str = "") -> None:
    book.write(Kept(trial, state, scores, 1.0, kind))  # type: ignore[arg-type]


@pytest.fixture
def book(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "there")


def test_what_is_kept_is_read_again_for_the_same_settings_only(book: Notebook) -> None:
    trial = search().trials[1]
    assert book.read(trial) is None
    keep(book, trial, 0.5, 0.25)
    assert book.read(trial) == Kept(trial, "finished", (0.5, 0.25), 1.0)
    assert book.read(replace(trial, config={"t": 9.0})) is None
    assert book.read(replace(trial, seed=6)) is None
    (path,) = book.folder.glob("*.json")
    path.write_text(path.read_text()[:40])
    assert book.read(trial) is None


def test_what_is_over() -> None:
    trial = search().trials[0]
    over = [("finished", "", True), ("stopped", "", True), ("running", "", False), ("failed", "oom", False)]
    for state, kind, expected in [*over, ("failed", "non-finite", True)]:
        assert Kept(trial, state, (), 0.0, kind).over is expected  # type: ignore[arg-type]
    assert Kept(trial, "failed", (0.9,)).score < Kept(trial, "finished", (0.0,)).score
    assert Kept(trial, "finished", (0.5, 0.25)).score == 0.375


def test_the_three_best_and_the_settings_in_use_are_tried_with_other_seeds(book: Notebook) -> None:
    one = search()
    for trial, score in zip(one.trials, (0.5, 0.1, 0.9, 0.3, 0.7), strict=False):
        keep(book, trial, score)
    keep(book, one.trials[5], 1.0, state="stopped")  # ahead after one task, and yet behind
    assert [(each.number, each.seed) for each in finalists(one, book)] == [
        (n, seed) for seed in (6, 7) for n in (0, 2, 4, 3)
    ]
    assert finalists(replace(one, confirm=0), book) == []
    assert [each.seed for each in left(one, book)] == [6] * 4 + [7] * 4


def test_the_winner_is_who_holds_with_other_seeds(book: Notebook) -> None:
    one = search(3)
    for trial, score in zip(one.trials, (0.5, 0.9, 0.8), strict=True):
        keep(book, trial, score)
    for number, scores in ((0, (0.50, 0.54)), (1, (0.40, 0.42)), (2, (0.60, 0.66))):
        for seed, score in zip((6, 7), scores, strict=True):
            keep(book, replace(one.trials[number], seed=seed), score)
    found = verdict(one, book)
    assert found.best is not None
    assert found.best.first.trial.number == 2  # not 1, which was luckier
    assert found.gain == pytest.approx(0.11)  # mean of 0.10 and 0.12
    assert found.error == pytest.approx(0.01)  # their deviation 0.02 / sqrt 2, over sqrt 2
    assert found.better
    assert [each.first.trial.number for each in found.candidates] == [2, 1, 0]


@pytest.mark.parametrize(("scores", "better"), [((0.51, 0.55), True), ((0.70, 0.36), False), ((0.50, 0.54), False)])
def test_better_is_by_more_than_the_seeds_differ(book: Notebook, scores: tuple[float, float], better: bool) -> None:
    one = search(2)
    for trial in one.trials:
        keep(book, trial, 0.5)
    for number, values in ((0, (0.50, 0.54)), (1, scores)):
        for seed, score in zip((6, 7), values, strict=True):
            keep(book, replace(one.trials[number], seed=seed), score)
    assert verdict(one, book).better is better


def test_nothing_wins_where_nothing_else_finished(book: Notebook) -> None:
    one = search(2)
    assert verdict(one, book).best is None
    keep(book, one.trials[0], 0.5)
    keep(book, one.trials[1], state="failed", kind="error")
    found = verdict(one, book)
    assert (found.best, found.better) == (None, False)
    assert found.default is not None


def test_the_same_search_with_more_trials_is_the_same_search() -> None:
    assert named(search(3)) == named(search(6, confirm=0))
    for change in ({"order": 1}, {"holdout": 0.2}, {"tasks": 2}, {"seed": 6}, {"space": {"t": "0..8"}}):
        assert named(replace(search(), **change)) != named(search()), change  # type: ignore[arg-type]


def test_the_stream_is_the_first_tasks_of_the_protocol() -> None:
    assert search().stream.increments == (2, 2, 2)
    fifty = replace(search(), protocol=protocols.get("cifar100-b50i10+shots=20"))
    assert fifty.stream.increments == (50, 10, 10)
    assert fifty.stream.budget == fifty.protocol.budget


def test_a_stop_in_the_search_leaves_the_rest_alone(book: Notebook) -> None:
    asked: list[int] = []
    assert carry_out(search(), book, lambda trials, halving: bool(asked.append(len(trials)) or True))
    assert asked == [6]
