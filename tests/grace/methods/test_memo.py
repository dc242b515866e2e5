"""What makes MEMO itself: one stem under all branches, and what becomes of it after the first task."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from grace.methods.memo import MEMO, Config
from grace.nets import backbone_factory
from grace.nets.incremental import IncrementalNet
from grace.streams.samples import Batch, Task
from grace.streams.stream import tasks
from grace.training.phase import Losses, Phase
from grace.training.trainer import Trainer
from tests.grace.streams_for_tests import PROTOCOL, WIDTH, build, data, run

CPU = torch.device("cpu")
BLOCK = 8 * 8 * 9 + 2 * 8  # a 3x3 convolution of 8 channels and its batch norm
STEM, BRANCH = 3 * 8 * 9 + 2 * 8 + BLOCK, BLOCK  # of the tiny backbone: all but the last of two stages, and that one


def memo(**fields: Any) -> MEMO:
    learner = build("memo", **fields)
    assert isinstance(learner, MEMO)
    return learner


def learned(learner: MEMO, task: Task, change: Callable[[Phase], Phase] = lambda phase: phase) -> Trainer:
    """One task as the engine runs it, without evaluation; `change` sees the phase first."""

    class Watch(Trainer):
        def fit(self, phase: Phase) -> None:
            super().fit(change(phase))

    trainer = Watch(task, seed=0, device=CPU)
    learner.learn(task, trainer)
    learner.remember(task, trainer)
    return trainer


def state(module: nn.Module | None) -> dict[str, Tensor]:
    assert module is not None
    return copy.deepcopy(module.state_dict())


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def parameters(module: nn.Module | None) -> int:
    assert module is not None
    return sum(p.numel() for p in module.parameters())


# methods.md 2.11 and 3.3: the published calculator's counts
@pytest.mark.parametrize(
    ("name", "stem", "branch"),
    [
        ("resnet32", 112_016, 351_488),
        ("resnet18", 2_782_784, 8_393_728),
        ("convnet2", 1_920, 37_056),
    ],
)
def test_stem_and_branches_have_the_published_parameters(name: str, stem: int, branch: int) -> None:
    net = IncrementalNet(backbone_factory(name), CPU, shared=True)
    for _ in range(3):
        net.add_branch()
    assert parameters(net.stem) == stem
    assert [parameters(each) for each in net.branches] == [branch] * 3
    assert parameters(net) == stem + 3 * branch


@pytest.mark.parametrize("name", ["resnet8", "resnet32", "convnet2", "resnet10"])
def test_a_split_net_computes_what_the_whole_backbone_does(name: str) -> None:
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    whole = backbone_factory(name)().eval()
    torch.manual_seed(0)
    net = IncrementalNet(backbone_factory(name), CPU, shared=True)
    net.add_branch()
    net.add_classes(3)
    with torch.no_grad():
        assert torch.equal(net(x).features, whole.features(x))
        found, expected = net(x).maps, whole(x)
        assert all(torch.equal(a, b) for a, b in zip(found[-len(expected) :], expected, strict=True))
        net.add_branch(like=net.newest)  # features in order of creation, of one stem
        net.add_classes(0)
        assert torch.equal(net(x).features, whole.features(x).repeat(1, 2))


def test_the_footprint_counts_the_stem_once() -> None:
    records = run(memo(epochs=1))
    assert [r.footprint.backbone_parameters for r in records] == [STEM + n * BRANCH for n in (1, 2, 3)]
    assert [r.footprint.head_parameters for r in records] == [(n * WIDTH + 1) * 2 * n for n in (1, 2, 3)]
    assert [r.notes["backbones"] for r in records] == [1, 2, 3]


@pytest.mark.parametrize("train_base", [False, True])
def test_the_stem_rests_or_learns_along_and_old_branches_rest(train_base: bool) -> None:
    learner = memo(train_base=train_base)
    first, second, third = tasks(PROTOCOL, *data())
    learned(learner, first)
    for task in (second, third):
        stem, old = state(learner.net.stem), state(learner.net.branches)
        learned(learner, task)
        after = state(learner.net.stem)
        for name, before in stem.items():  # weights, running statistics and their counters
            assert torch.equal(after[name], before) != train_base, name
        kept = {name: value for name, value in state(learner.net.branches).items() if name in old}
        assert same(kept, old)
        assert not same(state(learner.net.newest), state(learner.net.branches[-2]))


@pytest.mark.parametrize("train_base", [False, True])
def test_what_learns_and_what_is_in_train_mode(train_base: bool) -> None:
    learner, seen = memo(epochs=1, train_base=train_base), list[tuple[str, int, list[bool]]]()

    def change(phase: Phase) -> Phase:
        net, names = learner.net, phase.name

        def loss(batch: Batch) -> Losses:
            assert net.stem is not None
            modes = [all(m.training == part.training for m in part.modules()) and part.training
                     for part in (net.stem, *net.branches)]  # fmt: skip
            learning = sum(p.numel() for p in net.parameters() if p.requires_grad)
            seen.append((names, learning, modes))
            return phase.loss(batch)

        return replace(phase, loss=loss)

    first, second, _ = tasks(PROTOCOL, *data())
    learned(learner, first, change)
    head = (WIDTH + 1) * 2
    assert set(map(str, seen)) == {str(("initial", STEM + BRANCH + head, [True, True]))}  # the stem learns in any case
    seen.clear()
    learned(learner, second, change)
    head, stem = (2 * WIDTH + 1) * 4, STEM if train_base else 0
    assert set(map(str, seen)) == {str(("expand", stem + BRANCH + head, [train_base, False, True]))}


def test_a_new_branch_starts_as_the_newest_and_the_new_classes_are_aligned() -> None:
    learner = memo()
    first, second, _ = tasks(PROTOCOL, *data())
    learned(learner, first)
    before = state(learner.net.newest)

    def change(phase: Phase) -> Phase:
        assert same(state(learner.net.newest), before)
        x, y = second.train.source.batch(second.train.rows[:8], "test", 0), second.train.y[:8]
        terms, out = phase.loss(Batch(x, y)), learner.net(x)
        assert float(terms["ce"]) == pytest.approx(float(-out.logits.log_softmax(1)[torch.arange(8), y].mean()))
        assert set(terms) == {"ce", "aux"}
        return phase

    learned(learner, second, change)
    weight = learner.net.state_dict()["head.weight"]
    assert weight[2:].norm(dim=1).mean().item() == pytest.approx(weight[:2].norm(dim=1).mean().item(), rel=1e-5)


def test_defaults_are_pycils() -> None:
    config = Config()
    assert (config.initial.epochs, config.initial.milestones) == (200, (60, 120, 170))
    assert (config.expand.epochs, config.expand.milestones) == (170, (80, 120, 150))
    assert (config.initial.weight_decay, config.expand.weight_decay, config.auxiliary) == (5e-4, 2e-4, 1.0)
    assert config.train_base
