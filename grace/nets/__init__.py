"""Backbones by name; the name fixes the architecture and nothing else does. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grace.nets.backbone import Backbone


@dataclass(frozen=True)
class Entry:
    """A backbone as declared: where it is built, its feature width, its parameters (pinned by tests)."""

    factory: str  # module:function
    width: int
    parameters: int
    last_stage: int  # of the parameters, those of the last stage: what a branch on a shared stem has
    about: str
    arguments: tuple[Any, ...] = ()  # of the factory
    smallest: int = 8  # side of the smallest images it can take, pixels


SMALL = "grace.nets.resnet_cifar:small_resnet"
BASIC = "grace.nets.resnet:basic_resnet"
BOTTLENECK = "grace.nets.resnet:bottleneck_resnet"
STEMS = {  # suffix of a four-stage ResNet's name: its stem, and the parameters by which it is below the 7x7 one
    "": ("7x7", 0, "7x7 stem at stride 2, max-pool"),
    "-3x3": ("3x3", 7_680, "3x3 stem, no pool: for CIFAR"),
    "-3x3-maxpool": ("3x3-maxpool", 7_680, "3x3 stem, max-pool: for ImageNet B50"),
}


def with_each_stem(
    name: str, factory: str, width: int, parameters: int, last_stage: int, blocks: tuple[int, ...]
) -> dict[str, Entry]:
    """Return one entry per stem; `parameters` are those with the 7x7 stem, `blocks` the number in each stage."""
    kind = "bottleneck" if factory == BOTTLENECK else "basic"
    layout = "-".join(map(str, blocks))
    return {
        name + suffix: Entry(
            factory, width, parameters - less, last_stage, f"{layout} {kind} blocks, {words}", (stem, blocks)
        )
        for suffix, (stem, less, words) in STEMS.items()
    }


BACKBONES: dict[str, Entry] = {
    "convnet2": Entry("grace.nets.convnet:convnet2", 64, 38_976, 37_056, "2 blocks of 64 channels"),
    "convnet4": Entry(
        "grace.nets.convnet:convnet4", 512, 906_240, 591_360, "4 blocks of 128-128-128-512 channels", smallest=31
    ),
    "resnet8": Entry(SMALL, 64, 74_640, 55_552, "3 stages of 1 basic block: for small images", (1,)),
    "resnet14": Entry(SMALL, 64, 171_856, 129_536, "3 stages of 2 basic blocks: for small images", (2,)),
    "resnet20": Entry(SMALL, 64, 269_072, 203_520, "3 stages of 3 basic blocks: for small images", (3,)),
    "resnet26": Entry(SMALL, 64, 366_288, 277_504, "3 stages of 4 basic blocks: for small images", (4,)),
    "resnet32": Entry(SMALL, 64, 463_504, 351_488, "3 stages of 5 basic blocks: for small images", (5,)),
    **with_each_stem("resnet10", BASIC, 512, 4_905_792, 3_673_088, (1, 1, 1, 1)),
    **with_each_stem("resnet18", BASIC, 512, 11_176_512, 8_393_728, (2, 2, 2, 2)),
    **with_each_stem("resnet26-bottleneck", BOTTLENECK, 2048, 13_946_176, 10_502_144, (2, 2, 2, 2)),
    **with_each_stem("resnet34", BASIC, 512, 21_284_672, 13_114_368, (3, 4, 6, 3)),
    **with_each_stem("resnet50", BOTTLENECK, 2048, 23_508_032, 14_964_736, (3, 4, 6, 3)),
}


def backbone_factory(name: str, signed: bool = False) -> Callable[[], Backbone]:
    """Return the factory of the backbone called `name`; raises KeyError for an unknown name.

    `signed` is its variant for cosine heads: without the last ReLU, so that features have both signs, and in the
    ResNets for small images with projections for shortcuts (UCIR, Hou et al. 2019, as PODNet and PyCIL have it).
    """
    entry = BACKBONES[name]
    module, _, function = entry.factory.partition(":")
    return partial(getattr(import_module(module), function), *entry.arguments, signed=signed)
