"""Memory accounting: what is kept after a task, what is held while training, and what classifying an image takes."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from grace.methods.der import DER, Config
from grace.nets import BACKBONES
from grace.nets.arithmetic import flops
from grace.run import TaskRecord
from grace.streams.registry import DATASETS
from grace.streams.samples import Task
from grace.training.held import referred
from grace.training.trainer import Trainer
from tests.grace.streams_for_tests import PROTOCOL, SPEC, TINY_PARAMETERS, WIDTH, build, lasting, run, short, tiny

RESNET32, RESNET18 = BACKBONES["resnet32"].parameters, BACKBONES["resnet18"].parameters
CIFAR, IMAGENET = DATASETS["cifar100"].bytes_per_image, DATASETS["imagenet100-ucir"].bytes_per_image


def test_the_units_of_account() -> None:
    assert (RESNET32, RESNET18, CIFAR, IMAGENET) == (463_504, 11_176_512, 3_072, 150_528)
    assert RESNET32 * 4 // CIFAR == 603
    assert RESNET18 * 4 // IMAGENET == 296


class Apart(DER):
    """Keeps a layer for learning beside what classifies."""

    def make_aside(self) -> dict[str, nn.Module]:
        return {"layer": nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5))}

    def learn(self, task: Task, trainer: Trainer) -> None:
        super().learn(task, trainer)
        if task.known == 0:
            self.net.aside.update({name: self.net.placed(module) for name, module in self.make_aside().items()})
            for parameter in self.net.aside.parameters():
                parameter.add_(1)


def test_what_is_kept_aside_takes_memory_but_does_not_classify() -> None:
    plain, apart = (kind(short(Config, 1), tiny, PROTOCOL.budget) for kind in (DER, Apart))
    for without, beside in zip(run(plain), run(apart), strict=True):
        one, other = without.footprint, beside.footprint
        assert (one.auxiliary_parameters, other.auxiliary_parameters) == (0, 7 * 5 + 5 + 2 * 5)
        assert other.parameters == one.parameters == one.backbone_parameters + one.head_parameters
        assert (other.backbone_parameters, other.head_parameters) == (one.backbone_parameters, one.head_parameters)
        assert other.buffer_numbers == one.buffer_numbers + 5 + 5 + 1
        assert other.model_bytes == one.model_bytes + 4 * 50 + 4 * 10 + 8
        assert {n: p.tolist() for n, p in beside.predictions.items()} == {
            n: p.tolist() for n, p in without.predictions.items()
        }


def test_what_is_kept_aside_is_in_the_checkpoint_and_rests() -> None:
    learner, again = (Apart(short(Config, 1), tiny, PROTOCOL.budget) for _ in range(2))
    run(learner)
    again.load_state_dict(copy.deepcopy(learner.state_dict()))
    assert list(again.net.aside) == ["layer"]
    pairs = zip(learner.net.state_dict().items(), again.net.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)
    for module in (learner.net.aside, again.net.aside):
        assert not any(p.requires_grad for p in module.parameters())
        assert not any(m.training for m in module.modules())


def peaks(name: str, **fields: Any) -> dict[str, dict[str, int]]:
    """What the phases of the last task held."""
    return {phase["name"]: phase["held"] for phase in run(build(name, epochs=1, **fields))[-1].phases}


def heads(*sizes: tuple[int, int]) -> int:
    return sum((features + 1) * classes for features, classes in sizes)


BACKBONE = TINY_PARAMETERS


def test_nothing_but_the_net_is_held_where_there_is_no_teacher() -> None:
    assert peaks("replay")["learn"]["parameters"] == BACKBONE + heads((WIDTH, 6))
    grown = peaks("der")["expand"]
    assert grown["backbone_parameters"] == 3 * BACKBONE
    assert grown["parameters"] == 3 * BACKBONE + heads((3 * WIDTH, 6), (WIDTH, 3))  # the auxiliary head learns, too


def test_teachers_and_students_count_while_they_are_there() -> None:
    assert peaks("lwf")["learn"]["parameters"] == 2 * BACKBONE + heads((WIDTH, 6), (WIDTH, 4))
    assert peaks("wa")["learn"]["backbone_parameters"] == 2 * BACKBONE
    compressing = peaks("grace", threshold=1.1, decay=1.0)
    assert compressing["expand"]["backbone_parameters"] == 2 * BACKBONE
    assert compressing["compress"]["backbone_parameters"] == 3 * BACKBONE  # n + 1 of the teacher, n of the student
    assert peaks("foster")["compress"]["backbone_parameters"] == 3 * BACKBONE


def test_bytes_held_are_those_of_weights_statistics_state_and_exemplars() -> None:
    (held,) = peaks("ewc").values()
    numbers = BACKBONE + heads((WIDTH, 6))
    earlier = BACKBONE + heads((WIDTH, 4))  # whose values and Fisher information it keeps
    buffers = sum(b.numel() * b.element_size() for b in tiny().buffers())
    assert held["model_bytes"] == 4 * (numbers + 2 * earlier) + buffers
    learned = peaks("replay")["learn"]
    assert learned["exemplar_bytes"] == 16 * SPEC.bytes_per_image  # 18 // 4 of each class before the last task


def test_a_loss_is_searched_for_nets_as_deep_as_they_are_hidden() -> None:
    first, second, third, fourth = (nn.Linear(1, 1) for _ in range(4))

    class Keeper:
        def __init__(self) -> None:
            self.net = third

    keeper = Keeper()

    def inner(x: Tensor, extra: nn.Module = fourth) -> Tensor:
        return second(x) + keeper.net(x) + extra(x)

    def loss(x: Tensor) -> Tensor:
        return partial(inner)(x) + {"a": [first]}["a"][0](x) + sum(net(x) for net in nets["b"])

    nets = {"b": [first]}
    assert {id(module) for module in referred(loss).values()} == {id(m) for m in (first, second, third, fourth)}
    assert list(referred(partial(first.forward)).values()) == [first]


def test_operations_of_an_evaluation() -> None:
    records = run(build("replay", epochs=1))
    backbone = flops(tiny(), (3, 8, 8))
    assert [r.footprint.evaluation_flops for r in records] == [backbone + 2 * WIDTH * r.seen for r in records]
    grown = run(build("der", epochs=1))[-1].footprint.evaluation_flops
    assert grown == 3 * backbone + 2 * 3 * WIDTH * 6
    assert evaluated_as_ever(records)


def evaluated_as_ever(records: list[TaskRecord]) -> bool:
    """Whether counting has changed nothing: the same run without it predicts the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("grace.run.evaluation_flops", lambda *_: 0)
        others = run(build("replay", epochs=1))
    return [lasting(r)["predictions"] for r in records] == [lasting(r)["predictions"] for r in others]
