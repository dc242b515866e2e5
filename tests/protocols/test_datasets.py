"""The registered datasets: their facts, and that every name in use finds the right one."""

from __future__ import annotations

import numpy as np
import pytest

from grace.streams.catalogue import Augmentation
from grace.streams.datasets import digits
from grace.streams.registry import DATASETS, dataset
from grace.streams.toy import toy

# classes, side, channels, bytes of an exemplar, training and test images, smallest class
FACTS = {
    "cifar10": (10, 32, 3, 3072, 50_000, 10_000, 5000),
    "cifar100": (100, 32, 3, 3072, 50_000, 10_000, 500),
    "digits": (10, 8, 1, 64, 1442, 355, 140),
    "fashion-mnist": (10, 28, 1, 784, 60_000, 10_000, 6000),
    "imagenet100-ucir": (100, 224, 3, 150_528, 128_856, 5000, 1034),
    "imagenet100-first": (100, 224, 3, 150_528, None, 5000, None),
    "imagenet1000": (1000, 224, 3, 150_528, 1_281_167, 50_000, 732),
    "toy": (10, 8, 3, 192, 400, 200, 40),
}


@pytest.mark.parametrize("name", FACTS)
def test_facts_of_a_dataset(name: str) -> None:
    spec = DATASETS[name]
    sizes = (spec.classes, spec.size, spec.channels, spec.bytes_per_image)
    assert (*sizes, spec.train_images, spec.test_images, spec.per_class) == FACTS[name]


def test_every_dataset_says_where_it_is_from() -> None:
    for name, spec in DATASETS.items():
        assert (spec.name, bool(spec.source), bool(spec.licence)) == (name, True, True)
        assert spec.path == (name if spec.encoded else "")


def test_views_are_those_of_the_field() -> None:
    cifar, jitter = Augmentation(brightness=63 / 255), 63 / 255
    assert DATASETS["cifar100"].augmentation == DATASETS["cifar10"].augmentation == cifar
    resized = Augmentation(crop="resized", padding=0)
    assert DATASETS["imagenet100-ucir"].augmentation == DATASETS["imagenet100-first"].augmentation == resized
    assert DATASETS["imagenet1000"].augmentation == Augmentation(crop="resized", padding=0, brightness=jitter)
    assert DATASETS["digits"].augmentation == Augmentation(padding=1, flip=False)
    assert DATASETS["cifar100"].mean == (0.5071, 0.4867, 0.4408)
    assert DATASETS["cifar100"].std == (0.2675, 0.2565, 0.2761)


def test_the_toy_is_as_large_as_announced() -> None:
    spec = DATASETS["toy"]
    train, test = toy(spec, True)[1], toy(spec, False)[1]
    assert (len(train), len(test), min(np.bincount(train))) == (spec.train_images, spec.test_images, spec.per_class)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("CIFAR-100", "cifar100"),
        ("cifar_10", "cifar10"),
        ("imagenet100", "imagenet100-ucir"),
        ("ImageNet-100", "imagenet100-ucir"),
        ("imagenet100:first", "imagenet100-first"),
        ("ImageNet", "imagenet1000"),
        ("FashionMNIST", "fashion-mnist"),
    ],
)
def test_other_names_in_use_find_the_dataset(spelling: str, name: str) -> None:
    assert dataset(spelling) is DATASETS[name]


def test_an_unknown_dataset_gets_the_nearest_name() -> None:
    with pytest.raises(ValueError, match='unknown dataset "cifr10"; did you mean "cifar10'):
        dataset("cifr10")
    with pytest.raises(ValueError, match="known: cifar10, cifar100, digits"):
        dataset("zzz")


def test_the_digits_are_as_many_and_as_bright_as_announced() -> None:
    spec = DATASETS["digits"]
    (images, labels), (_, test) = digits()
    assert (len(labels), len(test), min(np.bincount(labels))) == (spec.train_images, spec.test_images, spec.per_class)
    assert np.mean(images / 255) == pytest.approx(spec.mean[0], abs=1e-4)
    assert np.std(images / 255) == pytest.approx(spec.std[0], abs=1e-4)
