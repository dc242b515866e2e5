"""Small sets: what is loaded, and that damage is named with its path before anything trains."""

from __future__ import annotations

import gzip
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from grace.checks import DataError
from grace.streams import archives
from grace.streams.catalogue import Augmentation, DatasetSpec
from grace.streams.datasets import check, digits, fetch, fingerprint, load, smallest_class
from grace.streams.images import TensorImages
from grace.streams.toy import toy

torch.set_num_threads(1)
FASHION = Path(__file__).parents[2].parent / "shared" / "data" / "fashion-mnist"


def spec(kind: str, classes: int, size: int, channels: int = 3, **fields: Any) -> DatasetSpec:
    return DatasetSpec(
        name=kind,
        kind=kind,  # type: ignore[arg-type]
        classes=classes,
        size=size,
        channels=channels,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        **fields,
    )


CIFAR10 = spec("cifar10", 10, 32)
CIFAR100 = spec("cifar100", 100, 32)
GARMENTS = spec("fashion-mnist", 10, 28, 1)


def pixels(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (count, *shape), dtype=np.uint8)


def write_cifar100(data: Path, per_class: int = 2) -> Path:
    """CIFAR-100 in its own format, as Python 2 pickled it, with few images."""
    folder = data / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, count in (("train", 100 * per_class), ("test", 100)):
        entry = {
            "data": pixels(count, 3072, seed=count),
            "fine_labels": [i % 100 for i in range(count)],
            "coarse_labels": [0] * count,
        }
        (folder / name).write_bytes(pickle.dumps(entry, protocol=2))
    return folder


def write_cifar10(data: Path) -> Path:
    folder = data / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for seed, name in enumerate(
        ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
    ):
        entry = {b"data": pixels(20, 3072, seed=seed), b"labels": [i % 10 for i in range(20)]}
        (folder / name).write_bytes(pickle.dumps(entry))
    return folder


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = header + array.tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def write_fashion(data: Path, suffix: str = ".gz") -> Path:
    raw = data / "FashionMNIST" / "raw"
    for split, count in (("train", 40), ("t10k", 20)):
        write_idx(raw / f"{split}-images-idx3-ubyte{suffix}", pixels(count, 28, 28, seed=count))
        write_idx(raw / f"{split}-labels-idx1-ubyte{suffix}", np.arange(count, dtype=np.uint8) % 10)
    return raw


def refuses(some: DatasetSpec, data: Path, *words: str) -> None:
    """Both the check and the loader name the fault, in one line."""
    for act in (
        lambda: check(some, data, download=False),
        lambda: load(some, data, range(some.classes), download=False),
    ):
        with pytest.raises(DataError) as caught:
            act()
        message = str(caught.value)
        assert "\n" not in message
        for word in words:
            assert word in message, message


