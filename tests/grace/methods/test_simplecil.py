"""What makes SimpleCIL itself: after the first task nothing trains, and proxies are class means."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from grace.learner import Learner
from grace.methods.simplecil import Config, SimpleCIL
from grace.nets import backbone_factory
from grace.streams.stream import tasks
from grace.training.phase import Recipe
from grace.training.trainer import Trainer
from tests.grace.streams_for_tests import PROTOCOL, WIDTH, build, data, run


def states(learner: Learner) -> list[dict[str, Tensor]]:
    """The net after each task."""
    found = []
    for task in tasks(PROTOCOL, *data()):
        learner.learn(task, Trainer(task, seed=0, device=torch.device("cpu")))
        found.append(copy.deepcopy(learner.net.state_dict()))
    return found


def test_proxies_are_the_means_of_unnormalised_features_under_the_test_view() -> None:
    learner = build("simplecil", epochs=3)
    states(learner)
    train, _ = data()
    proxies = torch.cat(list(learner.net.head.blocks))
    assert len(proxies) == 6  # one per class
    for label in range(6):
        rows = (train.y == label).nonzero()[:, 0]
        features = torch.stack([learner.embed(train.batch(row[None], "test", 0))[0] for row in rows])
        torch.testing.assert_close(proxies[label], features.mean(0), rtol=1e-4, atol=1e-6)
        directed = F.normalize(F.normalize(features, dim=1).mean(0), dim=0)
        assert (F.normalize(proxies[label], dim=0) - directed).abs().max() > 1e-5  # those of unit length differ


def test_only_the_first_task_trains() -> None:
    learner = build("simplecil")
    first, second, third = states(learner)
    for before, after in ((first, second), (second, third)):
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        assert len(after) == len(before) + 1  # a block of proxies
    records = run(build("simplecil"))
    assert [[phase["name"] for phase in record.phases] for record in records] == [["initial"], [], []]
    assert float(first["head.scale"]) != 1  # the scale has learned
    assert [record.footprint.exemplars for record in records] == [0, 0, 0]
    assert records[-1].footprint.head_parameters == 6 * WIDTH + 1


def test_an_image_goes_to_the_class_whose_mean_lies_in_its_direction() -> None:
    learner = build("simplecil", epochs=12)
    record = run(learner)[-1]
    train, test = data()
    means = torch.stack(
        [learner.embed(train.batch((train.y == c).nonzero()[:, 0], "test", 0)).mean(0) for c in range(6)]
    )
    features = learner.embed(test.batch(torch.arange(len(test.y)), "test", 0))
    nearest = torch.nn.CosineSimilarity(dim=2)(features[:, None], means[None]).argmax(1)
    assert list(record.predictions) == ["linear"]
    assert record.predictions["linear"][:, 0].tolist() == nearest.tolist()


def test_its_features_have_both_signs() -> None:
    learner = build("simplecil")
    states(learner)
    train, _ = data()
    features = learner.embed(train.batch(torch.arange(20), "test", 0))
    assert features.min() < 0 < features.max()
    assert sum(p.numel() for p in backbone_factory("resnet32", SimpleCIL.signed)().parameters()) == 466_256


def test_the_numbers_are_the_published_code_s() -> None:
    assert Config() == Config(initial=Recipe(200, lr=0.01, weight_decay=5e-4, milestones=()))
    with pytest.raises(TypeError):
        Config(later=Recipe(1))  # type: ignore[call-arg]
