"""What makes BEEF itself: modules trained apart on pseudo labels, negatives that climb, and fusion by two numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from grace.learner import Learner
from grace.methods.beef import Config, fused
from grace.nets.backbone import Backbone
from grace.nets.heads import LinearHead
from grace.nets.incremental import IncrementalNet
from grace.nets.langevin import climbed
from grace.run import run_stream
from grace.streams.protocol import Budget
from grace.streams.samples import Batch, Samples, Task
from grace.streams.stream import tasks
from grace.training.phase import Phase, Recipe
from grace.training.trainer import Trainer
from tests.grace.streams_for_tests import PROTOCOL, TINY_PARAMETERS, WIDTH, build, data, run

Look = Callable[[Phase], None]


def learned(
    learner: Learner, task: Task, before: Look = lambda phase: None, after: Look = lambda phase: None
) -> Trainer:
    """Learn a task as the engine does; `before` and `after` see each phase around its fit."""

    class Watch(Trainer):
        def fit(self, phase: Phase) -> None:
            before(phase)
            super().fit(phase)
            after(phase)

    trainer = Watch(task, seed=0, device=torch.device("cpu"))
    learner.learn(task, trainer)
    learner.remember(task, trainer)
    return trainer


def some(samples: Samples, step: int = 7) -> Batch:
    rows = samples.rows[::step]
    return Batch(samples.source.batch(rows, "test", 0), samples.source.y[rows])


def ce(logits: Tensor, y: list[int]) -> float:
    return sum(float(z.exp().sum().log() - z[k]) for z, k in zip(logits, y, strict=True)) / len(y)


def head(features: int, classes: int, seed: int) -> LinearHead:
    torch.manual_seed(seed)
    made = LinearHead(features, classes)
    made.bias.normal_()
    return made


# --- negatives


def test_inputs_climb_by_gradient_and_noise() -> None:
    x = torch.tensor([[1.0, 2.0], [-4.0, 0.5]])

    def score(x: Tensor) -> Tensor:
        return -0.5 * x.square().sum(dim=1)  # its slope is -x

    assert torch.allclose(climbed(score, x, nn.Identity(), 3, 0.1, 0.0), 0.9**3 * x)
    assert torch.equal(climbed(score, x, nn.Identity(), 0, 0.1, 5.0), x)
    torch.manual_seed(3)
    found = climbed(score, x, nn.Identity(), 2, 0.1, 5.0)
    torch.manual_seed(3)
    first, second = torch.randn(2, 2), torch.randn(2, 2)
    assert torch.allclose(found, 0.9 * (0.9 * x + 5 * first) + 5 * second)
    assert not found.requires_grad
    assert not x.requires_grad


def test_climbing_leaves_the_module_as_it_was_and_images_apart() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4).eval()), nn.BatchNorm2d(4), nn.ReLU())
    before, modes = copy.deepcopy(module.state_dict()), [m.training for m in module.modules()]
    assert len(set(modes)) == 2
    x = torch.randn(4, 3, 8, 8)

    def score(x: Tensor) -> Tensor:
        return cast(Tensor, module(x)).square().sum(dim=(1, 2, 3))

    together = climbed(score, x, module, 2, 0.1, 0.0)
    assert torch.allclose(together[:1], climbed(score, x[:1], module, 2, 0.1, 0.0), atol=1e-6)
    assert (together - x).abs().max() > 1e-3
    assert [m.training for m in module.modules()] == modes
    assert all(torch.equal(a, b) for a, b in zip(before.values(), module.state_dict().values(), strict=True))
    assert all(p.grad is None for p in module.parameters())


def test_noise_does_not_depend_on_the_memory_layout() -> None:
    x = torch.zeros(2, 3, 4, 5)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(7)
        found.append(
            climbed(lambda x: 0 * x.sum(dim=(1, 2, 3)), x.to(memory_format=layout), nn.Identity(), 1, 0.1, 1.0)
        )
    assert torch.equal(*found)


# --- expansion


def turned_and_climbed(branch: Backbone, forward: LinearHead, x: Tensor, config: Config) -> Tensor:
    """The images turned by 180 degrees, then some steps up log sum exp of the forward logits, image by image."""
    found = torch.empty_like(x)
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            found[:, :, row, column] = x[:, :, x.shape[2] - 1 - row, x.shape[3] - 1 - column]
    for _ in range(config.steps):
        slopes = []
        for image in found:
            leaf = image[None].clone().requires_grad_(True)
            with torch.enable_grad():
                forward(branch.features(leaf)).exp().sum().log().backward()  # type: ignore[no-untyped-call]
            slopes.append(cast(Tensor, leaf.grad)[0])
        found = found + config.rate * torch.stack(slopes) + config.noise * torch.randn(found.shape)
    return found


@pytest.mark.parametrize("fields", [{}, {"energy": 0.1, "rate": 20.0, "noise": 0.2}, {"energy": 1.0, "steps": 0}])
def test_a_module_learns_old_tasks_new_classes_and_what_is_neither(fields: dict[str, Any]) -> None:
    learner = build("beef", **fields)
    config: Config = learner.config
    stream = list(tasks(PROTOCOL, *data()))
    weighed: list[float] = []

    def look(phase: Phase) -> None:
        if phase.name == "fuse":
            return
        branch, own, forward = phase.trains
        assert isinstance(branch, Backbone)
        assert isinstance(own, LinearHead)
        assert isinstance(forward, LinearHead)
        assert branch is learner.net.newest
        t = {"initial": 0, "expand": len(learner.net.branches) - 1}[phase.name]
        batch = some(phase.data, step=1)
        assert set(batch.y.tolist()) == set(range(2 * t + 2))
        assert (own.out_features, forward.out_features) == (t + 2, 2 * t + 2)
        # old samples stand for their task, two classes each; new classes come behind the tasks
        pseudo = [y // 2 if y < 2 * t else y - 2 * t + t for y in batch.y.tolist()]
        torch.manual_seed(11)
        terms = phase.loss(batch)
        torch.manual_seed(11)
        negatives = turned_and_climbed(branch, forward, batch.x, config)
        scores = []
        for x in (batch.x, negatives):
            features = branch.features(x)
            logits = own(features)
            logits[:, :t] /= 1.7
            scores.append((logits, forward(features)))
        every = torch.cat(scores[1], dim=1)
        assert float(terms["ce"]) == pytest.approx(ce(scores[0][0], pseudo), rel=1e-5)
        wanted = config.energy * ce(every, [t + 2 + y for y in batch.y.tolist()])
        assert float(terms["energy"]) == pytest.approx(wanted, rel=1e-4)
        weighed.append(wanted)

    for task in stream:
        learned(learner, task, before=look, after=look)
    assert len(weighed) == 6


def test_every_module_starts_from_the_first() -> None:
    learner = build("beef", epochs=1)
    starts: list[dict[str, Tensor]] = []

    def look(phase: Phase) -> None:
        if phase.name != "fuse":
            starts.append(copy.deepcopy(learner.net.newest.state_dict()))

    for task in tasks(PROTOCOL, *data()):
        learned(learner, task, before=look)
    first, second, third = learner.net.branches
    assert all(torch.equal(a, b) for a, b in zip(starts[2].values(), first.state_dict().values(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(starts[2].values(), second.state_dict().values(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(starts[1].values(), first.state_dict().values(), strict=True))
    assert third is learner.net.newest


# --- fusion


def test_the_merged_classifier_adds_up_what_old_and_new_say() -> None:
    old, own = head(6, 5, 0), head(3, 2 + 4, 1)  # two old tasks of 3 and 2 classes, then 4 new classes
    owner = torch.tensor([0, 0, 0, 1, 1])
    alpha, beta = torch.tensor([0.5, -2.0]), torch.tensor([0.25, 3.0])
    weight, bias = fused(old, own, owner, alpha, beta)
    before, after = torch.randn(7, 6), torch.randn(7, 3)
    found = torch.cat([before, after], dim=1) @ weight.T + bias
    said, more = old(before), own(after)
    for i in range(7):
        expected = [float(said[i, c] + alpha[k] * more[i, k] + beta[k]) for c, k in enumerate(owner.tolist())]
        assert found[i].tolist() == pytest.approx([*expected, *more[i, 2:].tolist()], abs=1e-5)


def test_fusion_trains_two_numbers_per_old_task_and_nothing_else() -> None:
    learner = build("beef", epochs=3)
    first, second, third = tasks(PROTOCOL, *data())
    learned(learner, first)
    learned(learner, second)
    old = copy.deepcopy(learner.net)
    held = learner.memory.samples(third.train.source)
    kept: dict[str, Any] = {}

    def before(phase: Phase) -> None:
        if phase.name == "fuse":
            kept["net"] = copy.deepcopy(learner.net.state_dict())
            assert [tuple(p.shape) for p in phase.trains] == [(2,), (2,)]  # type: ignore[union-attr]
            assert [p.tolist() for p in phase.trains] == [[1.0, 1.0], [0.0, 0.0]]  # type: ignore[union-attr]

    def after(phase: Phase) -> None:
        if phase.name == "expand":
            kept["own"] = phase.trains[1]
            return
        net, own = learner.net, kept["own"]
        alpha, beta = cast(list[Tensor], phase.trains)
        assert alpha.ne(1).all()
        assert beta.ne(0).all()
        assert all(torch.equal(a, b) for a, b in zip(kept["net"].values(), net.state_dict().values(), strict=True))
        counts = torch.bincount(phase.data.y)
        assert counts.tolist() == [len(held) // 4] * 6  # as many of each class, old and new
        assert set(held.rows.tolist()) <= set(phase.data.rows.tolist())
        batch = some(phase.data, step=2)
        said, more = old.logits(batch.x), own(net.newest.features(batch.x))
        mapped = [said[:, c] + alpha[c // 2] * more[:, c // 2] + beta[c // 2] for c in range(4)]
        kept["scores"] = torch.stack([*mapped, more[:, 2], more[:, 3]], dim=1)
        kept["x"] = batch.x
        assert float(phase.loss(batch)["ce"].detach()) == pytest.approx(ce(kept["scores"], batch.y.tolist()), rel=1e-4)

    trainer = learned(learner, third, before, after)
    assert torch.allclose(learner.net.logits(kept["x"]), kept["scores"], atol=1e-4)  # stored as it was trained
    trained = {phase["name"]: phase["parameters"] for phase in trainer.phases}
    own, forward = (WIDTH + 1) * 4, (WIDTH + 1) * 6
    assert trained == {"expand": TINY_PARAMETERS + own + forward, "fuse": 4}
    assert [len(trainer.notes[name]) for name in ("alphas", "betas")] == [2, 2]


def test_the_old_bias_is_added_unless_the_typo_is_asked_for() -> None:
    values = {}
    for kind in ("added", "overwritten"):
        learner = build("beef", epochs=1, old_bias=kind)
        first, second, _ = tasks(PROTOCOL, *data())
        learned(learner, first)
        bias = learner.net.head.get_parameter("bias")
        bias.copy_(torch.tensor([3.0, -2.0]))
        old, before, kept = bias.clone(), copy.deepcopy(learner.net), list[LinearHead]()

        def look(
            phase: Phase,
            kind: str = kind,
            learner: Learner = learner,
            old: Tensor = old,
            before: IncrementalNet = before,
            kept: list[LinearHead] = kept,
        ) -> None:
            if phase.name == "fuse":
                batch = some(phase.data, step=2)
                values[kind] = float(phase.loss(batch)["ce"].detach())
                own, y = kept[0](learner.net.newest.features(batch.x)), batch.y.tolist()
                said = before.logits(batch.x) - (old if kind == "overwritten" else 0)
                assert values[kind] == pytest.approx(ce(torch.cat([said + own[:, :1], own[:, 1:]], dim=1), y), rel=1e-4)
            else:
                kept[:] = [cast(LinearHead, phase.trains[1])]

        learned(learner, second, before=look)
        assert (learner.net.head.get_parameter("bias")[:2] - old).abs().max() < 1.0  # stored with it either way
    assert abs(values["added"] - values["overwritten"]) > 0.1


def test_without_exemplars_there_is_no_fusion() -> None:
    learner = build("beef", epochs=1, budget=Budget(0))
    records = run_stream(learner, PROTOCOL, *data(), seed=0)
    assert [[phase["name"] for phase in record.phases] for record in records] == [["initial"], ["expand"], ["expand"]]
    assert (records[2].notes["alphas"], records[2].notes["betas"]) == ([1.0, 1.0], [0.0, 0.0])


def test_exemplars_of_the_protocol_s_number_per_class() -> None:
    learner = build("beef", epochs=1, budget=Budget(4, "class"))
    run(learner)
    assert [len(rows) for rows in learner.memory.by_class.values()] == [4] * 6


def test_the_numbers_are_the_published_code_s() -> None:
    assert Config() == Config(
        initial=Recipe(200, lr=0.1, weight_decay=5e-4),
        expand=Recipe(170, lr=0.1, weight_decay=5e-4),
        fuse=Recipe(60, lr=0.05, weight_decay=5e-4),
        temperature=1.7,
        energy=0.01,
        steps=3,
        rate=1e-2,
        noise=1e-3,
        old_bias="added",
    )
    for fields, message in [({"temperature": 0.0}, "temperature must be above 0"), ({"steps": -1}, "steps must not")]:
        wrong: Any = fields
        with pytest.raises(ValueError, match=message):
            Config(**wrong)
