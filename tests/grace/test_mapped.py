"""Small sets mapped from a copy: it holds what the files hold, belongs to them alone, and nobody can write to it."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from grace.streams import datasets
from grace.streams.datasets import fingerprint, load
from grace.streams.images import TensorImages
from tests.grace.test_datasets import CIFAR100, GARMENTS, pixels, spec, write_cifar100, write_fashion, write_idx

Pair = tuple[TensorImages, TensorImages]


def loaded(some: datasets.DatasetSpec, data: Path) -> Pair:
    train, test = load(some, data, range(some.classes), download=False)
    assert isinstance(train, TensorImages)
    assert isinstance(test, TensorImages)
    return train, test


def parsed(some: datasets.DatasetSpec, data: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in datasets._read(some, data)]


def is_mapped(split: TensorImages, copy: Path) -> bool:
    """Whether the kernel lists the address of the images as one of the file's."""
    address = split.x.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= address < end:
            return line.endswith(str(copy))
    return False


def copies(data: Path) -> list[Path]:
    return sorted((data / "mapped").glob("*.images"))


@pytest.mark.parametrize("some", [CIFAR100, GARMENTS], ids=lambda some: some.name)
def test_mapped_equals_parsed(some: datasets.DatasetSpec, tmp_path: Path) -> None:
    write_cifar100(tmp_path)
    write_fashion(tmp_path)
    first, second = loaded(some, tmp_path), loaded(some, tmp_path)
    (copy,) = copies(tmp_path)
    for one, two, (x, y) in zip(first, second, parsed(some, tmp_path), strict=True):
        assert torch.equal(one.x, x)
        assert torch.equal(two.x, x)
        assert torch.equal(two.y, y)
        assert is_mapped(one, copy)
        assert is_mapped(two, copy)
    plain = [TensorImages(x, y, some) for x, y in parsed(some, tmp_path)]
    assert fingerprint(*second) == fingerprint(*plain)


def test_images_resized_once_are_mapped_in_their_new_size(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    larger = spec("fashion-mnist", 10, 32, 1)
    assert loaded(GARMENTS, tmp_path)[0].x.shape[-1] == 28
    first, second = loaded(larger, tmp_path)[0], loaded(larger, tmp_path)[0]
    assert second.x.shape == (40, 1, 32, 32)
    assert torch.equal(first.x, second.x)
    assert len(copies(tmp_path)) == 2


def test_another_archive_is_noticed(tmp_path: Path) -> None:
    raw = write_fashion(tmp_path)
    before = fingerprint(*loaded(GARMENTS, tmp_path))
    other = pixels(40, 28, 28, seed=1)
    write_idx(raw / "train-images-idx3-ubyte.gz", other)
    train, test = loaded(GARMENTS, tmp_path)
    assert torch.equal(train.x[:, 0], torch.from_numpy(other))
    assert fingerprint(train, test) != before


def test_a_damaged_archive_is_refused_though_there_is_a_copy_of_the_whole_one(tmp_path: Path) -> None:
    raw = write_fashion(tmp_path)
    loaded(GARMENTS, tmp_path)
    path = raw / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(b"nothing of the kind"))
    with pytest.raises(datasets.DataError, match="not an IDX file"):
        loaded(GARMENTS, tmp_path)


@pytest.mark.parametrize("cut", [1, 500, 10**9])
def test_a_copy_cut_short_is_made_again(tmp_path: Path, cut: int) -> None:
    write_fashion(tmp_path)
    whole = loaded(GARMENTS, tmp_path)[0].x.clone()
    (copy,) = copies(tmp_path)
    size = copy.stat().st_size
    copy.chmod(0o644)
    os.truncate(copy, max(0, size - cut))
    again = loaded(GARMENTS, tmp_path)[0]
    assert torch.equal(again.x, whole)
    assert is_mapped(again, copy)
    assert copy.stat().st_size == size


def test_nobody_can_write_to_the_copy(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    train, test = loaded(GARMENTS, tmp_path)
    content, (copy,) = fingerprint(train, test), copies(tmp_path)
    before = copy.read_bytes()
    train.x.fill_(7)
    assert fingerprint(train, test) != content
    assert copy.read_bytes() == before
    assert fingerprint(*loaded(GARMENTS, tmp_path)) == content
    assert copy.stat().st_mode & 0o222 == 0


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary" / f"grace-mapped-{os.getuid()}"


def unwritable(data: Path) -> None:
    """A file stands where the folder would be: that keeps even root from writing there."""
    (data / "mapped").write_text("")


def test_a_data_folder_that_cannot_be_written_has_its_copy_among_temporary_files(
    tmp_path: Path, elsewhere: Path
) -> None:
    write_fashion(tmp_path)
    unwritable(tmp_path)
    expected = parsed(GARMENTS, tmp_path)[0][0]
    for _ in range(2):
        train = loaded(GARMENTS, tmp_path)[0]
        (copy,) = elsewhere.glob("*.images")
        assert is_mapped(train, copy)
        assert torch.equal(train.x, expected)


def test_what_another_user_has_put_among_temporary_files_is_not_taken(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fashion(tmp_path)
    unwritable(tmp_path)
    loaded(GARMENTS, tmp_path)
    (copy,) = elsewhere.glob("*.images")
    other = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other)
    elsewhere.rename(elsewhere.with_name(f"grace-mapped-{other}"))
    assert not is_mapped(loaded(GARMENTS, tmp_path)[0], copy)


def test_where_nothing_can_be_written_it_is_parsed(tmp_path: Path, elsewhere: Path) -> None:
    write_fashion(tmp_path)
    unwritable(tmp_path)
    elsewhere.write_text("")
    assert torch.equal(loaded(GARMENTS, tmp_path)[0].x, parsed(GARMENTS, tmp_path)[0][0])


def test_processes_that_start_together_make_one_copy(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    code = (
        "import sys, time; from pathlib import Path\n"
        "from grace.streams import archives\n"
        "from grace.streams.mapped import Split, mapped\n"
        "from grace.streams.registry import DATASETS\n"
        "GARMENTS = DATASETS['fashion-mnist']\n"
        "def made():\n"
        "    print('made', flush=True); time.sleep(0.3)\n"
        "    (x, y), (u, v) = archives.idx(GARMENTS, data, 'train'), archives.idx(GARMENTS, data, 't10k')\n"
        "    return Split(x, y, b'1'), Split(u, v, b'2')\n"
        "data = Path(sys.argv[1]); print('ready', flush=True); sys.stdin.readline()\n"
        "train, test = mapped('g', data, archives.files(GARMENTS, data), made)\n"
        "print(int(train.x.sum()), int(test.y.sum()), train.digest, test.digest)\n"
    )
    folder = Path(__file__).parents[2]
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    said = []
    for process in both:  # both are told before either is waited for
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        said += process.communicate(timeout=60)[0].splitlines()
        assert process.returncode == 0
    total = int(pixels(40, 28, 28, seed=40).sum(dtype=np.int64))
    assert sorted(said) == sorted(["made", *[f"{total} 90 b'1' b'2'"] * 2])
    assert len(copies(tmp_path)) == 1
    assert not list((tmp_path / "mapped").glob("*.part"))
