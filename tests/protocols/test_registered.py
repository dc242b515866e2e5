"""Every registered protocol, frozen: whoever changes one changes results, and this file."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

import protocols
from grace.nets import BACKBONES

# The seed-1993 order of a hundred classes, as FACIL and TagFex write it out.
HUNDRED = """
68 56 78 8 23 84 90 65 74 76 40 89 3 92 55 9 26 80 43 38 58 70 77 1 85 19 17 50 28 53 13 81 45 82 6 59 83 16 15 44
91 41 72 60 79 52 20 10 31 54 37 95 14 71 96 98 97 2 64 66 42 22 35 86 24 34 87 21 99 0 88 27 18 94 11 12 47 25 30 46
62 69 36 61 7 63 75 5 32 4 51 48 73 93 39 67 29 49 57 33
"""
FIRST = {10: (4, 2, 7, 6, 0), 100: (68, 56, 78, 8, 23), 1000: (54, 7, 894, 512, 126)}

NARROW, WIDE = "resnet18", "resnet18-3x3-maxpool"
# name: increments, backbone, exemplars, schedule
FROZEN = {
    "cifar10-b0i2": ((2,) * 5, "resnet32", "2000", 1.0),
    "cifar100-b0i5": ((5,) * 20, "resnet32", "2000", 1.0),
    "cifar100-b0i10": ((10,) * 10, "resnet32", "2000", 1.0),
    "cifar100-b0i20": ((20,) * 5, "resnet32", "2000", 1.0),
    "cifar100-b0i50": ((50,) * 2, "resnet32", "2000", 1.0),
    "cifar100-b50i2": ((50, *[2] * 25), "resnet32", "2000", 1.0),
    "cifar100-b50i5": ((50, *[5] * 10), "resnet32", "2000", 1.0),
    "cifar100-b50i10": ((50, *[10] * 5), "resnet32", "2000", 1.0),
    "cifar100-b50i25": ((50, 25, 25), "resnet32", "2000", 1.0),
    "digits-b0i2": ((2,) * 5, "resnet8", "200", 0.15),
    "fashion-mnist-b0i2": ((2,) * 5, "resnet20", "500", 0.1),
    "imagenet100-b0i5": ((5,) * 20, NARROW, "2000", 1.0),
    "imagenet100-b0i10": ((10,) * 10, NARROW, "2000", 1.0),
    "imagenet100-b0i20": ((20,) * 5, NARROW, "2000", 1.0),
    "imagenet100-b50i5": ((50, *[5] * 10), WIDE, "2000", 1.0),
    "imagenet100-b50i10": ((50, *[10] * 5), WIDE, "2000", 1.0),
    "imagenet100-first-b0i5": ((5,) * 20, NARROW, "2000", 1.0),
    "imagenet100-first-b0i10": ((10,) * 10, NARROW, "2000", 1.0),
    "imagenet100-first-b0i20": ((20,) * 5, NARROW, "2000", 1.0),
    "imagenet100-first-b50i5": ((50, *[5] * 10), WIDE, "2000", 1.0),
    "imagenet100-first-b50i10": ((50, *[10] * 5), WIDE, "2000", 1.0),
    "imagenet1000-b0i100": ((100,) * 10, NARROW, "20000", 1.0),
    "imagenet1000-b500i100": ((500, *[100] * 5), WIDE, "20000", 1.0),
    "toy-b0i2": ((2,) * 5, "resnet8", "50", 0.1),
}


def test_these_and_no_others_are_registered() -> None:
    assert sorted(protocols.names()) == sorted(FROZEN)


@pytest.mark.parametrize("name", FROZEN)
def test_a_registered_protocol_is_frozen(name: str) -> None:
    protocol = protocols.get(name)
    found = (protocol.increments, protocol.backbone, str(protocol.budget), protocol.schedule)
    assert (protocol.name, found) == (name, FROZEN[name])
    assert protocol.class_order(1993)[:5] == FIRST[protocol.dataset.classes]
    assert protocol.source
    assert protocol.backbone in BACKBONES


def test_the_order_of_a_hundred_classes_is_the_published_one() -> None:
    order = protocols.get("cifar100-b0i10").class_order(1993)
    assert order == tuple(map(int, HUNDRED.split()))
    assert sorted(order) == list(range(100))


def test_both_imagenet100_subsets_are_datasets_of_their_own() -> None:
    ucir, first = protocols.get("imagenet100-b0i10"), protocols.get("imagenet100-first-b0i10")
    assert (ucir.dataset.subset, first.dataset.subset) == ("ucir", "first")
    assert ucir.identity() != first.identity()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cifar100-b0i10", "10 tasks: 10x10"),
        ("cifar100-b50i10", "6 tasks: 50+5x10"),
        ("cifar100-b50i2", "26 tasks: 50+25x2"),
        ("cifar100-b0i30", "4 tasks: 3x30+10"),
        ("cifar100-b50i15", "5 tasks: 50+3x15+5"),
        ("cifar100-b60i50", "2 tasks: 60+40"),
        ("cifar100-b0i100", "1 task: 100"),
        ("cifar100-b100i10", "1 task: 100"),
    ],
)
def test_a_description_counts_tasks_and_classes(name: str, words: str) -> None:
    assert protocols.describe(protocols.get(name)) == words


def test_a_name_cannot_be_given_to_another_stream() -> None:
    ten, five = protocols.get("cifar100-b0i10"), protocols.get("cifar100-b0i5")
    assert protocols.register(ten) is ten
    with pytest.raises(ValueError, match="taken"):
        protocols.register(replace(five, name=ten.name))
    assert protocols.get("cifar100-b0i10") is ten


def test_reading_names_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, protocols; protocols.get('cifar100-b50i10+aa'); "
        "print({'torch', 'numpy', 'ray'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
