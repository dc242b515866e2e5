"""What makes PODNet itself: distilled maps, proxies that stay, and a balanced end."""

from __future__ import annotations

import copy
from math import exp, log, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from grace.methods.podnet import Config, PODNet
from grace.nets import backbone_factory
from grace.nets.incremental import IncrementalNet
from grace.streams.protocol import Budget
from grace.streams.samples import Batch, Task
from grace.streams.stream import tasks
from grace.training.phase import Phase, Recipe
from grace.training.trainer import Trainer
from tests.grace.methods.learning_for_tests import learned
from tests.grace.streams_for_tests import PROTOCOL, build, data, run


def length(values: list[float]) -> float:
    return sqrt(sum(v * v for v in values))


def scores(net: IncrementalNet, features: Tensor) -> list[list[float]]:
    """Per image and class: the scaled mean of its similarities, weighed by their softmax."""
    proxies = [row for block in net.head.blocks for row in block.tolist()]
    found = []
    for x in features.tolist():
        similar = [sum(a * b for a, b in zip(x, p, strict=True)) / length(x) / length(p) for p in proxies]
        groups = [similar[k : k + 10] for k in range(0, len(similar), 10)]
        means = [sum(exp(s) * s for s in group) / sum(map(exp, group)) for group in groups]
        found.append([float(net.head.scale) * m for m in means])
    return found


def spatial(one: list[Tensor], other: list[Tensor]) -> float:
    def vector(maps: Tensor) -> Tensor:
        square = maps**2
        sums = torch.cat([square.sum(dim=3).reshape(len(maps), -1), square.sum(dim=2).reshape(len(maps), -1)], dim=1)
        return sums / sums.square().sum(dim=1, keepdim=True).sqrt()

    stages = [(vector(a) - vector(b)).square().sum(1).sqrt().mean() for a, b in zip(one, other, strict=True)]
    return float(sum(stages) / len(stages))


@pytest.mark.parametrize("margin", ["true class", "all"])
def test_the_loss_by_hand(margin: str) -> None:
    learner = build("podnet", margin=margin)
    first, second, third = tasks(PROTOCOL, *data())
    learned(learner, first)
    learned(learner, second)
    teacher = copy.deepcopy(learner.net)
    held = learner.memory.samples(third.train.source)
    rows = torch.cat([third.train.rows[::7], held.rows[::3]])
    batch = Batch(third.train.source.batch(rows, "test", 0), third.train.source.y[rows])
    seen = []

    def look(phase: Phase) -> None:
        out, old = learner.net(batch.x), teacher(batch.x)
        total = 0.0
        for row, y in zip(scores(learner.net, out.features), batch.y.tolist(), strict=True):
            others = sum(exp(s) for c, s in enumerate(row) if c != y)
            if margin == "all":
                total += log(others + exp(max(row))) - row[y]
            else:
                total += max(0.0, log(others) - (row[y] - 0.6))
        cosines = (out.features * old.features).sum(1) / out.features.norm(dim=1) / old.features.norm(dim=1)
        factor = sqrt(6 / 2)  # classes seen over new ones
        expected = {
            "nca": total / len(batch.y),
            "flat": factor * float(1 - cosines.mean()),
            "spatial": factor * 5 * spatial(out.maps, old.maps),
        }
        terms = {name: float(term) for name, term in phase.loss(batch).items()}
        assert terms == pytest.approx(expected, rel=1e-4, abs=1e-5)
        seen.append((phase.name, terms["flat"] > 1e-4, terms["spatial"] > 1e-3))

    learned(learner, third, look)
    # at first the net is its teacher; then it moves, while the teacher stays what it was
    assert seen == [("learn", False, False), *[(name, True, True) for name in ("learn", "balance", "balance")]]


def test_the_first_task_distils_nothing_and_is_not_balanced() -> None:
    learner = build("podnet")
    first = next(tasks(PROTOCOL, *data()))
    found: list[Phase] = []
    learned(learner, first, found.append)
    assert {phase.name for phase in found} == {"initial"}
    x = first.train.source.batch(first.train.rows, "test", 0)
    assert set(found[0].loss(Batch(x, first.train.y))) == {"nca"}


