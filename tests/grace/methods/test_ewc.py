"""What makes EWC itself: the Fisher information, its merging, and the penalty on what has moved."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from grace.methods.ewc import EWC, Config, merged, penalty
from grace.nets.incremental import IncrementalNet
from grace.streams.catalogue import Augmentation
from grace.streams.samples import Batch, Samples
from grace.streams.stream import tasks
from grace.training.phase import Phase, Recipe
from tests.grace.methods.learning_for_tests import learned
from tests.grace.streams_for_tests import PROTOCOL, SPEC, build, data, run

STILL = Augmentation(crop="none", flip=False)  # training images are the test view's
PLAIN = replace(PROTOCOL, dataset=replace(SPEC, augmentation=STILL))


def ewc(**fields: Any) -> EWC:
    learner = build("ewc", **fields)
    assert isinstance(learner, EWC)
    return learner


def information(net: IncrementalNet, samples: Samples, size: int) -> dict[str, Tensor]:
    """Per parameter the mean square of its gradient, batch after batch, of a copy of the net in train mode."""
    working = copy.deepcopy(net).train().requires_grad_(True)
    squares: dict[str, list[Tensor]] = {name: [] for name, _ in working.named_parameters()}
    for rows in samples.rows.split(size):
        working.zero_grad()
        logits, y = working.logits(samples.source.batch(rows, "test", 0)), samples.source.y[rows]
        (logits.logsumexp(dim=1) - logits[torch.arange(len(y)), y]).mean().backward()
        for name, parameter in working.named_parameters():
            assert parameter.grad is not None
            squares[name].append(parameter.grad**2)
    return {name: torch.stack(found).mean(dim=0) for name, found in squares.items()}


def close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-3, atol=1e-9, msg=lambda text, n=name: f"{n}: {text}")


def test_batches_of_one_give_the_fisher_information_image_by_image() -> None:
    learner = ewc(fisher_batch=1, clip=1e9)
    first, *_ = tasks(PLAIN, *data(PLAIN))
    learned(learner, first)
    expected = information(learner.net, first.train, 1)
    assert max(float(values.max()) for values in expected.values()) > 1e-3
    close(learner.state.fisher, expected)


def test_by_default_the_gradients_of_whole_batches_are_squared_and_clipped() -> None:
    learner = ewc()
    first, *_ = tasks(PLAIN, *data(PLAIN))
    assert len(first.train) <= 128  # one batch, so its order is of no consequence
    learned(learner, first)
    expected = information(learner.net, first.train, 128)
    large = sum(int((values > 1e-4).sum()) for values in expected.values())
    assert 0 < large < sum(values.numel() for values in expected.values())
    close(learner.state.fisher, {name: values.clamp(max=1e-4) for name, values in expected.items()})


def test_fisher_informations_are_averaged_over_tasks_by_their_classes() -> None:
    learner = ewc(fisher_batch=1, clip=1e9)
    first, second, third = tasks(PLAIN, *data(PLAIN))
    learned(learner, first)
    learned(learner, second)
    before = {name: values.clone() for name, values in learner.state.fisher.items()}
    learned(learner, third)
    expected = information(learner.net, third.train, 1)
    for name, values in before.items():  # four of six classes are old
        expected[name][: len(values)] = (4 * values + 2 * expected[name][: len(values)]) / 6
    close(learner.state.fisher, expected)
    assert learner.state.fisher["head.weight"].shape[0] == 6


def test_merging_by_hand() -> None:
    old = {"w": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([4.0])}
    new = {"w": torch.tensor([[5.0, 10.0], [7.0, 8.0]]), "b": torch.tensor([0.0, 3.0])}
    found = merged(old, new, 0.75)
    assert found["w"].tolist() == [[2.0, 4.0], [7.0, 8.0]]
    assert found["b"].tolist() == [3.0, 3.0]
    assert (old["b"].tolist(), new["b"].tolist()) == ([4.0], [0.0, 3.0])  # neither is written to
    assert merged({}, new, 0.0)["w"].tolist() == new["w"].tolist()


def test_the_penalty_by_hand_leaves_new_rows_free() -> None:
    net = nn.Linear(2, 3)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 5.0], [100.0, 100.0]]))
        net.bias.copy_(torch.tensor([0.0, 1.0, 100.0]))
    fisher = {"weight": torch.tensor([[1.0, 10.0], [0.5, 2.0]]), "bias": torch.tensor([3.0, 4.0])}
    anchor = {"weight": torch.tensor([[0.0, 2.0], [3.0, 2.0]]), "bias": torch.tensor([2.0, 1.0])}
    found = penalty(net, fisher, anchor)
    assert found.item() == (1 * 1 + 10 * 0 + 0.5 * 0 + 2 * 9 + 3 * 4 + 4 * 0) / 2
    found.backward()
    assert net.weight.grad is not None
    assert net.weight.grad.tolist() == [[1.0, 0.0], [0.0, 6.0], [0.0, 0.0]]


def test_the_loss_is_cross_entropy_of_new_columns_and_1000_times_the_penalty() -> None:
    learner = ewc()
    first, second, _ = tasks(PROTOCOL, *data())
    learned(learner, first)
    before = {name: values.detach().clone() for name, values in learner.net.named_parameters()}
    fisher = {name: values.clone() for name, values in learner.state.fisher.items()}
    rows = second.train.rows[::5]
    batch = Batch(second.train.source.batch(rows, "test", 0), second.train.source.y[rows])
    seen = []

    def look(phase: Phase) -> None:
        logits = learner.net.logits(batch.x)[:, 2:]
        labels = (logits.exp() / logits.exp().sum(dim=1, keepdim=True))[torch.arange(len(batch.y)), batch.y - 2]
        moved = 0.0
        for name, values in learner.net.named_parameters():
            moved += float((fisher[name] * (values[: len(before[name])] - before[name]) ** 2).sum())
        terms = phase.loss(batch)
        assert set(terms) == {"ce", "penalty"}
        assert float(terms["ce"]) == pytest.approx(float(-labels.log().mean()), rel=1e-5)
        assert float(terms["penalty"]) == pytest.approx(500 * moved, rel=1e-4)
        assert torch.equal(phase.data.rows, second.train.rows)
        seen.append(moved)

    learned(learner, second, look)
    assert seen[0] == 0  # nothing has moved yet
    assert seen[1] > 0


def test_what_is_kept_is_fisher_information_and_weights_as_large_as_the_net() -> None:
    learner = ewc()
    records = run(learner)
    assert [r.footprint.state_numbers for r in records] == [2 * r.footprint.parameters for r in records]
    assert all(r.footprint.exemplars == 0 for r in records)
    for name, values in learner.net.named_parameters():
        assert torch.equal(learner.state.anchor[name], values)
        assert learner.state.anchor[name].data_ptr() != values.data_ptr()  # or it would follow what it anchors


def test_the_numbers_are_the_published_code_s() -> None:
    assert Config() == Config(
        initial=Recipe(200, lr=0.1, weight_decay=5e-4, milestones=(60, 120, 170)),
        later=Recipe(180, lr=0.1, weight_decay=2e-4, milestones=(70, 120, 150)),
        importance=1000.0,
        clip=1e-4,
        fisher_batch=128,
    )
    for field, value in (("importance", -1.0), ("clip", 0.0), ("fisher_batch", 0)):
        wrong: Any = {field: value}
        with pytest.raises(ValueError, match=field):
            Config(**wrong)
