"""Protocols and datasets from a user's own TOML files."""

from __future__ import annotations

from pathlib import Path

import pytest

import protocols
from grace.streams.catalogue import Augmentation, DatasetSpec
from grace.streams.protocol import Budget
from grace.streams.registry import DATASETS
from protocols.registry import USUAL

FLOWERS = """
[dataset]
name = "flowers"
kind = "folder"
path = "images"
classes = 102
size = 64
mean = [0.4, 0.4, 0.3]
std = [0.3, 0.2, 0.3]
[dataset.augmentation]
padding = 6
brightness = 0.2

[[protocol]]
increment = 17
memory = "20/class"
backbone = "resnet20"
schedule = 0.5

[[protocol]]
name = "mylab/B20I8"
base = 20
increment = 8
memory = 500
source = "us"
"""
CIFAR = 'dataset = "cifar100"\n[protocol]\n'
OWN = '[dataset]\nname = "q"\nkind = "folder"\npath = "x"\nclasses = 6\nsize = 32\n'


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_describes_a_dataset_and_its_protocols(tmp_path: Path) -> None:
    first, second = protocols.load(written(tmp_path / "flowers.toml", FLOWERS))
    assert first.dataset == DatasetSpec(
        name="flowers",
        kind="folder",
        classes=102,
        size=64,
        mean=(0.4, 0.4, 0.3),
        std=(0.3, 0.2, 0.3),
        augmentation=Augmentation(padding=6, brightness=0.2),
        path="images",
    )
    assert (first.name, first.increments) == ("flowers-b0i17", (17,) * 6)
    assert (first.budget, first.backbone, first.schedule) == (Budget(20, "class"), "resnet20", 0.5)
    assert (second.name, second.source) == ("mylab/b20i8", "us")
    assert second.increments == (20, *[8] * 10, 2)
    assert (second.budget, second.backbone, second.schedule) == (Budget(500), "resnet20", 0.5)
    assert protocols.names()[-2:] == ["flowers-b0i17", "mylab/b20i8"]
    assert protocols.get("MyLab/B20I8") == second


def test_the_grammar_works_on_a_described_dataset(tmp_path: Path) -> None:
    protocols.load(written(tmp_path / "flowers.toml", FLOWERS))
    protocol = protocols.get("Flowers Base10 Inc4")
    assert (protocol.name, protocol.budget, protocol.backbone) == ("flowers-b10i4", Budget(20, "class"), "resnet20")
    assert protocols.get("flowers-b0i17+m=20/class").name == "flowers-b0i17"
    assert protocols.get("flowers_aa 10-4").dataset.augmentation.cutout == 32
    assert protocols.get("mylab/b20i8+aa").name == "mylab/b20i8+aa"


def test_loading_twice_changes_nothing(tmp_path: Path) -> None:
    file = written(tmp_path / "flowers.toml", FLOWERS)
    once, names = protocols.load(file), protocols.names()
    assert protocols.load(tmp_path) == once
    assert protocols.names() == names


def test_a_folder_is_loaded_whatever_the_order_of_its_files(tmp_path: Path) -> None:
    written(tmp_path / "a.toml", 'dataset = "flowers"\n[protocol]\nincrement = 51\nbackbone = "resnet32"\n')
    written(tmp_path / "b.toml", FLOWERS)
    names = [protocol.name for protocol in protocols.load(tmp_path)]
    assert names == ["flowers-b0i51+net=resnet32", "flowers-b0i17", "mylab/b20i8"]


def test_a_protocol_on_a_registered_dataset_gets_its_canonical_name(tmp_path: Path) -> None:
    file = written(
        tmp_path / "p.toml", CIFAR + 'base = 20\nincrement = 8\nmemory = "20/class"\nbackbone = "ResNet14"\n'
    )
    (protocol,) = protocols.load(file)
    assert protocol.name == "cifar100-b20i8+net=resnet14+m=20/class"
    assert protocols.get(protocol.name) == protocol
    (known,) = protocols.load(written(file, CIFAR + "increment = 10"))
    assert known is protocols.get("cifar100-b0i10")


