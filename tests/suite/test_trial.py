"""One trial: which images it trains on and is scored on, that it goes on, and that it may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import suite.trial
from grace.nets import backbone_factory
from grace.run import run_stream
from grace.streams.datasets import load
from grace.streams.samples import Dataset
from grace.streams.stream import held_out
from grace.training.engine import Engine
from suite.configure import build
from suite.errors import SuiteError
from suite.launch import LaunchOptions
from suite.plugins import loaded
from suite.search import Kept, Notebook, Search
from suite.sweep import sweep_of
from suite.trial import training_images, work_on
from suite.tuning import held, search_of

TOY = {"methods": ["replay"], "protocols": ["toy-b0i2"], "limit_epochs": 1}


def toy_search(texts: tuple[str, ...] = (), trials: int = 2, **changes: Any) -> Search:
    numbers: dict[str, Any] = {"order": 0, "tasks": 3, "holdout": 0.25, "seed": 0, "confirm": 0}
    return search_of(sweep_of({**TOY, **changes}, "test"), texts, trials=trials, **numbers)


class Watched(Dataset):
    """A split that keeps which rows are read in which view."""

    def __init__(self, inner: Dataset) -> None:
        self.inner, self.y, self.bytes_per_image = inner, inner.y, inner.bytes_per_image
        self.read: dict[str, set[int]] = {"train": set(), "test": set()}

    def batch(self, rows: torch.Tensor, view: Any, seed: int) -> torch.Tensor:
        self.read[view] |= set(rows.tolist())
        return self.inner.batch(rows, view, seed)

    def to(self, device: torch.device) -> Dataset:
        return self


class Closed(Dataset):
    """A split that nobody may read."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the test split was asked for its {name}")


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Watched]]:
    found: list[Watched] = []

    def loads(*arguments: Any, **options: Any) -> tuple[Dataset, Dataset]:
        found.append(Watched(load(*arguments, **options)[0]))
        return found[-1], Closed()

    monkeypatch.setattr(suite.trial, "load", loads)
    training_images.cache_clear()
    yield found
    training_images.cache_clear()


@pytest.fixture
def options(tmp_path: Path) -> LaunchOptions:
    return LaunchOptions(root=tmp_path, data=tmp_path, gpus_per_run=0, checkpoint_seconds=0)


def worked(search: Search, number: int, options: LaunchOptions, stop: Callable[[], bool] = lambda: False) -> Kept:
    heard: list[int] = []
    kept = work_on(
        search, search.trials[number], Notebook(options.root), options, lambda tasks, score: heard.append(tasks), stop
    )
    assert heard == list(range(1, len(kept.scores) + 1))
    return kept


def test_held_out_images_are_never_trained_on_and_test_images_never_read(
    watched: list[Watched], options: LaunchOptions
) -> None:
    search = toy_search()
    kept = worked(search, 0, options)
    assert kept.state == "finished"
    (split,) = watched
    left, out = held_out(search.protocol, split.inner, 0.25, 0, search.classes)
    assert split.read["train"] == set(left.rows.tolist())
    assert set(out.rows.tolist()) <= split.read["test"] <= set(left.rows.tolist()) | set(out.rows.tolist())
    assert len(out.rows) == 6 * 10  # a quarter of the toy's 40 images of each class of three tasks
    classes = search.protocol.class_order(0)[:6]
    assert {classes[label] for label in split.y[sorted(split.read["train"])].tolist()} == set(classes)


def test_the_first_trial_has_the_settings_in_use(options: LaunchOptions) -> None:
    """By a run that is put together here: first tasks, what is left of the images, what is held out as test split."""
    search = toy_search(trials=3)
    assert search.trials[0].values == {}
    assert search.trials[0].config == search.config
    assert all(trial.config != search.config for trial in search.trials[1:])
    learner, config = loaded("replay", "")
    train, _ = load(search.protocol.dataset, options.data, search.protocol.class_order(0))
    built = learner(
        build(config, search.config), backbone_factory(search.protocol.backbone), search.protocol.budget,
        torch.device("cpu"),
    )  # fmt: skip
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    parts = held_out(search.protocol, train, 0.25, 0, 6)
    records = run_stream(built, search.stream, *parts, seed=0, engine=Engine("fp32", "auto"))
    assert worked(search, 0, options).scores == tuple(record.accuracy for record in records)