def test_digits_are_the_uci_digits() -> None:
    some = spec("digits", 10, 8, 1)
    train, test = load(some, Path("nowhere"), range(10))
    assert isinstance(train, TensorImages)
    assert isinstance(test, TensorImages)
    assert check(some, Path("nowhere")) == "1,442 + 355 images of 10 classes"
    assert (train.x.shape, test.x.shape, train.x.dtype) == ((1442, 1, 8, 8), (355, 1, 8, 8), torch.uint8)
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as UCI's optdigits.names lists them
    assert (train.y.bincount() + test.y.bincount()).tolist() == counts
    assert test.y.bincount().tolist() == [n // 5 for n in counts]
    assert smallest_class(train) == 140
    # The first line of the source: a zero.
    first = [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0]
    assert train.y[0] == 0
    assert train.x[0, 0, :2].flatten().tolist() == [round(v * 255 / 16) for v in first]
    assert len(train.x.unique()) == 17
    assert train.x.max() == 255
    assert train.bytes_per_image == 64


def test_the_last_digits_of_each_class_are_the_test_split() -> None:
    (x, y), (test_x, test_y) = digits()
    stored = np.load(Path(archives.__file__).with_name("digits.npz"))
    for label in range(10):
        source = stored["images"][stored["labels"] == label]
        both = np.concatenate([x[y == label], test_x[test_y == label]])[:, 0]
        assert np.array_equal((both.astype(int) * 16 + 127) // 255, source)


def test_the_toy_is_deterministic_and_learnable() -> None:
    some = spec("toy", 6, 8)
    (x, y), (test_x, test_y) = toy(some, True), toy(some, False)
    assert x.shape == (240, 3, 8, 8)
    assert np.bincount(y).tolist() == [40] * 6
    assert np.bincount(test_y).tolist() == [20] * 6
    assert np.array_equal(x, toy(some, True)[0])
    assert not np.array_equal(x[:120], test_x)
    assert np.array_equal(toy(replace(some, classes=3), True)[0], x[y < 3])
    means = np.stack([x[y == label].mean(0) for label in range(6)])
    for images in (test_x, test_x[..., ::-1]):  # a flip changes no class
        distance = ((images[:, None] - means) ** 2).sum((2, 3, 4))
        assert (distance.argmin(1) == test_y).mean() > 0.99


@pytest.mark.skipif(not FASHION.is_dir(), reason="the real images are not here")
def test_real_fashion_mnist(tmp_path: Path) -> None:
    (tmp_path / "FashionMNIST").mkdir()
    (tmp_path / "FashionMNIST" / "raw").symlink_to(FASHION)
    assert check(GARMENTS, tmp_path, download=False) == "60,000 + 10,000 images of 10 classes"
    train, test = load(GARMENTS, tmp_path, range(10), download=False)
    assert train.y.bincount().tolist() == [6000] * 10
    assert test.y.bincount().tolist() == [1000] * 10
    assert test.y[:6].tolist() == [9, 2, 1, 1, 6, 1]  # an ankle boot, a pullover, trousers, ...
    assert isinstance(train, TensorImages)
    assert float(train.x.float().mean() / 255) == pytest.approx(0.2860, abs=1e-4)
    assert train.batch(torch.tensor([0, 1]), "train", 1).shape == (2, 3, 28, 28)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_gzip_or_not(tmp_path: Path, suffix: str) -> None:
    write_fashion(tmp_path, suffix)
    train, test = load(GARMENTS, tmp_path, [*range(9, -1, -1)])
    assert isinstance(train, TensorImages)
    assert np.array_equal(train.x[:, 0].numpy(), pixels(40, 28, 28, seed=40))
    assert train.y.tolist() == [9 - i % 10 for i in range(40)]
    assert len(test.y) == 20


def test_cifar_in_its_own_format(tmp_path: Path) -> None:
    write_cifar100(tmp_path)
    write_cifar10(tmp_path)
    assert check(CIFAR100, tmp_path) == "200 + 100 images of 100 classes"
    train, test = load(CIFAR100, tmp_path, range(100), download=False)
    assert isinstance(train, TensorImages)
    assert np.array_equal(train.x.numpy(), pixels(200, 3072, seed=200).reshape(200, 3, 32, 32))
    assert train.y.tolist() == [*range(100)] * 2
    assert smallest_class(test) == 1
    ten, _ = load(CIFAR10, tmp_path, range(10))
    assert isinstance(ten, TensorImages)
    expected = np.concatenate([pixels(20, 3072, seed=seed) for seed in range(5)])
    assert np.array_equal(ten.x.flatten(1).numpy(), expected)


def test_missing_data_says_where_and_what_is_there(tmp_path: Path) -> None:
    refuses(CIFAR100, tmp_path / "none", "cifar-100-python", str(tmp_path / "none"), "there is no such folder")
    refuses(CIFAR100, tmp_path, "no cifar-100-python", "allow the download")
    write_cifar10(tmp_path)
    refuses(CIFAR100, tmp_path, "it holds cifar-10-batches-py")
    assert "will be downloaded" in check(CIFAR100, tmp_path)
    (tmp_path / "FashionMNIST" / "raw").mkdir(parents=True)
    refuses(GARMENTS, tmp_path, "no FashionMNIST/raw")


def test_a_missing_file_is_damage_and_not_downloaded_over(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    (folder / "data_batch_3").unlink()
    refuses(CIFAR10, tmp_path, str(folder / "data_batch_3"), "missing")
    with pytest.raises(DataError, match="data_batch_3"):
        check(CIFAR10, tmp_path, download=True)


@pytest.mark.parametrize("kept", [0, 1, 300, -1])
def test_a_truncated_pickle(tmp_path: Path, kept: int) -> None:
    path = write_cifar100(tmp_path) / "train"
    path.write_bytes(path.read_bytes()[:kept])
    refuses(CIFAR100, tmp_path, str(path), "truncated", "delete")


def test_another_datasets_pickles(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test"):
        shutil.copy(write_cifar10(tmp_path / name) / "test_batch", folder / name)
    refuses(CIFAR100, tmp_path, str(folder / "train"), "has no fine_labels", "not cifar100")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"data": pixels(5, 3072)}, "(5, 3072) pixels for 200 labels"),
        ({"data": pixels(200, 1000)}, "(200, 1000) pixels"),
        ({"fine_labels": [i % 99 for i in range(200)]}, "no training images of class 99 (1 of 100"),
        ({"fine_labels": [i % 101 for i in range(200)]}, "labels run to 100"),
    ],
)
def test_a_pickle_of_the_wrong_shape(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    path = write_cifar100(tmp_path) / "train"
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()) | change))
    refuses(CIFAR100, tmp_path, word)


def test_a_pickle_may_not_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "owned"),)

    path = write_cifar100(tmp_path) / "train"
    path.write_bytes(pickle.dumps({"data": Evil(), "fine_labels": []}))
    refuses(CIFAR100, tmp_path, str(path), "mkdir")
    assert not (tmp_path / "owned").exists()