def test_images_beside_the_file_are_found_there(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    protocols.load(written(tmp_path / "flowers.toml", FLOWERS))
    assert DATASETS["flowers"].path == str(tmp_path / "images")


def test_images_elsewhere_stay_where_the_file_says(tmp_path: Path) -> None:
    for path, found in [("~/q", str(Path.home() / "q")), ("~no-such-user/q", "~no-such-user/q"), ("/q", "/q")]:
        text = OWN.replace('"x"', f'"{path}"').replace('"q"', f'"q{len(path)}"', 1)
        protocols.load(written(tmp_path / "q.toml", text))
        assert DATASETS[f"q{len(path)}"].path == found


def test_a_dataset_may_start_from_a_registered_one(tmp_path: Path) -> None:
    text = '[dataset]\nname = "plain"\nkind = "CIFAR-100"\naugmentation = {brightness = 0}\n[protocol]\nincrement = 10'
    (protocol,) = protocols.load(written(tmp_path / "p.toml", text))
    assert (protocol.name, protocol.dataset.kind, protocol.backbone) == ("plain-b0i10", "cifar100", "resnet32")
    assert protocol.dataset.augmentation == Augmentation(padding=4)
    assert protocol.identity() != protocols.get("cifar100-b0i10").identity()
    text = '[dataset]\nname = "small-imagenet"\nkind = "imagenet100"\nsize = 112\npath = "/elsewhere"\n'
    assert protocols.load(written(tmp_path / "p.toml", text)) == []
    protocol = protocols.get("small-imagenet-b50i10")
    assert (protocol.backbone, protocol.dataset.subset) == ("resnet18-3x3-maxpool", "ucir")
    assert (protocol.dataset.size, protocol.dataset.path) == (112, "/elsewhere")


@pytest.mark.parametrize(
    ("size", "channels", "augmentation", "nets"),
    [
        (32, 3, Augmentation(padding=4), ("resnet32", "resnet32")),
        (64, 1, Augmentation(padding=8), ("resnet32", "resnet32")),
        (96, 3, Augmentation(crop="resized", padding=0), ("resnet18", "resnet18-3x3-maxpool")),
    ],
)
def test_what_a_file_leaves_out_follows_from_the_size(
    tmp_path: Path, size: int, channels: int, augmentation: Augmentation, nets: tuple[str, str]
) -> None:
    text = f'[dataset]\nname = "q"\nkind = "parquet"\npath = "q"\nclasses = 6\nsize = {size}\nchannels = {channels}\n'
    protocols.load(written(tmp_path / "q.toml", text))
    protocol = protocols.get("q-b0i2")
    assert (protocol.dataset.augmentation, len(protocol.dataset.mean)) == (augmentation, channels)
    assert (protocol.backbone, protocols.get("q-b4i2").backbone) == nets
    assert (protocol.budget, protocol.schedule) == (Budget(2000), 1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", '"dataset" is missing'),
        ('dataset = "cifar100"', "a [protocol] table is missing"),
        ("dataset = 3\n[protocol]\nincrement = 2", "dataset: a dataset's name is wanted, not 3"),
        ('dataset = "cifr100"\n[protocol]\nincrement = 2', 'unknown dataset "cifr100"; did you mean "cifar100"?'),
        ('dataset = "cifar100"\nprotocl = 3', 'unknown key "protocl"; did you mean "protocol"?'),
        ('dataset = "cifar100"\nprotocol = 3', "[protocol]: a table is wanted, not 3"),
        ('dataset = "cifar100"\n[protocol\n', "not TOML"),
        (CIFAR, '"increment" is missing: a whole number from 1 to 100 is wanted'),
        (CIFAR + "incremnt = 10", '[protocol]: unknown key "incremnt"; did you mean "increment"?'),
        (CIFAR + 'increment = "10"', '[protocol]: increment: a whole number from 1 to 100 is wanted, not "10"'),
        (CIFAR + "increment = 10.0", "not 10.0"),
        (CIFAR + "increment = true", "not true"),
        (CIFAR + "increment = 101", "a whole number from 1 to 100 is wanted, not 101"),
        (CIFAR + "increment = 0", "a whole number from 1 to 100 is wanted, not 0"),
        (CIFAR + "increment = 10\nbase = -1", "base: a whole number from 0 to 100 is wanted, not -1"),
        (
            CIFAR + 'increment = 10\nmemory = "x"',
            'memory: a number of exemplars such as 2000, or "20/class", is wanted',
        ),
        (CIFAR + "increment = 10\nmemory = 1.5", "not 1.5"),
        (CIFAR + 'increment = 10\nmemory = "600/class"', "too few for a memory of 600/class; at most 500/class"),
        (CIFAR + "increment = 10\nbackbone = 18", "backbone: a backbone's name is wanted, not 18"),
        (CIFAR + 'increment = 10\nbackbone = "res net"', "backbone: a backbone's name is wanted"),
        (CIFAR + "increment = 10\nschedule = 0", "schedule: a number from 0.001 to 100 is wanted, not 0"),
        (CIFAR + "increment = 10\nschedule = nan", "schedule: a number from 0.001 to 100"),
        (CIFAR + "increment = 10\nschedule = 0.5", '"name" is missing: cifar100-b0i10 has a schedule of 1.0'),
        (CIFAR + 'increment = 10\nname = "cifar100-b0i20"', '"cifar100-b0i20" has a meaning already'),
        (CIFAR + 'increment = 10\nname = "cifar100"', '"cifar100" has a meaning already'),
        (CIFAR + 'increment = 10\nname = "two words"', "letters, digits, dots, dashes and slashes is wanted"),
        (CIFAR + 'increment = 10\nname = "toy-b0i2"', "has a meaning already"),
        (OWN.replace("classes = 6\n", ""), '[dataset]: "classes" is missing'),
        (OWN.replace("size = 32", "size = 4"), "size: a whole number from 8 to 4096 is wanted, not 4"),
        (OWN.replace('"q"', '"My Set"'), "name: a lower-case name such as my-flowers is wanted"),
        (OWN.replace('"q"', '"cifar-100"'), 'dataset name "cifar-100" is taken by another dataset (cifar100)'),
        (OWN.replace('"q"', '"cifar100-b0i7"'), '"cifar100-b0i7" is a protocol already'),
        (OWN.replace('"x"', '" "'), 'path: a folder is wanted, not " "'),
        (OWN.replace('"folder"', '"foldr"'), 'kind: "folder" is wanted, not "foldr"'),
        (OWN.replace('"folder"', '"cifar100"'), "classes: 100 is wanted, not 6"),
        ('[dataset]\nname = "q"\nkind = "cifar100"\nchannels = 1', "channels: 3 is wanted, not 1"),
        ('[dataset]\nname = "q"\nkind = "cifar100"\npath = "x"', "path: cifar100 is read from the data folder"),
        (OWN + "channels = 2", "channels: 1 or 3 is wanted, not 2"),
        (OWN + "mean = [0.5]", "mean: a list of 3 numbers from 0 to 1 is wanted, not [0.5]"),
        (OWN + "std = [0.0, 1, 1]", "std: a list of 3 numbers from 0.001 to 1 is wanted"),
        (OWN + 'augmentation = {crop = "rezised"}', '[dataset.augmentation]: crop: "resized" is wanted, not "rezised"'),
        (OWN + 'augmentation = {crop = "none", padding = 1}', 'padding has a meaning where crop = "pad" only'),
        (OWN + "augmentation = {flip = 1}", "flip: true or false is wanted, not 1"),
        (OWN + "augmentation = {brightness = 1.0}", "brightness: a number from 0 to 0.99 is wanted, not 1.0"),
        (OWN + 'source = "a\\nb"', "source: text is wanted"),
        (OWN + "per_class = 5\n[protocol]\nincrement = 2\nmemory = '6/class'", "too few for a memory of 6/class"),
        (OWN + "[[protocol]]\nincrement = 2\n[[protocol]]\nincrement = 7", "[protocol] 2: increment: a whole number"),
    ],
)
def test_a_fault_is_one_line_with_file_and_key_and_registers_nothing(tmp_path: Path, text: str, words: str) -> None:
    before = (dict(DATASETS), dict(USUAL), protocols.names())
    with pytest.raises(ValueError, match=r"bad\.toml: ") as caught:
        protocols.load(written(tmp_path / "bad.toml", text))
    message = str(caught.value)
    assert words in message
    assert (message.count("\n"), message.count("bad.toml")) == (0, 1)
    assert (dict(DATASETS), dict(USUAL), protocols.names()) == before