def test_old_proxies_stay_and_all_else_learns() -> None:
    learner = build("podnet")
    first, second, third = tasks(PROTOCOL, *data())
    learned(learner, first)
    for task in (second, third):
        old = [block.clone() for block in learner.net.head.blocks]
        states: list[tuple[str, dict[str, Tensor]]] = []

        def look(phase: Phase, states: list[Any] = states) -> None:
            states.append((phase.name, copy.deepcopy(learner.net.state_dict())))

        learned(learner, task, look)
        assert [name for name, _ in states] == ["learn", "learn", "balance", "balance"]
        for (_, before), (_, after) in (states[:2], states[2:]):
            same = {name for name in before if torch.equal(before[name], after[name])}
            assert same == {f"head.blocks.{t}" for t in range(task.index)}
        assert all(torch.equal(a, b) for a, b in zip(old, learner.net.head.blocks, strict=False))


@pytest.mark.parametrize(("budget", "shares"), [(Budget(18), (9, 4)), (Budget(5, "class"), (5, 5))])
def test_it_ends_on_as_many_images_of_every_class(budget: Budget, shares: tuple[int, int]) -> None:
    learner = build("podnet", epochs=1, budget=budget)
    first, *later = tasks(PROTOCOL, *data())
    learned(learner, first)
    for task, share in zip(later, shares, strict=True):
        old = learner.memory.samples(task.train.source).rows.tolist()
        found: dict[str, Any] = {}

        def look(phase: Phase, task: Task = task, found: dict[str, Any] = found, share: int = share) -> None:
            if phase.name == "balance" and not found:
                trainer = Trainer(task, seed=0, device=torch.device("cpu"))
                found["herded"] = learner.herded(task, trainer, share)  # by the net as it is before balancing
                found["data"] = phase.data

        learned(learner, task, look)
        assert torch.bincount(found["data"].y).tolist() == [share] * task.seen
        rows = found["data"].rows.tolist()
        assert rows[: len(old)] == old
        assert rows[len(old) :] == [row for label in sorted(found["herded"]) for row in found["herded"][label].tolist()]


def test_without_exemplars_there_is_nothing_to_balance() -> None:
    records = run(build("podnet", epochs=1, budget=Budget(0)))
    assert [[phase["name"] for phase in record.phases] for record in records] == [["initial"], ["learn"], ["learn"]]
    assert [list(record.predictions) for record in records] == [["linear"]] * 3


def test_the_headline_is_the_nearest_mean() -> None:
    assert [list(record.predictions) for record in run(build("podnet", epochs=1))] == [["nme", "linear"]] * 3


def test_its_resnet32_has_features_of_both_signs_and_the_published_size() -> None:
    torch.manual_seed(0)
    backbone = backbone_factory("resnet32", PODNet.signed)()
    assert sum(p.numel() for p in backbone.parameters()) == 466_256
    features = backbone.eval().features(torch.randn(4, 3, 32, 32))
    assert features.min() < 0 < features.max()
    rectified = backbone_factory("resnet32")().eval().features(torch.randn(4, 3, 32, 32))
    assert rectified.min() >= 0


def test_two_classes_are_told_apart_by_their_scores_and_not_by_a_scale_below_zero() -> None:
    learner = build("podnet", epochs=40)
    first = run(learner)[0]
    assert float((first.predictions["linear"][:, 0] == first.labels).double().mean()) > 0.75  # chance is 1/2
    assert float(learner.net.head.scale) > 0


def test_ten_proxies_per_class_and_one_scale() -> None:
    last = run(build("podnet", epochs=1))[-1].footprint
    assert last.head_parameters == 10 * 6 * 8 + 1
    assert last.state_numbers == last.auxiliary_parameters == 0


def test_the_numbers_are_the_published_code_s() -> None:
    assert Config() == Config(
        learn=Recipe(160, lr=0.1, weight_decay=5e-4),  # cosine
        balance=Recipe(20, lr=0.005, weight_decay=5e-4),
        flat=1.0,
        spatial=5.0,
        delta=0.6,
        margin="true class",
    )
