"""Names of protocols: spellings read, canonical form written, bad names refused with the nearest good one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import protocols
from grace.streams.protocol import Budget
from grace.streams.registry import DATASETS, add
from protocols.registry import USUAL, class_incremental, usual

SPELLINGS = {
    "cifar100-b0i10": [
        "cifar100/B0I10",
        "cifar100_b0i10",
        "CIFAR100-B0I10",
        " cifar100-b0i10 ",
        "cifar100 b0-10",
        "CIFAR-100 Base0 Inc10",
        "CIFAR-100 B0 Inc10",
        "cifar100 B0 10 steps",
        "cifar100 B0 10 tasks",
        "cifar100 10 tasks",
        "cifar100-10-10",
        "cifar100 10/10",
        "cifar100-b10i10",
        "cifar100 b10-10-10",
        "cifar100/cil10-10",
        "cifar_b0_10",
        "cifar100b0i10",
        "cifar100-b0i10+m=2000+net=resnet32",
    ],
    "cifar100-b50i10": [
        "cifar_b50_10",
        "cifar100 b50-10-6",
        "cifar100 B50 5 steps",
        "cifar100 B50 6 tasks",
        "cifar100 50-10",
        "cifar100/cil50-10",
        "cifar100 init 50 increment 10",
    ],
    "cifar100-b50i2": ["cifar100 B50 25 steps", "cifar100 b50-2-26"],
    "imagenet100-b50i5": [
        "img100_b50_5",
        "ImageNet-100 Base50 Inc5",
        "imagenet100:ucir/B50I5",
        "imagenet100-ucir b50i5",
    ],
    "imagenet100-first-b50i5": ["imagenet100_first/B50I5"],
    "imagenet1000-b0i100": ["imagenet b0i100", "ImageNet-1K 10 tasks"],
    "fashion-mnist-b0i2": ["fashionmnist-b0i2", "FashionMNIST B0 5 steps", "fmnist 2-2", "fashion_mnist_b0i2"],
    "cifar100-b0i10+aa": ["cifar100_aa_b0i10", "cifar100_aa-b0i10+aa", "cifar100_aa-10-10", "cifar100_b0i10_aa"],
    "cifar100-b50i10+net=resnet18+aa+m=20/class": [
        "cifar100-b50i10+m=20/class+aa+net=ResNet18",
        "cifar100_aa b50-10-6 + mem=20/class + net=resnet18",
    ],
    "imagenet100-b0i10+cache256": ["ImageNet-100 B0 Inc10 + Cache256", "img100_b0_10+cache256"],
    "imagenet100-b0i10+net=resnet34+aa+cache256+m=20/class": [
        "imagenet100_aa-b0i10+m=20/class+cache256+net=resnet34",
    ],
    "cifar100-b0i10+shots=50+m=5000": ["cifar100 10-10 + m=5000 + Shots=50"],
    "cifar100-b0i10+m=5000": ["cifar100-b0i10+mem=5000", "cifar100 10-10+M=5000"],
}


@pytest.mark.parametrize(("name", "spelling"), [(n, s) for n, spelled in SPELLINGS.items() for s in spelled])
def test_spellings_in_use_are_read_and_echoed_in_canonical_form(name: str, spelling: str) -> None:
    protocol = protocols.get(spelling)
    assert protocol.name == name
    assert protocols.get(name) == protocol


@given(data=st.data(), dataset=st.sampled_from(sorted(DATASETS)))
@settings(deadline=None, max_examples=150)
def test_any_base_and_increment_that_fit_are_a_protocol(data: st.DataObject, dataset: str) -> None:
    classes = DATASETS[dataset].classes
    base, increment = data.draw(st.integers(0, classes)), data.draw(st.integers(1, classes))
    suffixes = data.draw(st.lists(st.sampled_from(["+aa", "+m=7/class", "+net=resnet14"]), unique=True))
    protocol = protocols.get(f"{dataset}-B{base}I{increment}" + "".join(suffixes))
    assert sum(protocol.increments) == classes
    assert protocol.increments[0] == (base or increment)
    assert set(protocol.increments[1:-1]) <= {increment}
    assert 1 <= protocol.increments[-1] <= max(base, increment)
    again = protocols.get(protocol.name)
    assert (again, again.identity()) == (protocol, protocol.identity())


@given(name=st.text(max_size=40) | st.text("cifar100digits-_/ b0i12+=aamnet", max_size=40))
@settings(deadline=None, max_examples=300)
def test_whatever_is_typed_is_a_protocol_or_one_line(name: str) -> None:
    message, protocol = "", None
    try:
        protocol = protocols.get(name)
    except ValueError as error:
        message = str(error)
    assert protocol is None or protocols.get(protocol.name) == protocol
    assert len(message.splitlines()) == (0 if protocol else 1)


def test_a_remainder_makes_a_smaller_last_task() -> None:
    assert protocols.get("cifar100-b0i30").increments == (30, 30, 30, 10)
    assert protocols.get("cifar100-b60i50").increments == (60, 40)
    assert protocols.get("cifar100-b100i10").increments == (100,)


def test_autoaugment_cuts_half_the_side_out_except_on_imagenet() -> None:
    def views(name: str) -> tuple[bool, int]:
        view = protocols.get(name).dataset.augmentation
        return view.autoaugment, view.cutout

    assert views("cifar100-b0i10") == (False, 0)
    assert views("cifar100-b0i10+aa") == (True, 16)
    assert views("digits-b0i2+aa") == (True, 4)
    assert views("fashion-mnist-b0i2+aa") == (True, 14)
    assert views("imagenet100-b0i10+aa") == (True, 0)


def test_memory_suffixes_are_total_or_per_class() -> None:
    assert protocols.get("cifar100-b0i10+m=20/class").budget == Budget(20, "class")
    assert protocols.get("cifar100-b0i10+m=0").budget == Budget(0)
    assert protocols.get("cifar100-b0i10+m=500/class").budget.share(100) == 500


def test_each_suffix_makes_another_protocol() -> None:
    names = ["", "+aa", "+m=1999", "+m=20/class", "+net=resnet20"]
    keys = [str(protocols.get(f"cifar100-b0i10{suffix}").identity()) for suffix in names]
    assert len(set(keys)) == len(names)


def test_a_resized_copy_makes_another_protocol() -> None:
    plain, copied = protocols.get("imagenet100-b0i10"), protocols.get("imagenet100-b0i10+cache256")
    assert (plain.dataset.cache, copied.dataset.cache) == (0, 256)
    assert copied.dataset == replace(plain.dataset, cache=256)
    assert copied.identity() != plain.identity()
    assert "cache" not in plain.identity()["dataset"]


def test_fewer_shots_make_another_protocol_and_are_announced() -> None:
    plain, few = protocols.get("cifar100-b0i10"), protocols.get("cifar100-b0i10+shots=20")
    assert few.dataset == replace(plain.dataset, shots=20, per_class=20, train_images=2000)
    assert few.identity() != plain.identity()
    assert "shots" not in plain.identity()["dataset"]
    assert few.identity()["dataset"]["shots"] == 20


def test_a_resized_copy_has_to_be_large_enough_for_the_inputs() -> None:
    large = replace(DATASETS["imagenet100-ucir"], name="large", size=320)
    add(large)
    usual("large", replace(USUAL["imagenet100-ucir"], called=""))
    with pytest.raises(ValueError, match=r"\+cache256: images of 256 pixels are too small for inputs of 320; leave it"):
        protocols.get("large-b0i10+cache256")


def test_imagenet_stems_follow_the_first_task() -> None:
    assert protocols.get("imagenet100-b0i25").backbone == "resnet18"
    assert protocols.get("imagenet100-b25i25").backbone == "resnet18"
    assert protocols.get("imagenet100-b40i10").backbone == "resnet18-3x3-maxpool"
    assert protocols.get("imagenet1000-b40i10").backbone == "resnet18-3x3-maxpool"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cifr100-b0i10", 'unknown dataset "cifr100"; did you mean "cifar100-b0i10"?'),
        ("imagnet100_b50_10", 'did you mean "imagenet100-b50i10"?'),
        ("zzz-b0i10", "known: cifar10, cifar100"),
        (
            "cifar100-b0i101",
            'an increment of 101 does not fit the 100 classes of cifar100; did you mean "cifar100-b0i100"?',
        ),
        ("cifar100-b0i0", 'did you mean "cifar100-b0i1"?'),
        ("cifar100-b101i10", 'did you mean "cifar100-b100i10"?'),
        ("digits-b0i20", 'did you mean "digits-b0i10"?'),
        ("cifar100 B0 7 steps", '100 classes do not divide into 7 equal steps; 5 do: "cifar100-b0i20"'),
        ("cifar100 B50 7 tasks", '50 classes do not divide into 6 equal steps; 5 do: "cifar100-b50i10"'),
        ("cifar100 b100 1 steps", "leaves none"),
        ("cifar100 b50-10-7", 'these are 6 tasks, not 7; did you mean "cifar100-b50i10"?'),
        ("cifar100", "cifar100 is a dataset; say how its classes arrive"),
        ("cifar100-b0x10", '"b0x10" is no stream; did you mean "cifar100-b0i'),
        ("cifar-10-10", '"10" is no stream'),
        ("digit-b0i2", 'did you mean "digits-b0i2"?'),
        ("digits", 'did you mean "digits-b0i2"?'),
        ("b10-10-10", "no dataset is named; write DATASET-bBASEiINCREMENT"),
        ("", "no such protocol; write DATASET-bBASEiINCREMENT"),
        ("cifar100-b0i10+m=lots", 'such as 2000, or 20/class, not "lots"'),
        ("cifar100-b0i10+m=-5", 'not "-5"'),
        ("cifar100-b0i10+m", "such as 2000, or 20/class"),
        ("cifar100-b0i10+m=600/class", "500 training images in its smallest class, too few for a memory of 600/class"),
        ("cifar100-b0i10+m=50001", "50000 training images, too few for a memory of 50001; at most 50000"),
        ("imagenet100-b0i10+m=1035/class", "at most 1034/class"),
        ("cifar100-b0i10+nett=resnet18", 'unknown suffix "+nett=resnet18"; did you mean "+net"?'),
        ("cifar100-b0i10+foo", 'unknown suffix "+foo"; known: +net=BACKBONE, +aa, +cache256, +shots=NUMBER, +m='),
        ("cifar100-b0i10+", 'unknown suffix "+"'),
        ("cifar100-b0i10+aa=1", "+aa takes no value"),
        (
            "cifar100-b0i10+cache256",
            "+cache256 is for images decoded on demand, cifar100 is held in memory; leave it out",
        ),
        ("imagenet100-b0i10+cache256=1", "+cache256 takes no value"),
        ("imagenet100-b0i10+cache", 'unknown suffix "+cache"; did you mean "+cache256"?'),
        ("imagenet100-b0i10+cache=256", 'did you mean "+cache256"?'),
        ("cifar100-b0i10+aa+aa", 'suffix "+aa" is given twice'),
        ("cifar100-b0i10+m=5+mem=6", 'suffix "+m" is given twice'),
        ("cifar100-b0i10+shots=0", "number of training images per class, as in +shots=100"),
        ("cifar100-b0i10+shots=501", "a class of cifar100 has 500 images; ask for at most those"),
        (
            "cifar100-b0i10+shots=5+m=6/class",
            "5 training images in its smallest class, too few for a memory of 6/class",
        ),
        ("cifar100-b0i10+net=", "+net names a backbone"),
    ],
)
def test_a_bad_name_gets_one_line_with_the_nearest_good_one(name: str, words: str) -> None:
    with pytest.raises(ValueError, match="protocol") as caught:
        protocols.get(name)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert f'"{name}"' in message


def test_a_protocol_under_a_name_of_its_own_takes_suffixes_too() -> None:
    own = protocols.get("cifar100-b0i10")
    protocols.register(replace(own, name="mine", budget=Budget(100)))
    assert protocols.get("Mine").budget == Budget(100)
    assert protocols.get("mine+m=200").name == "mine+m=200"
    assert protocols.get("mine+m=100+aa").name == "mine+aa"
    assert protocols.get("mine+aa").budget == Budget(100)


def test_a_base_equal_to_the_increment_is_base_zero() -> None:
    assert class_incremental("cifar100", base=20, increment=20) == class_incremental("cifar100", increment=20)
