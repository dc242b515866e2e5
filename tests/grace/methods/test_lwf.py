"""What makes LwF itself: new columns learn the labels, old columns follow the net before, and nothing is kept."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from grace.methods.lwf import Config
from grace.streams.samples import Batch, Task
from grace.streams.stream import tasks
from grace.training.phase import Phase, Recipe
from tests.grace.methods.learning_for_tests import learned
from tests.grace.streams_for_tests import PROTOCOL, build, data


def some(task: Task) -> Batch:
    rows = task.train.rows[::5]
    return Batch(task.train.source.batch(rows, "test", 0), task.train.source.y[rows])


def softmax(z: Tensor) -> Tensor:
    return z.exp() / z.exp().sum(dim=1, keepdim=True)


def test_the_loss_is_3_times_distillation_and_cross_entropy_of_new_columns_only() -> None:
    learner = build("lwf")
    first, second, _ = tasks(PROTOCOL, *data())
    learned(learner, first)
    before = copy.deepcopy(learner.net)
    batch = some(second)
    seen = []

    def look(phase: Phase) -> None:
        logits, old = learner.net.logits(batch.x), before.logits(batch.x)
        assert (logits.shape[1], old.shape[1]) == (4, 2)
        labels = softmax(logits[:, 2:])[torch.arange(len(batch.y)), batch.y - 2]
        soft, own = softmax(old / 2.0), softmax(logits[:, :2] / 2.0)
        terms = phase.loss(batch)
        assert set(terms) == {"ce", "distil"}
        assert float(terms["ce"]) == pytest.approx(float(-labels.log().mean()), rel=1e-5)
        assert float(terms["distil"]) == pytest.approx(float(3 * -(soft * own.log()).sum(dim=1).mean()), rel=1e-5)
        assert torch.equal(phase.data.rows, second.train.rows)
        seen.append(logits[:, :2] - old)

    learned(learner, second, look)
    assert seen[0].abs().max() < 1e-5  # at first old logits are the teacher's, as growing keeps them
    assert seen[1].abs().max() > 0.01  # then they move, while the teacher stays what it was
    assert len(learner.memory) == 0


def test_the_first_task_is_plain_cross_entropy() -> None:
    learner = build("lwf")
    first, *_ = tasks(PROTOCOL, *data())
    batch = some(first)
    looks = []

    def look(phase: Phase) -> None:
        terms = phase.loss(batch)
        labels = softmax(learner.net.logits(batch.x))[torch.arange(len(batch.y)), batch.y]
        assert list(terms) == ["ce"]
        assert float(terms["ce"]) == pytest.approx(float(-labels.log().mean()), rel=1e-5)
        looks.append(phase.name)

    learned(learner, first, look)
    assert looks == ["initial"] * 2


def test_the_numbers_are_the_published_code_s() -> None:
    assert Config() == Config(
        initial=Recipe(200, lr=0.1, weight_decay=5e-4, milestones=(60, 120, 160)),
        later=Recipe(250, lr=0.1, weight_decay=2e-4, milestones=(60, 120, 180, 220)),
        distillation=3.0,
        temperature=2.0,
    )
    with pytest.raises(ValueError, match="distillation must not be negative"):
        Config(distillation=-1.0)
    with pytest.raises(ValueError, match="temperature must be above 0"):
        Config(temperature=0.0)
