"""Encoded images in folders and Parquet shards: found, checked, decoded alike however many workers there are."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as V

from grace.checks import DataError
from grace.streams import images, views
from grace.streams.catalogue import Augmentation, DatasetSpec
from grace.streams.datasets import check, fingerprint, load, smallest_class
from grace.streams.encoded import resized
from grace.streams.encoded.subsets import SUBSETS, members
from grace.streams.images import Decoder, EncodedImages, TensorImages

torch.set_num_threads(1)
AA = Augmentation(brightness=63 / 255, autoaugment=True, cutout=6)
UCIR = [54, 7, 894, 512, 126, 337, 988, 11, 284, 493]  # the permutation's first entries, as published
UCIR_SORTED = [7, 11, 14, 44, 54, 62, 75, 77, 85, 105]


def spec(kind: str = "folder", classes: int = 3, **fields: Any) -> DatasetSpec:
    values: dict[str, Any] = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3), "size": 16} | fields
    return DatasetSpec(name="mine", kind=kind, classes=classes, **values)  # type: ignore[arg-type]


def picture(seed: int, size: tuple[int, int] = (16, 16), mode: str = "RGB") -> Image.Image:
    noise = np.random.RandomState(seed).randint(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def write_folder(
    root: Path, names: list[str] | None = None, per_class: int = 4, test: str = "test", form: str = "png"
) -> Path:
    seed = 0
    for split, count in (("train", per_class), (test, 2)):
        for name in names or ["ant", "bee", "cat"]:
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i}.{form}").write_bytes(encoded(picture(seed), "JPEG" if form == "jpg" else "PNG"))
                seed += 1
    return root


def write_shards(
    root: Path,
    splits: dict[str, list[list[int]]],
    label: str = "label",
    image: str = "image",
    names: list[str] | None = None,
    flat: bool = False,
) -> Path:
    """Shards as the hub writes them; `splits` has the labels of each shard, the images are numbered through."""
    (root / "data").mkdir(parents=True, exist_ok=True)
    seed = 0
    for split, shards in splits.items():
        for number, labels in enumerate(shards):
            rows = [{"bytes": encoded(picture(seed + i)), "path": f"{i}.png"} for i in range(len(labels))]
            seed += len(labels)
            binary = pa.array([row["bytes"] for row in rows], pa.binary())
            table = pa.table({image: binary if flat else pa.array(rows), label: pa.array(labels, pa.int64())})
            feature = {"names": names, "_type": "ClassLabel"} if names else {"dtype": "int64", "_type": "Value"}
            info = json.dumps({"info": {"features": {label: feature, image: {"_type": "Image"}}}})
            table = table.replace_schema_metadata({"huggingface": info})
            pq.write_table(table, root / "data" / f"{split}-{number:05}-of-{len(shards):05}.parquet", row_group_size=3)
    return root


def both(some: DatasetSpec, data: Path, **options: Any) -> tuple[EncodedImages, EncodedImages]:
    train, test = load(some, data, range(some.classes), download=False, **options)
    assert isinstance(train, EncodedImages)
    assert isinstance(test, EncodedImages)
    return train, test


def refuses(some: DatasetSpec, data: Path, *words: str, load_too: bool = True) -> None:
    acts: list[Callable[[], Any]] = [lambda: check(some, data, download=False)]
    for act in acts + [lambda: load(some, data, range(some.classes))] * load_too:
        with pytest.raises(DataError) as caught:
            act()
        message = str(caught.value)
        assert "\n" not in message
        for word in words:
            assert word in message, message


def test_a_folder_has_classes_by_name_and_files_by_path(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", ["cat", "ant", "bee"])
    (tmp_path / "mine" / "train" / ".cache").mkdir()
    (tmp_path / "mine" / "train" / "ant" / "notes.txt").write_text("not an image")
    assert check(spec(), tmp_path) == "12 + 6 images of 3 classes"
    train, test = both(spec(), tmp_path)
    assert train.y.tolist() == [0] * 4 + [1] * 4 + [2] * 4  # ant, bee, cat
    assert test.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert smallest_class(train) == 4
    assert train.bytes_per_image == 16 * 16 * 3
    # ant was written second: seeds 4..7
    expected = torch.from_numpy(np.array(picture(5))).permute(2, 0, 1) / 255 - torch.tensor([0.4, 0.5, 0.6]).view(
        3, 1, 1
    )
    got = train.batch(torch.tensor([1]), "test", 0)[0]
    assert torch.allclose(got, expected / torch.tensor([0.2, 0.25, 0.3]).view(3, 1, 1), atol=1e-6)
    shuffled, _ = load(spec(), tmp_path, [2, 0, 1])
    assert shuffled.y.tolist() == [1] * 4 + [2] * 4 + [0] * 4


@pytest.mark.parametrize("test", ["test", "val", "validation"])
def test_where_a_folder_may_lie(tmp_path: Path, test: str) -> None:
    root = write_folder(tmp_path / "elsewhere" / "mine", test=test)
    found = [
        both(spec(), root.parent),
        both(spec(), root),  # the data folder itself
        both(spec(path="elsewhere/mine"), tmp_path),
        both(spec(path=str(root)), tmp_path / "not there"),
    ]
    assert {len(train.y) for train, _ in found} == {12}
    assert len({fingerprint(*pair) for pair in found}) == 1


def test_an_unlabelled_test_folder_is_passed_over(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "mine", test="val")
    (root / "test").mkdir()
    (root / "test" / "0001.png").write_bytes(encoded(picture(0)))
    assert len(both(spec(), tmp_path)[1].y) == 6


def test_images_may_lie_deeper_in_a_class(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "mine")
    (root / "train" / "bee" / "images").mkdir()
    (root / "train" / "bee" / "images" / "x.JPEG").write_bytes(encoded(picture(99), "JPEG"))
    assert both(spec(), tmp_path)[0].y.bincount().tolist() == [4, 5, 4]


def test_faults_of_a_folder(tmp_path: Path) -> None:
    refuses(spec(), tmp_path, str(tmp_path / "mine" / "train"), "train/CLASS/*.jpg")
    root = write_folder(tmp_path / "mine")
    refuses(spec(classes=4), tmp_path, "found 3 classes", str(root / "train"), "the dataset has 4")
    (root / "test" / "cat").rename(root / "test" / "dog")
    refuses(spec(), tmp_path, "do not have the same classes", '"cat"')
    (root / "test" / "dog").rename(root / "test" / "cat")
    (root / "test" / "dog").mkdir()
    refuses(spec(), tmp_path, '"dog"')
    (root / "test" / "dog").rmdir()
    (root / "train" / "ant" / "9.png").touch()
    refuses(spec(), tmp_path, str(root / "train" / "ant" / "9.png"), "empty file")
    for path in (root / "train" / "ant").iterdir():
        path.unlink()
    refuses(spec(), tmp_path, str(root / "train" / "ant"), "holds no images")
    (root / "test").rename(root / "held-out")
    refuses(spec(), tmp_path, "no test or val folder")


@pytest.mark.parametrize("form", ["png", "jpg"])
def test_a_truncated_image_is_found_before_training(tmp_path: Path, form: str) -> None:
    path = write_folder(tmp_path / "mine", form=form) / "train" / "bee" / f"2.{form}"
    path.write_bytes(path.read_bytes()[:-30])
    refuses(spec(), tmp_path, str(path), "truncated", load_too=False)
    with pytest.raises(DataError, match=f"{path.name}.* cannot be read") as caught:
        both(spec(), tmp_path)[0].batch(torch.tensor([6]), "test", 0)
    assert "\n" not in str(caught.value)
    path.write_text("<html>gone</html>")
    refuses(spec(), tmp_path, str(path), load_too=False)


def test_images_that_only_look_odd_are_taken(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "mine")
    bee = root / "train" / "bee"
    (bee / "0.png").write_bytes(encoded(picture(1, (40, 20), "L")))
    (bee / "1.png").write_bytes(encoded(picture(2, (20, 40), "P")))
    (bee / "2.png").write_bytes(encoded(picture(3).convert("CMYK"), "JPEG"))  # a JPEG called .png
    (bee / "3.png").write_bytes(encoded(picture(4), "JPEG") + b"camera notes")
    assert check(spec(), tmp_path) == "12 + 6 images of 3 classes"
    x = both(spec(), tmp_path)[0].batch(torch.arange(4, 8), "test", 0)
    assert x.shape == (4, 3, 16, 16)
    grey = x[0] * torch.tensor([0.2, 0.25, 0.3]).view(3, 1, 1) + torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    assert torch.allclose(grey[0], grey[1], atol=1e-6)


def test_grey_datasets_are_decoded_grey(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine")
    some = spec(channels=1, mean=(0.5,), std=(0.25,))
    train, _ = both(some, tmp_path)
    x = train.batch(torch.tensor([0]), "test", 0)
    assert train.bytes_per_image == 256
    expected = torch.from_numpy(np.array(picture(0, mode="L"))).float() / 255
    assert torch.allclose(x[0], ((expected - 0.5) / 0.25).expand(3, 16, 16), atol=1e-6)


def test_the_subsets_of_imagenet(tmp_path: Path) -> None:
    assert SUBSETS["ucir"](100)[:10].tolist() == UCIR_SORTED
    assert set(UCIR) <= set(SUBSETS["ucir"](100).tolist())
    assert SUBSETS["ucir"](100)[-3:].tolist() == [989, 990, 999]
    names = [f"n{i:08}" for i in range(1000)]
    small = spec(classes=100, subset="ucir")
    assert members(small, names, tmp_path) == SUBSETS["ucir"](100).tolist()
    assert members(replace(small, subset="first"), names, tmp_path) == list(range(100))
    assert members(small, names[:100], tmp_path) == list(range(100))  # as it is: such names tell nothing
    with pytest.raises(DataError, match=r"found 98 classes .* has 100 \(or the 1000"):
        members(small, names[:98], tmp_path)
    with pytest.raises(DataError, match="found 1000 classes"):
        members(replace(small, subset=""), names, tmp_path)


def test_the_other_subset_of_imagenet_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from grace.streams.encoded import subsets

    names = [f"n{i:08}" for i in range(100)]
    known = hashlib.blake2b("\n".join(names).encode(), digest_size=16).hexdigest()
    monkeypatch.setitem(subsets.DIGESTS, "first", known)
    with pytest.raises(DataError, match='holds the ImageNet-100 subset "first", not "ucir"'):
        members(spec(classes=100, subset="ucir"), names, tmp_path)
    assert len(members(spec(classes=100, subset="first"), names, tmp_path)) == 100


def test_a_subset_is_cut_out_of_a_folder_of_1000(tmp_path: Path) -> None:
    png = encoded(picture(0))
    for split in ("train", "val"):
        for i in range(1000):
            folder = tmp_path / "imagenet" / split / f"n{i:08}"
            folder.mkdir(parents=True)
            (folder / "x.png").write_bytes(png)
    some = spec(classes=10, subset="ucir")
    train, test = both(some, tmp_path)
    assert (len(train.y), len(test.y)) == (10, 10)
    expected = sorted(UCIR)
    assert [train.decoder.source.where(i) for i in (0, 9)] == [
        str(tmp_path / "imagenet" / "train" / f"n{i:08}" / "x.png") for i in (expected[0], expected[9])
    ]
    assert fingerprint(train, test) != fingerprint(*both(replace(some, subset="first"), tmp_path))


def pairs() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "resized", {"augmentation": Augmentation(crop="resized", autoaugment=True, brightness=0.2)}
    yield "pad", {"augmentation": AA}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "mine", per_class=8).parent


def test_workers_change_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One pair of processes for all of it: their start is what takes time.
    monkeypatch.setattr(images, "PIECE", 2)  # so that a batch is put together from what several were asked for
    some = spec(augmentation=Augmentation(crop="resized", autoaugment=True, brightness=0.2, cutout=4))
    alone, _ = both(some, folder)
    shared, _ = both(some, folder, workers=2)
    rows = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    before = torch.random.get_rng_state()
    for seed in (3, 4):
        got = list(shared.stream(rows, 5, "train", seed))
        assert [len(x) for x in got] == [5, 5, 5, 5, 4]
        assert torch.equal(torch.cat(got), alone.batch(rows, "train", seed))
    assert torch.equal(torch.random.get_rng_state(), before)
    unfinished = shared.stream(rows, 2, "train", 5)
    first = next(unfinished)
    assert torch.equal(first, alone.batch(rows[:2], "train", 5))
    beside = list(shared.stream(rows[:6], 3, "test", 0))  # while the other is under way
    assert torch.equal(torch.cat(beside), alone.batch(rows[:6], "test", 0))
    unfinished.close()
    again = torch.cat(list(shared.stream(rows, 7, "train", 6)))
    assert torch.equal(again, alone.batch(rows, "train", 6))
    path = Path(shared.decoder.source.where(3))
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:50])
        with pytest.raises(DataError, match=rf"^{path}: cannot be read") as caught:
            list(shared.stream(rows, 4, "train", 7))
    finally:
        path.write_bytes(whole)
    assert "\n" not in str(caught.value)
    assert torch.equal(torch.cat(list(shared.stream(rows, 24, "train", 3))), alone.batch(rows, "train", 3))
    assert shared._loader is not None
    assert not shared._loader.pin_memory  # nothing is pinned where there is no GPU to copy to


@pytest.mark.parametrize(("crop", "fields"), list(pairs()))
def test_a_view_is_a_function_of_seed_and_row(folder: Path, crop: str, fields: dict[str, Any]) -> None:
    train, _ = both(spec(**fields), folder)
    rows = torch.tensor([9, 2, 17, 2])
    before = torch.random.get_rng_state()
    x = train.batch(rows, "train", 8)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert x.shape == (4, 3, 16, 16)
    assert torch.equal(x[1], x[3])
    assert torch.equal(train.batch(rows[[2, 0]], "train", 8), x[[2, 0]])
    assert not torch.equal(train.batch(rows, "train", 9), x)
    assert torch.equal(train.batch(rows, "test", 8), train.batch(rows, "test", 9))


def test_padded_crops_are_those_of_whole_tensors(folder: Path) -> None:
    some = spec(augmentation=AA)
    train, _ = both(some, folder)
    x = torch.stack([torch.from_numpy(np.array(picture(seed))).permute(2, 0, 1) for seed in range(24)])
    whole = TensorImages(x, train.y, some)
    rows = torch.arange(24).flip(0)
    assert torch.equal(train.batch(rows, "train", 2), whole.batch(rows, "train", 2))
    assert torch.equal(train.batch(rows, "test", 2), whole.batch(rows, "test", 2))


LABELS = {"train": [[0, 1, 2, 0, 1], [2, 2, 1, 0]], "test": [[0, 1, 2]]}


@pytest.mark.parametrize(
    "layout",
    [{}, {"flat": True, "image": "img"}, {"label": "fine_label", "names": ["ant", "bee", "cat"]}],
    ids=["hub", "binary", "named"],
)
def test_shards(tmp_path: Path, layout: dict[str, Any]) -> None:
    write_shards(tmp_path / "mine", LABELS, **layout)
    some = spec("parquet")
    assert check(some, tmp_path) == "9 + 3 images of 3 classes"
    train, test = both(some, tmp_path)
    assert train.y.tolist() == [0, 1, 2, 0, 1, 2, 2, 1, 0]
    assert test.y.tolist() == [0, 1, 2]
    rows = torch.tensor([8, 0, 4, 5])
    x = torch.stack([torch.from_numpy(np.array(picture(seed))).permute(2, 0, 1) for seed in range(12)])
    whole = TensorImages(x, torch.zeros(12, dtype=torch.int64), some)
    assert torch.equal(train.batch(rows, "train", 3), whole.batch(rows, "train", 3))
    assert torch.equal(test.batch(torch.tensor([2]), "test", 3), whole.batch(torch.tensor([11]), "test", 3))


def test_where_shards_may_lie(tmp_path: Path) -> None:
    some = spec("parquet")
    one = write_shards(tmp_path / "a" / "mine", LABELS)
    flat = tmp_path / "b" / "mine"
    flat.mkdir(parents=True)
    for path in (one / "data").glob("*.parquet"):
        (flat / path.name.replace("test", "validation")).write_bytes(path.read_bytes())
    configured = tmp_path / "c" / "mine" / "plain_text"
    configured.parent.mkdir(parents=True)
    (one / "data").rename(configured)
    for data in (tmp_path / "b", flat, tmp_path / "c"):
        assert both(some, data)[0].y.tolist() == [0, 1, 2, 0, 1, 2, 2, 1, 0]
    refuses(some, tmp_path / "a", "train-*.parquet")


def test_a_test_split_without_labels_is_passed_over(tmp_path: Path) -> None:
    write_shards(tmp_path / "mine", LABELS | {"test": [[-1, -1]], "validation": [[2, 1, 0]]})
    assert both(spec("parquet"), tmp_path)[1].y.tolist() == [2, 1, 0]
    (tmp_path / "mine" / "data" / "validation-00000-of-00001.parquet").unlink()
    refuses(spec("parquet"), tmp_path, "with labels", str(tmp_path / "mine" / "data"))


def test_a_subset_is_cut_out_of_shards(tmp_path: Path) -> None:
    labels = [[7, 0, 54, 999, 11, 126]]
    write_shards(tmp_path / "mine", {"train": labels, "test": labels}, names=[f"class {i}" for i in range(1000)])
    some = spec("parquet", classes=5, subset="ucir")  # the sorted first five of the draw: 7, 54, 126, 512, 894
    with pytest.raises(DataError, match="no training images of class 3"):
        load(some, tmp_path, range(5))
    labels = [[7, 0, 54, 894, 11, 126, 512]]
    write_shards(tmp_path / "mine", {"train": labels, "test": labels}, names=[f"class {i}" for i in range(1000)])
    train, _ = both(some, tmp_path)
    assert train.y.tolist() == [0, 1, 4, 2, 3]
    kept = torch.from_numpy(np.array(picture(2))).permute(2, 0, 1)[None]
    whole = TensorImages(kept, torch.zeros(1, dtype=torch.int64), some)
    assert torch.equal(train.batch(torch.tensor([1]), "test", 0), whole.batch(torch.tensor([0]), "test", 0))


def test_faults_of_shards(tmp_path: Path) -> None:
    some, data = spec("parquet"), tmp_path / "mine" / "data"
    refuses(some, tmp_path, str(data), "train-*.parquet")
    write_shards(tmp_path / "mine", LABELS)
    refuses(spec("parquet", classes=4), tmp_path, "found 3 classes", "the dataset has 4")
    second = data / "train-00001-of-00002.parquet"
    whole = second.read_bytes()
    second.unlink()
    refuses(some, tmp_path, "1 of 2 shards", str(data))
    second.write_bytes(whole[: len(whole) // 2])
    refuses(some, tmp_path, str(second), "no whole Parquet file")
    second.write_bytes(whole[:4] + bytes(30) + whole[34:])
    refuses(some, tmp_path, str(second), "damaged")
    second.write_bytes(whole)
    (data / "test-00000-of-00001.parquet").unlink()
    refuses(some, tmp_path, "test-*.parquet")
    write_shards(tmp_path / "mine", LABELS, label="species")
    refuses(some, tmp_path, "no column label", "species")
    write_shards(tmp_path / "mine", LABELS, image="photo")
    refuses(some, tmp_path, "no column image", "photo")
    write_shards(tmp_path / "mine", LABELS | {"train": [[0, 1, 2], [0, -1]]})
    refuses(some, tmp_path, "has label -1")
    write_shards(tmp_path / "mine", LABELS | {"train": [[0, 1, 2], [0, 3]]}, names=["a", "b", "c"])
    refuses(some, tmp_path, "has label 3")


@pytest.mark.parametrize("cell", [None, b"", b"text", "path"])
def test_shards_with_what_is_no_image(tmp_path: Path, cell: Any) -> None:
    root = write_shards(tmp_path / "mine", LABELS)
    path = root / "data" / "test-00000-of-00001.parquet"
    images = ["a.png"] * 3 if cell == "path" else [encoded(picture(0)), cell, encoded(picture(1))]
    pq.write_table(pa.table({"image": images, "label": [0, 1, 2]}), path)
    refuses(spec("parquet"), tmp_path, str(path), "encoded bytes" if cell == "path" else "image 1 is truncated")
    assert not list(root.rglob("*.part"))


def test_the_arrow_file_is_written_once_and_again_for_new_shards(tmp_path: Path) -> None:
    root = write_shards(tmp_path / "mine", LABELS)
    some = spec("parquet")
    before = fingerprint(*both(some, tmp_path))
    arrows = sorted((root / "data" / ".arrow").iterdir())
    assert [path.suffix for path in arrows] == [".arrow", ".arrow"]
    stamps = [path.stat().st_mtime_ns for path in arrows]
    both(some, tmp_path)
    assert [path.stat().st_mtime_ns for path in sorted((root / "data" / ".arrow").iterdir())] == stamps
    write_shards(root, LABELS | {"train": [[1, 0, 2, 0, 1], [2, 2, 1, 0, 1]]})
    train, test = both(some, tmp_path)
    assert train.y[:2].tolist() == [1, 0]
    assert fingerprint(train, test) != before


def test_shards_beside_which_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    root = write_shards(tmp_path / "mine", LABELS)
    (root / "data" / ".arrow").write_text("in the way")
    assert len(both(spec("parquet"), tmp_path)[0].y) == 9
    assert len(list(tmp_path.glob("grace-arrow-*/*.arrow"))) == 2
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not" / "there"))
    refuses(spec("parquet"), tmp_path, "make one of them writable")


def test_a_gpu_gets_images_that_it_augments_itself(folder: Path) -> None:
    some = spec(augmentation=Augmentation(crop="resized", padding=0, brightness=0.3, cutout=4))
    whole, _ = both(some, folder)
    bare = Decoder(whole.decoder.source, some, augments=False)
    rows = torch.tensor([9, 2, 17, 2])
    for view in ("train", "test"):
        x = bare[rows, view, 8]  # type: ignore[index]
        assert isinstance(x, torch.Tensor)
        later = views.augment(x, rows, 8, some.augmentation) if view == "train" else x
        assert torch.equal(views.normalise(later, some), whole.batch(rows, view, 8))  # type: ignore[arg-type]
    gpu = torch.device("cuda")
    assert not whole.to(gpu).decoder.augments
    one_by_one = replace(some, augmentation=replace(some.augmentation, autoaugment=True))
    assert both(one_by_one, folder)[0].to(gpu).decoder.augments
    assert whole.to(torch.device("cpu")).decoder.augments


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("autoaugment", [False, True])
def test_a_gpu_sees_the_same_inputs(folder: Path, autoaugment: bool) -> None:
    view = Augmentation(crop="resized", padding=0, brightness=0.3, cutout=4, autoaugment=autoaugment)
    alone, _ = both(spec(augmentation=view), folder)
    moved = both(spec(augmentation=view), folder, workers=1)[0].to(torch.device("cuda"))
    rows = torch.arange(24).flip(0)
    got = torch.cat(list(moved.stream(rows, 10, "train", 3)))
    assert got.is_cuda
    assert torch.allclose(got.cpu(), alone.batch(rows, "train", 3), atol=1e-6)
    assert moved._loader is not None
    assert moved._loader.pin_memory


# Shorter side 24 for inputs of 21 pixels, as 256 is for 224.
RESIZED = Augmentation(crop="resized", padding=0)
SIZES = [(60, 40), (40, 60), (24, 24), (30, 20), (200, 24), (47, 31), (48, 48), (25, 31)]


def cached(kind: str = "folder", **fields: Any) -> DatasetSpec:
    return spec(kind, **{"size": 21, "cache": 24, "augmentation": RESIZED} | fields)


def write_large(root: Path) -> Path:
    """A folder of three classes whose images have the sizes above, in turn."""
    for split, count in (("train", 8), ("test", 2)):
        for label, name in enumerate(("ant", "bee", "cat")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                picture(10 * label + i, SIZES[(i + label) % 8]).save(folder / f"{i}.png")
    return root


def copies(data: Path) -> list[str]:
    return sorted(path.name for path in (data / "resized").iterdir())


@pytest.mark.parametrize("channels", [3, 1])
def test_a_resized_copy_holds_what_torchvision_makes_of_the_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], channels: int
) -> None:
    root = write_large(tmp_path / "mine")
    some = cached(channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels)
    assert check(some, tmp_path) == "24 + 6 images of 3 classes"
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" images once")[0] for line in said] == ["mine: resizing 24 train", "mine: resizing 6 test"]
    train, test = both(some, tmp_path)
    assert capsys.readouterr().err == ""  # it is made once
    for row, path in enumerate(sorted((root / "train").rglob("*.png"))):
        image = Image.open(path).convert("L" if channels == 1 else "RGB")
        wanted = V.resize(image, 24) if min(image.size) > 24 else image
        stored = Image.open(io.BytesIO(train.decoder.source.read(row)))
        assert torch.equal(V.pil_to_tensor(stored), V.pil_to_tensor(wanted))
        assert str(path) in train.decoder.source.where(row)
    plain_train, plain_test = both(replace(some, cache=0), tmp_path)
    rows = torch.arange(24)
    assert torch.equal(train.y, plain_train.y)
    assert torch.equal(train.batch(rows, "test", 0), plain_train.batch(rows, "test", 0))
    assert torch.equal(test.batch(rows[:6], "test", 0), plain_test.batch(rows[:6], "test", 0))
    assert not torch.equal(train.batch(rows, "train", 3), plain_train.batch(rows, "train", 3))
    elsewhere = pickle.loads(pickle.dumps(train.decoder))  # as a worker gets it
    assert torch.equal(elsewhere[rows, "train", 3], train.decoder[rows, "train", 3])


def test_a_resized_copy_is_another_dataset(tmp_path: Path) -> None:
    write_large(tmp_path / "mine")
    plain = replace(cached(), cache=0)
    assert fingerprint(*both(cached(), tmp_path)) != fingerprint(*both(plain, tmp_path))
    assert cached().identity() == plain.identity() | {"cache": 24}
    assert "cache" not in plain.identity()  # as before there was a choice: older records stay comparable
    for fault, words in (
        ({"cache": 23}, "images of 23 pixels are too small for inputs of 21"),
        ({"cache": -1}, "must not be negative"),
        ({"kind": "cifar100"}, "mine is held whole"),
    ):
        with pytest.raises(ValueError, match=words):
            cached(**fault)  # type: ignore[arg-type]


def test_a_resized_copy_of_shards(tmp_path: Path) -> None:
    write_shards(tmp_path / "mine", LABELS)
    some = cached("parquet", size=8, cache=10)
    train, test = both(some, tmp_path)
    plain_train, plain_test = both(replace(some, cache=0), tmp_path)
    assert train.batch(torch.arange(9), "train", 3).shape == (9, 3, 8, 8)
    for got, wanted in ((train, plain_train), (test, plain_test)):
        for row in range(len(wanted.y)):
            expected = V.resize(Image.open(io.BytesIO(wanted.decoder.source.read(row))), 10)
            stored = Image.open(io.BytesIO(got.decoder.source.read(row)))
            assert torch.equal(V.pil_to_tensor(stored), V.pil_to_tensor(expected))
    before = copies(tmp_path)
    for file in (tmp_path / "mine" / "data").glob("*.parquet"):
        os.utime(file, (1, 1))
    both(some, tmp_path)
    assert len(copies(tmp_path)) == len(before) + 2


def test_a_resized_copy_follows_its_originals(tmp_path: Path) -> None:
    root = write_large(tmp_path / "mine")
    both(cached(), tmp_path)
    before = copies(tmp_path)
    path = root / "train" / "bee" / "3.png"
    whole = path.read_bytes()
    os.utime(path, (1, 1))  # replaced by one of the same size, for all that a listing tells
    train, _ = both(cached(), tmp_path)
    assert len(copies(tmp_path)) == len(before) + 1  # the test split is as it was
    path.write_bytes(whole[:-30])
    refuses(cached(), tmp_path, str(path), "cannot be read")
    assert not list((tmp_path / "resized").glob("*.part"))
    assert train.batch(torch.arange(24), "test", 0).isfinite().all()  # what is there needs no originals


def test_a_damaged_copy_is_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_large(tmp_path / "mine")
    train, _ = both(cached(), tmp_path)
    rows = torch.arange(24)
    wanted = train.batch(rows, "train", 3)
    file = next((tmp_path / "resized").glob("mine-train-*"))
    whole = file.read_bytes()
    index = len(whole) - 16 - 8 * 25
    for damaged in (
        whole[:-1],
        whole[:1000],
        b"",
        whole[:index] + bytes(8) + bytes(8) + whole[index + 16 :],
        whole + b"x",
    ):
        file.write_bytes(damaged)
        capsys.readouterr()
        again, _ = both(cached(), tmp_path)
        assert "damaged; it is made again" in capsys.readouterr().err
        assert torch.equal(again.batch(rows, "train", 3), wanted)
        assert file.read_bytes() == whole
    file.write_bytes(bytes(100) + whole[100:])  # in place: the index is still there
    with pytest.raises(DataError, match=rf"^{file}: damaged; delete it, and it is made again$"):
        again.batch(rows, "train", 3)
    file.unlink()
    resized._opened.cache_clear()
    with pytest.raises(DataError, match=r"cannot be read \(\[Errno 2\]"):
        again.batch(rows, "train", 3)


def test_where_a_copy_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_large(tmp_path / "mine")
    (tmp_path / "resized").write_text("in the way")
    refuses(cached(), tmp_path, str(tmp_path / "resized"), "leave +cache256 out")
    (tmp_path / "resized").unlink()
    monkeypatch.setattr(resized.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10_000}))
    refuses(cached(), tmp_path, str(tmp_path / "resized"), "0.0 MB are free", "make room")
    assert copies(tmp_path) == [".lock"]
    monkeypatch.undo()
    monkeypatch.setattr(resized.os, "fsync", lambda descriptor: os.write(-1, b""))  # a disk that is full after all
    refuses(cached(), tmp_path, "cannot hold the resized images of mine")
    assert copies(tmp_path) == [".lock"]


def start(data: Path, before: str = "") -> subprocess.Popen[str]:
    """Another process that checks the cached dataset, after running the line `before`."""
    code = (
        "from pathlib import Path; from grace.streams.catalogue import Augmentation, DatasetSpec\n"
        "from grace.streams.datasets import check; from grace.streams.encoded import resized\n"
        f"{before}\nprint(check(DatasetSpec(**{vars(cached())!r}), Path({str(data)!r})))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_a_killed_process_leaves_nothing_half_made(tmp_path: Path) -> None:
    write_large(tmp_path / "mine")
    kill = "import os; resized.os.fsync = lambda descriptor: os.kill(os.getpid(), 9)"  # all written, nothing in place
    killed = start(tmp_path, kill)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert [name.rpartition(".")[2] for name in copies(tmp_path)] == ["lock", "part"]
    train, _ = both(cached(), tmp_path)
    assert [name.rpartition(".")[2] for name in copies(tmp_path)] == ["lock", "pnm", "pnm"]
    rows = torch.arange(24)
    assert torch.equal(
        train.batch(rows, "test", 0), both(replace(cached(), cache=0), tmp_path)[0].batch(rows, "test", 0)
    )


def test_processes_that_start_at_once_make_one_copy(tmp_path: Path) -> None:
    write_large(tmp_path / "mine")
    (tmp_path / "resized").mkdir()
    with (tmp_path / "resized" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        both_wait = [start(tmp_path), start(tmp_path)]
        said = [process.stderr.readline() for process in both_wait if process.stderr]
    assert all("another process resizes images there; waiting for it" in line for line in said)
    done = [process.communicate() for process in both_wait]
    assert [out for out, _ in done] == ["24 + 6 images of 3 classes\n"] * 2
    told = "".join(err for _, err in done)
    assert (told.count("resizing 24 train images once"), told.count("resizing 6 test images once")) == (1, 1)
    assert [name.rpartition(".")[2] for name in copies(tmp_path)] == ["lock", "pnm", "pnm"]


def test_progress_is_told_to_whoever_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_large(tmp_path / "mine")
    monkeypatch.setattr(resized, "EVERY", 0.0)
    monkeypatch.setattr(resized, "SLICE", 5)
    train, _ = both(cached(), tmp_path)
    assert "mine: 7 of 24 train images resized, 0.0 min left\n" in capsys.readouterr().err
    assert torch.equal(
        train.batch(torch.arange(24), "test", 0),
        both(replace(cached(), cache=0), tmp_path)[0].batch(torch.arange(24), "test", 0),
    )


def test_paths_are_as_the_file_system_has_them(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "mine")
    odd = root / "train" / "bee" / "\u00e9t\u00e9 10.png"
    (root / "train" / "bee" / "1.png").rename(odd)
    train, _ = both(spec(), tmp_path)
    assert train.decoder.source.where(7) == str(odd)  # after 0, 2 and 3
    assert f"bee/\u00e9t\u00e9 10.png {odd.stat().st_size}" in list(train.decoder.source.contents())
    assert train.batch(torch.tensor([7]), "test", 0).isfinite().all()