def test_damaged_idx_files(tmp_path: Path) -> None:
    raw = write_fashion(tmp_path)
    images, labels = raw / "train-images-idx3-ubyte.gz", raw / "train-labels-idx1-ubyte.gz"
    whole = images.read_bytes()
    images.write_bytes(whole[: len(whole) // 2])
    refuses(GARMENTS, tmp_path, str(images), "truncated")
    images.write_bytes(b"<html>not found</html>")
    refuses(GARMENTS, tmp_path, str(images), "no gzip file")
    images.write_bytes(gzip.compress(gzip.decompress(whole)[:-5]))
    refuses(GARMENTS, tmp_path, str(images), "31,355 bytes for an array of (40, 28, 28)")
    shutil.copy(labels, images)
    refuses(GARMENTS, tmp_path, str(images), "3 dimensions")
    images.write_bytes(gzip.compress(b"\0\0"))
    refuses(GARMENTS, tmp_path, str(images), "not an IDX file")
    images.write_bytes(whole)
    write_idx(labels, np.zeros(39, dtype=np.uint8))
    refuses(GARMENTS, tmp_path, str(labels), "39 labels for the 40 images")
    write_idx(labels, np.zeros(40, dtype=np.uint8))
    refuses(GARMENTS, tmp_path, "no training images of class 1 (9 of 10")
    labels.unlink()
    refuses(GARMENTS, tmp_path, "train-labels-idx1-ubyte: missing")


def test_the_wrong_number_of_channels_is_a_fault_of_the_declaration() -> None:
    with pytest.raises(ValueError, match="digits have 1 channels, not 3"):
        check(spec("digits", 10, 8, 3), Path("nowhere"))


def test_images_of_another_size_are_resized_once() -> None:
    some = spec("digits", 10, 16, 1)
    train, _ = load(some, Path("nowhere"), range(10))
    small, _ = load(replace(some, size=8), Path("nowhere"), range(10))
    assert isinstance(train, TensorImages)
    assert isinstance(small, TensorImages)
    assert train.x.shape == (1442, 1, 16, 16)
    assert abs(train.x.float().mean() - small.x.float().mean()) < 1
    expected = torchvision.transforms.functional.resize(small.x[1200:1201], [16, 16], antialias=True)
    assert torch.equal(train.x[1200:1201], expected)
    assert train.bytes_per_image == 256


def test_the_fingerprint_is_of_the_images(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    one = fingerprint(*load(GARMENTS, tmp_path, range(10)))
    assert len(one) == 32
    assert fingerprint(*load(GARMENTS, tmp_path, [*range(5, 10), *range(5)])) == one
    assert fingerprint(*load(replace(GARMENTS, augmentation=Augmentation(padding=1)), tmp_path, range(10))) == one
    train, test = load(GARMENTS, tmp_path, range(10))
    assert fingerprint(test, train) != one
    assert isinstance(train, TensorImages)
    train.x[3, 0, 5, 5] ^= 1
    assert fingerprint(train, test) != one
    train, test = load(GARMENTS, tmp_path, range(10))
    train.y[3] = 4
    assert fingerprint(train, test) != one


def downloads(monkeypatch: pytest.MonkeyPatch, act: Any) -> list[str]:
    asked: list[str] = []

    def stand_in(root: str, download: bool) -> None:
        assert download
        asked.append(root)
        act(Path(root))

    monkeypatch.setattr(torchvision.datasets, "CIFAR100", stand_in)
    return asked


def test_what_is_missing_is_downloaded_once_and_moved_when_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = downloads(monkeypatch, write_cifar100)
    data = tmp_path / "not" / "there"
    train, _ = load(CIFAR100, data, range(100))
    assert len(train.y) == 200
    fetch(CIFAR100, data)
    load(CIFAR100, data, range(100))
    assert len(asked) == 1
    assert Path(asked[0]).parent == data
    assert sorted(path.name for path in data.iterdir()) == [".download.lock", "cifar-100-python", "mapped"]
    fetch(spec("digits", 10, 8, 1), tmp_path / "nothing to do")
    assert not (tmp_path / "nothing to do").exists()


def test_an_archive_fetched_by_hand_is_what_torchvision_unpacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(b"by hand")
    seen = []

    def unpack(root: Path) -> None:
        seen.append((root / "cifar-100-python.tar.gz").read_bytes())
        write_cifar100(root)

    downloads(monkeypatch, unpack)
    fetch(CIFAR100, tmp_path)
    assert seen == [b"by hand"]
    assert (tmp_path / "cifar-100-python.tar.gz").read_bytes() == b"by hand"


@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("File not found or corrupted.")])
def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(root: Path) -> None:
        (root / "cifar-100-python").mkdir()
        raise error

    downloads(monkeypatch, fail)
    with pytest.raises(DataError) as caught:
        load(CIFAR100, tmp_path, range(100))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert str(error) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [".download.lock"]


def test_checking_imports_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from grace.streams.datasets import check\n"
        "from grace.streams.registry import DATASETS\n"
        "check(DATASETS['digits'], Path('.')); check(DATASETS['toy'], Path('.'))\n"
        "assert not {'torch', 'torchvision', 'pyarrow', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
