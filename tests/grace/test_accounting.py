"""Memory accounting: declared sizes reproduce the survey's tables exactly (Zhou et al., memory-aligned comparison)."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from grace.methods.der import DER, Config
from grace.nets import BACKBONES
from grace.streams.registry import DATASETS
from grace.streams.samples import Task
from grace.training.trainer import Trainer
from tests.grace.streams_for_tests import PROTOCOL, run, short, tiny

MIB = 2**20
RESNET32, RESNET18 = BACKBONES["resnet32"].parameters, BACKBONES["resnet18"].parameters
CIFAR, IMAGENET = DATASETS["cifar100"].bytes_per_image, DATASETS["imagenet100-ucir"].bytes_per_image


def test_the_units_of_account() -> None:
    assert (RESNET32, RESNET18, CIFAR, IMAGENET) == (463_504, 11_176_512, 3_072, 150_528)
    assert RESNET32 * 4 // CIFAR == 603
    assert RESNET18 * 4 // IMAGENET == 296


def aligned(of_all: int, kept: int, image: int, base: int = 2000) -> int:
    """Exemplars that use up what `kept` parameters leave of `of_all` parameters and `base` exemplars."""
    return base + 4 * (of_all - kept) // image


@pytest.mark.parametrize(
    ("backbone", "image", "count", "mib", "single", "memo", "split"),
    [
        (RESNET32, CIFAR, 20, 41.22, 13_466, 4_771, (112_016, 351_488)),
        (RESNET32, CIFAR, 10, 23.54, 7_431, 3_312, (112_016, 351_488)),
        (RESNET32, CIFAR, 5, 14.70, 4_414, 2_583, (112_016, 351_488)),
        (RESNET32, CIFAR, 6, 16.47, 5_017, 2_729, (112_016, 351_488)),
        (RESNET32, CIFAR, 11, 25.31, 8_035, 3_458, (112_016, 351_488)),
        (RESNET32, CIFAR, 26, 51.83, 17_088, 5_646, (112_016, 351_488)),
        (RESNET32, CIFAR, 3, 11.16, 3_207, 2_291, (112_016, 351_488)),
        (RESNET18, IMAGENET, 20, 1139.8, 7_642, 3_404, (2_782_784, 8_393_728)),
        (RESNET18, IMAGENET, 10, 713.5, 4_672, 2_665, (2_782_784, 8_393_728)),
        (RESNET18, IMAGENET, 5, 500.3, 3_187, 2_295, (2_782_784, 8_393_728)),
        (RESNET18, IMAGENET, 6, 542.9, 3_484, 2_369, (2_782_784, 8_393_728)),
        (RESNET18, IMAGENET, 11, 756.1, 4_969, 2_739, (2_782_784, 8_393_728)),
    ],
)
def test_alignment_with_one_branch_per_task(
    backbone: int, image: int, count: int, mib: float, single: int, memo: int, split: tuple[int, int]
) -> None:
    shared, own = split
    assert shared + own == backbone
    budget = (4 * count * backbone + 2000 * image) / MIB
    assert round(budget, 2 if mib < 100 else 1) == mib
    assert aligned(count * backbone, backbone, image) == single
    assert aligned(count * backbone, shared + count * own, image) == memo


def test_alignment_of_a_data_dependent_number_of_branches() -> None:
    counts = (1, 2, 3, 4, 5, 7)
    found = [aligned(10 * RESNET32, n * RESNET32, CIFAR) for n in counts]
    assert found == [7431, 6828, 6224, 5621, 5017, 3810]


@pytest.mark.parametrize(
    ("name", "exemplars", "mib", "single"),
    [
        ("convnet2", 2_096, 7.6, 2_000),
        ("resnet14", 2_000, 12.4, 3_634),
        ("resnet20", 2_000, 16.1, 4_900),
        ("resnet26", 2_000, 19.8, 6_165),
        ("resnet32", 2_000, 23.5, 7_431),
    ],
)
def test_the_cifar_ladder(name: str, exemplars: int, mib: float, single: int) -> None:
    held = 4 * 10 * BACKBONES[name].parameters + exemplars * CIFAR
    assert round(held / MIB, 1) == mib
    if name == "convnet2":  # the first point is one ResNet-32 with 2000 exemplars, which ConvNet-2 is filled up to
        assert (4 * RESNET32 + 2000 * CIFAR - 4 * 10 * BACKBONES[name].parameters) // CIFAR == exemplars
    else:
        assert (held - 4 * RESNET32) // CIFAR == single


@pytest.mark.parametrize(
    ("name", "exemplars", "mib", "single"),
    [
        ("convnet4", 2_032, 329, 2_000),
        ("resnet10", 2_000, 493, 3_136),
        ("resnet18", 2_000, 756, 4_969),
        ("resnet26-bottleneck", 2_000, 872, 5_779),
        ("resnet34", 2_000, 1180, 7_924),
        ("resnet50", 2_000, 1273, 8_574),
    ],
)
def test_the_imagenet_ladder(name: str, exemplars: int, mib: float, single: int) -> None:
    held = 4 * 11 * BACKBONES[name].parameters + exemplars * IMAGENET
    assert abs(held / MIB - mib) < 1
    if name == "convnet4":
        assert (4 * RESNET18 + 2000 * IMAGENET - 4 * 11 * BACKBONES[name].parameters) // IMAGENET == exemplars
    else:
        assert (held - 4 * RESNET18) // IMAGENET == single


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
