"""What makes ACIL itself: the weights are those of joint ridge regression, however the classes arrive."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grace.learner import Learner
from grace.methods.acil import Config
from grace.run import TaskRecord
from grace.streams.protocol import Protocol
from grace.training.phase import Recipe
from tests.grace.streams_for_tests import PROTOCOL, TINY_PARAMETERS, WIDTH, build, data, run

SPLITS = {increment: replace(PROTOCOL, base=2, increment=increment) for increment in (1, 2, 4)}


def small(epochs: int = 3, **fields: Any) -> Learner:
    return build("acil", epochs, **{"width": 64, **fields})


def after(protocol: Protocol, **fields: Any) -> tuple[Learner, list[TaskRecord]]:
    learner = small(**fields)
    return learner, run(learner, protocol)


def features(learner: Learner, of: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Random features of a whole split, in numpy."""
    plain = learner.net.newest.features(of.batch(torch.arange(len(of.y)), "test", 0)).double().numpy()
    return np.maximum(plain @ learner.state.projection.numpy().T, 0)


def joint(x: np.ndarray[Any, Any], y: Tensor, gamma: float) -> Tensor:
    """Ridge regression on everything at once, by least squares on rows extended by sqrt(gamma) I: no inverse."""
    targets = np.eye(6)[y.numpy()]
    rows = np.concatenate([x, sqrt(gamma) * np.eye(x.shape[1])])
    found, *_ = np.linalg.lstsq(rows, np.concatenate([targets, np.zeros((x.shape[1], 6))]), rcond=None)
    return torch.from_numpy(found)


@pytest.mark.parametrize("gamma", [0.1, 10.0])
def test_the_weights_are_those_of_all_images_at_once_whatever_the_split(gamma: float) -> None:
    train, test = data()
    learners, last = zip(*((a, b[-1]) for a, b in (after(p, gamma=gamma) for p in SPLITS.values())), strict=True)
    assert [len(learner.net.increments) for learner in learners] == [5, 3, 2]
    expected = joint(features(learners[0], train), train.y, gamma)
    assert expected.abs().max() > 0.01
    for learner, record in zip(learners, last, strict=True):
        assert torch.equal(learner.state.projection, learners[0].state.projection)
        assert (learner.state.weight - expected).abs().max() < 1e-8
        best = (torch.from_numpy(features(learner, test)) @ expected).argmax(1)
        assert record.predictions["linear"][:, 0].tolist() == best.tolist()
    assert last[0].accuracy > 0.5  # chance is 1/6


def test_the_size_of_updates_is_of_no_consequence() -> None:
    whole, pieces = after(PROTOCOL)[0], after(PROTOCOL, batch=7)[0]
    assert (whole.state.weight - pieces.state.weight).abs().max() < 1e-8
    assert (whole.state.inverse - pieces.state.inverse).abs().max() < 1e-8


def test_after_the_first_task_nothing_trains() -> None:
    learner = small()
    states: list[dict[str, Tensor]] = []

    def look(progress: Any) -> bool:
        if progress.phase == "evaluate":
            states.append({name: value.clone() for name, value in learner.net.state_dict().items()})
        return False

    records = run(learner, observe=look)
    assert [[phase["name"] for phase in record.phases] for record in records] == [["initial"], [], []]
    assert all(torch.equal(states[0][name], states[2][name]) for name in states[0])
    assert states[0].keys() == states[2].keys()
    assert records[0].phases[0]["parameters"] == TINY_PARAMETERS + 2 * WIDTH  # a linear layer without bias
    assert records[0].phases[0]["losses"]["ce"][-1] < records[0].phases[0]["losses"]["ce"][0]


def test_what_it_holds_is_counted_and_restored() -> None:
    learner, records = after(PROTOCOL)
    for task, record in enumerate(records):
        classes = 2 * (task + 1)
        assert record.footprint.state_numbers == 64 * WIDTH + 64 * 64 + 64 * classes
        assert record.footprint.head_parameters == 0
        assert record.footprint.backbone_parameters == TINY_PARAMETERS
        assert record.footprint.exemplars == 0
        assert list(record.predictions) == ["linear"]
    other = small()
    other.load_state_dict(learner.state_dict())
    assert all(torch.equal(getattr(other.state, name), value) for name, value in vars(learner.state).items())
    assert {value.dtype for value in vars(other.state).values()} == {torch.float64}
    assert other.net.logits(torch.zeros(2, 3, 8, 8)).shape == (2, 0)


def test_the_projection_is_uniform_and_drawn_from_the_run_s_seed() -> None:
    one, again, other = (small(1, width=500) for _ in range(3))
    for learner, seed in ((one, 0), (again, 0), (other, 1)):
        run(learner, seed=seed)
    drawn, bound = one.state.projection, 1 / sqrt(WIDTH)
    assert drawn.shape == (500, WIDTH)
    assert 0.99 * bound < drawn.abs().max() <= bound
    assert abs(float(drawn.mean())) < 0.02 * bound
    assert float(drawn.std()) == pytest.approx(bound / sqrt(3), rel=0.02)
    assert torch.equal(drawn, again.state.projection)
    assert not torch.equal(drawn, other.state.projection)


def test_random_features_are_never_made_of_more_images_than_an_update_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, sizes = small(1, batch=16), []
    expanded = type(learner)._expanded

    def noted(self: Learner, x: Tensor) -> Tensor:
        sizes.append(len(x))
        return expanded(self, x)

    monkeypatch.setattr(type(learner), "_expanded", noted)
    run(learner, replace(PROTOCOL, base=6, increment=1))
    assert sizes == [16] * 15 + [120, 1]  # 240 images; the test images, and one whose operations are counted


def test_the_numbers_are_the_published_code_s() -> None:
    recipe = Recipe(160, lr=0.1, weight_decay=5e-4, milestones=(120, 140))
    assert Config() == Config(initial=recipe, width=8192, gamma=0.1, batch=4096)
    for field, value in (("gamma", 0.0), ("width", 0), ("batch", 0)):
        with pytest.raises(ValueError, match=f"{field} must"):
            Config(**{field: value})