def test_a_stopped_trial_goes_on_and_ends_as_if_nothing_had_been(options: LaunchOptions, tmp_path: Path) -> None:
    search = toy_search()
    whole = worked(search, 0, replace(options, root=tmp_path / "whole"))
    calls = iter([False] * 4 + [True] * 9)
    half = worked(search, 0, options, lambda: next(calls))
    assert half.state == "running"
    assert 0 < len(half.scores) < 3
    again = worked(search, 0, options)
    assert (again.state, again.scores) == ("finished", whole.scores)
    assert again.seconds > half.seconds
    assert not Notebook(options.root).work(search.trials[0]).exists()


def test_a_trial_that_is_over_is_told_again_and_not_trained_again(
    options: LaunchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = toy_search()
    first = worked(search, 0, options)
    left = Notebook(options.root).work(search.trials[0])
    left.mkdir()  # by a kill between the last score and the tidying
    monkeypatch.setattr(suite.trial, "run_stream", None)
    assert worked(search, 0, options) == first
    assert not left.exists()


def test_a_trial_that_diverges_is_kept_as_a_failure(options: LaunchOptions) -> None:
    search = toy_search(("initial.lr=1e30",))
    kept = worked(search, 1, options)
    assert (kept.state, kept.kind) == ("failed", "non-finite")
    assert "phase learn, epoch 0" in kept.reason
    assert "Traceback" in kept.traceback
    assert Notebook(options.root).read(search.trials[1]) == kept


def test_who_is_told_may_end_a_trial_after_a_task(options: LaunchOptions) -> None:
    search, book = toy_search(), Notebook(options.root)

    def tell(tasks: int, score: float) -> None:
        if tasks == 2:
            raise SystemExit  # as Ray Tune's report does

    with pytest.raises(SystemExit):
        work_on(search, search.trials[0], book, options, tell, lambda: False)
    kept = book.read(search.trials[0])
    assert kept is not None
    assert (kept.state, len(kept.scores)) == ("running", 2)


@pytest.mark.parametrize(
    ("texts", "changes", "words"),
    [
        (("initial.lr=0..1",), {}, "lr must be above 0"),
        ((), {"protocols": ["toy-b0i2+mb=1"]}, "tune replay on toy-b0i2, whose presets hold here too"),
        ((), {"protocols": ["toy-b0i10"]}, "one task"),
        ((), {"methods": ["replai"]}, '"replay"'),
    ],
)
def test_what_cannot_be_searched(texts: tuple[str, ...], changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError) as caught:
        toy_search(texts, **changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_search_is_held_by_one_process_and_a_name_by_one_search(tmp_path: Path) -> None:
    search = toy_search()
    with held(tmp_path, "mine", search) as book:
        assert book.folder == tmp_path / "tuning" / "mine"
        with pytest.raises(SuiteError, match="another process"), held(tmp_path, "mine", search):
            pass
    other = replace(search, seed=3)
    with pytest.raises(SuiteError, match="another search, its seed is 0"), held(tmp_path, "mine", other):
        pass
    with held(tmp_path, "mine", replace(search, trials=())):
        pass


def test_the_settings_in_use_are_not_tried_twice() -> None:
    search = toy_search(("initial.lr={0.05,0.1,0.2}",), trials=9)  # 0.1 is in use
    assert [trial.values for trial in search.trials[:1]] == [{}]
    assert sorted(trial.values["initial"]["lr"] for trial in search.trials[1:]) == [0.05, 0.2]