def test_a_name_in_use_is_refused_with_other_content_only(tmp_path: Path) -> None:
    file = written(tmp_path / "a.toml", OWN + "[protocol]\nincrement = 2")
    protocols.load(file)
    protocols.load(written(tmp_path / "same.toml", file.read_text()))
    for other, words in [
        (OWN.replace("32", "16"), 'dataset name "q" is taken'),
        (OWN + "[protocol]\nincrement = 2\nmemory = 9", "with other usual settings"),
    ]:
        with pytest.raises(ValueError, match=words):
            protocols.load(written(tmp_path / "other.toml", other))
    mine = CIFAR + 'name = "mine"\nincrement = 10\nmemory = '
    protocols.load(written(tmp_path / "mine.toml", mine + "10"))
    with pytest.raises(ValueError, match='protocol name "mine" is taken'):
        protocols.load(written(tmp_path / "other.toml", mine + "11"))
    assert protocols.get("mine").budget == Budget(10)


def test_a_dataset_may_not_change_what_a_name_means(tmp_path: Path) -> None:
    protocols.load(written(tmp_path / "a.toml", CIFAR + 'name = "mine-b0i2"\nincrement = 10'))
    with pytest.raises(ValueError, match='"mine-b0i2" would mean two things'):
        protocols.load(written(tmp_path / "b.toml", OWN.replace('"q"', '"mine"')))


