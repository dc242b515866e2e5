"""What makes WA itself: distillation weighed by the share of old classes, then aligned norms in the head."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from grace.methods.wa import Config
from grace.nets.heads import LinearHead
from grace.streams.samples import Batch
from grace.streams.stream import tasks
from grace.training.phase import Phase, Recipe
from tests.grace.methods.learning_for_tests import learned
from tests.grace.streams_for_tests import PROTOCOL, build, data, run


def softmax(z: Tensor) -> Tensor:
    return z.exp() / z.exp().sum(dim=1, keepdim=True)


def test_the_loss_weighs_labels_and_teacher_by_the_share_of_old_classes() -> None:
    learner = build("wa")
    first, second, third = tasks(PROTOCOL, *data())
    learned(learner, first)
    learned(learner, second)
    before = copy.deepcopy(learner.net)
    held = learner.memory.samples(third.train.source)
    rows = torch.cat([third.train.rows[::5], held.rows[::3]])
    batch = Batch(third.train.source.batch(rows, "test", 0), third.train.source.y[rows])
    share = 4 / 6  # lambda: four of six classes are old
    seen = []

    def look(phase: Phase) -> None:
        logits, old = learner.net.logits(batch.x), before.logits(batch.x)
        labels = softmax(logits)[torch.arange(len(batch.y)), batch.y]
        soft, own = softmax(old / 2.0), softmax(logits[:, :4] / 2.0)
        terms = phase.loss(batch)
        assert set(terms) == {"ce", "distil"}
        assert float(terms["ce"]) == pytest.approx(float((1 - share) * -labels.log().mean()), rel=1e-5)
        assert float(terms["distil"]) == pytest.approx(float(share * -(soft * own.log()).sum(dim=1).mean()), rel=1e-5)
        assert phase.data.rows.tolist() == [*third.train.rows.tolist(), *held.rows.tolist()]
        seen.append(logits[:, :4] - old)

    learned(learner, third, look)
    assert seen[0].abs().max() < 1e-5  # at first old logits are the teacher's, as growing keeps them
    assert seen[1].abs().max() > 0.01  # then they move, while the teacher stays what it was


def test_new_rows_come_to_the_norm_of_the_old_and_nothing_else_changes() -> None:
    learner = build("wa", epochs=6)
    first, second, _ = tasks(PROTOCOL, *data())
    trained = []
    learned(learner, first, lambda phase: trained.append(copy.deepcopy(learner.net.head)))
    assert torch.equal(learner.net.head.weight, trained[-1].weight)  # nothing to align with in the first task
    learned(learner, second, lambda phase: trained.append(copy.deepcopy(learner.net.head)))
    was, now = trained[-1], learner.net.head
    norms = [sum(float(v) ** 2 for v in row) ** 0.5 for row in was.weight]
    gamma = (norms[0] + norms[1]) / (norms[2] + norms[3])
    assert abs(gamma - 1) > 0.01  # or alignment would not be seen
    assert torch.equal(now.weight[:2], was.weight[:2])
    assert torch.equal(now.bias, was.bias)
    assert torch.allclose(now.weight[2:], gamma * was.weight[2:])
    aligned = now.weight.norm(dim=1)
    assert float(aligned[2:].mean()) == pytest.approx(float(aligned[:2].mean()), rel=1e-5)


def test_alignment_is_one_function_for_every_method_that_aligns(monkeypatch: pytest.MonkeyPatch) -> None:
    align, calls = LinearHead.align, []

    def noted(head: LinearHead, new_classes: int) -> None:
        calls.append((head.out_features, new_classes))
        align(head, new_classes)

    monkeypatch.setattr(LinearHead, "align", noted)
    for name, fields in (("wa", {}), ("grace", {"threshold": 0.0})):
        calls.clear()
        run(build(name, epochs=1, **fields))
        assert calls == [(4, 2), (6, 2)], name


def test_the_numbers_are_the_published_code_s() -> None:
    assert Config() == Config(
        initial=Recipe(200, lr=0.1, weight_decay=5e-4, milestones=(60, 120, 170)),
        later=Recipe(170, lr=0.1, weight_decay=2e-4, milestones=(60, 100, 140)),
        temperature=2.0,
    )
    with pytest.raises(ValueError, match="temperature must be above 0"):
        Config(temperature=0.0)
