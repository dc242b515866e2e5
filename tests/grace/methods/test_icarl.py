"""What makes iCaRL itself: replay, distillation of old columns, and prediction by the nearest mean of exemplars."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from grace.methods.icarl import Config
from grace.streams.samples import Batch
from grace.streams.stream import tasks
from grace.training.phase import Phase, Recipe
from tests.grace.methods.learning_for_tests import learned
from tests.grace.streams_for_tests import PROTOCOL, build, data, run


def softmax(z: Tensor) -> Tensor:
    return z.exp() / z.exp().sum(dim=1, keepdim=True)


def by_softmax(logits: Tensor, old: Tensor, y: Tensor) -> dict[str, Tensor]:
    labels = softmax(logits)[torch.arange(len(y)), y]
    soft, own = softmax(old / 2.0), softmax(logits[:, :2] / 2.0)
    return {"ce": -labels.log().mean(), "distil": -(soft * own.log()).sum(dim=1).mean()}


def by_sigmoids(logits: Tensor, old: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The paper's algorithm 3, image by image and class by class; of an old class's image no new output is to rise."""
    g, q = 1 / (1 + (-logits).exp()), 1 / (1 + (-old).exp())
    new = kept = torch.zeros(())
    for i in range(len(y)):
        for k in (2, 3):
            new = new - (g[i, k].log() if y[i] == k else (1 - g[i, k]).log())
        for k in (0, 1):
            kept = kept - q[i, k] * g[i, k].log() - (1 - q[i, k]) * (1 - g[i, k]).log()
    return {"bce": new / len(y), "distil": kept / len(y)}


@pytest.mark.parametrize(("fields", "by_hand"), [({}, by_softmax), ({"loss": "bce"}, by_sigmoids)], ids=["ce", "bce"])
def test_the_loss_follows_labels_and_the_teacher(fields: dict[str, Any], by_hand: Any) -> None:
    learner = build("icarl", **fields)
    first, second, _ = tasks(PROTOCOL, *data())
    learned(learner, first)
    before = copy.deepcopy(learner.net)
    held = learner.memory.samples(second.train.source)
    rows = torch.cat([second.train.rows[::5], held.rows[::3]])
    batch = Batch(second.train.source.batch(rows, "test", 0), second.train.source.y[rows])
    seen = []

    def look(phase: Phase) -> None:
        logits, old = learner.net.logits(batch.x), before.logits(batch.x)
        expected, terms = by_hand(logits, old, batch.y), phase.loss(batch)
        assert set(terms) == set(expected)
        for name, value in expected.items():
            assert float(terms[name]) == pytest.approx(float(value), rel=1e-5), name
        assert phase.data.rows.tolist() == [*second.train.rows.tolist(), *held.rows.tolist()]
        seen.append(logits[:, :2] - old)

    learned(learner, second, look)
    assert seen[0].abs().max() < 1e-5  # at first old logits are the teacher's, as growing keeps them
    assert seen[1].abs().max() > 0.01  # then they move, while the teacher stays what it was


def test_distillation_has_a_weight() -> None:
    learner = build("icarl", distillation=0.5)
    logits, old, y = torch.randn(6, 4), torch.randn(6, 2), torch.tensor([0, 1, 2, 3, 2, 3])
    found: Any = learner
    terms = found._terms(logits, old, y, 2)
    expected = by_softmax(logits, old, y)
    assert float(terms["distil"]) == pytest.approx(0.5 * float(expected["distil"]), rel=1e-5)
    assert float(terms["ce"]) == pytest.approx(float(expected["ce"]), rel=1e-5)


def test_its_prediction_is_the_nearest_mean_of_exemplars() -> None:
    learner = build("icarl")
    record = run(learner)[-1]
    assert list(record.predictions) == ["nme", "linear"]
    train, test = data()
    held = {k: learner.net(train.batch(rows, "test", 0)).features for k, rows in learner.memory.by_class.items()}
    means = []
    for k in range(6):
        unit = torch.stack([f / f.square().sum().sqrt() for f in held[k].double()])
        means.append(unit.mean(dim=0) / unit.mean(dim=0).square().sum().sqrt())
    features = learner.net(test.batch(torch.arange(len(test.y)), "test", 0)).features.double()
    best = [min(range(6), key=lambda k: float((f / f.norm() - means[k]).norm())) for f in features]
    assert record.labels.tolist() == test.y.tolist()
    assert record.predictions["nme"][:, 0].tolist() == best
    assert record.predictions["linear"][:, 0].tolist() != best
    right = sum(a == b for a, b in zip(best, test.y.tolist(), strict=True))
    assert record.accuracy == pytest.approx(right / len(best))  # what tables print is its own rule's


def test_the_numbers_are_the_published_code_s() -> None:
    assert Config() == Config(
        initial=Recipe(200, lr=0.1, weight_decay=5e-4, milestones=(60, 120, 170)),
        later=Recipe(170, lr=0.1, weight_decay=2e-4, milestones=(80, 120)),
        distillation=1.0,
        temperature=2.0,
        loss="ce",
    )
    wrong: Any = "mse"
    with pytest.raises(ValueError, match="loss must be ce or bce, not mse"):
        Config(loss=wrong)