def test_what_is_no_protocol_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file or folder"):
        protocols.load(tmp_path / "missing.toml")
    with pytest.raises(ValueError, match=r"holds no \.toml file"):
        protocols.load(tmp_path)
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not a text file"):
        protocols.load(tmp_path)


@pytest.mark.parametrize("memory", ["2000", "20/class", 150, Budget(7, "class")])
@pytest.mark.parametrize("name", ["", "my-own"])
def test_a_template_reads_back_as_what_was_asked_for(tmp_path: Path, name: str, memory: str | int | Budget) -> None:
    text = protocols.template(name, "CIFAR-100", 20, 8, memory, "resnet20")
    (protocol,) = protocols.load(written(tmp_path / "p.toml", text))
    assert (protocol.dataset.name, protocol.increments) == ("cifar100", (20, *[8] * 10))
    assert (protocol.backbone, str(protocol.budget)) == ("resnet20", str(memory))
    assert protocol.name == (name or protocol.name)


def test_a_template_describes_a_dataset_of_ones_own(tmp_path: Path) -> None:
    spec = DatasetSpec(
        name="flowers",
        kind="parquet",
        classes=102,
        size=128,
        mean=(0.5, 0.4, 0.3),
        std=(0.25, 0.25, 0.2),
        augmentation=Augmentation(crop="resized", padding=0, brightness=0.1),
        path="/data/flowers",
    )
    text = protocols.template("", "flowers", 0, 17, "5/class", "resnet18", own=spec)
    (protocol,) = protocols.load(written(tmp_path / "p.toml", text))
    assert (protocol.dataset, protocol.name, protocol.budget) == (spec, "flowers-b0i17", Budget(5, "class"))


def test_a_template_refuses_what_could_not_be_read_back() -> None:
    with pytest.raises(ValueError, match='did you mean "cifar100"'):
        protocols.template("x", "cifr100", 0, 10, 2000, "resnet32")
    with pytest.raises(ValueError, match="such as 2000, or 20/class"):
        protocols.template("x", "cifar100", 0, 10, "many", "resnet32")
