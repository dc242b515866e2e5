"""Data and results folders that will not do: named with path and fix before anything is run, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from suite.errors import Exit
from suite.store import Store
from tests.suite.cli.conftest import Call
from tests.suite.cli.test_bad_input import one_line

CIFAR = ("run", "-m", "der", "-p", "cifar100-b0i10", "-q")
OWN = """[dataset]
name = "garden"
kind = "folder"
path = "{path}"
classes = 3
size = 16
[protocol]
increment = 1
memory = 3
"""


@pytest.fixture(autouse=True)
def no_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    def launcher(*_: Any) -> None:
        raise AssertionError("nothing may be launched")

    monkeypatch.setattr("suite.cli.launching.launcher", launcher)


def garden(folder: Path, classes: int, images: int = 4) -> None:
    """An image folder with two splits."""
    for split in ("train", "val"):
        for label in range(classes):
            place = folder / split / f"class{label}"
            place.mkdir(parents=True)
            for i in range(images):
                Image.new("RGB", (20, 20), (label * 50, i * 20, 9)).save(place / f"{i}.png")


def test_missing_data(call: Call, tmp_path: Path) -> None:
    one_line(
        call(*CIFAR, "--data", "nowhere", "--no-download"), Exit.DATA, "cifar100", f"{tmp_path}/nowhere", "download"
    )
    one_line(
        call("run", "-m", "der", "-p", "imagenet100-b0i10", "-q"), Exit.DATA, f"{tmp_path}/data/imagenet100-ucir/train"
    )
    assert call("results").code == Exit.NOTHING


def test_an_empty_data_folder(call: Call, tmp_path: Path) -> None:
    (tmp_path / "data" / "cifar-100-python").mkdir(parents=True)
    one_line(call(*CIFAR, "--no-download"), Exit.DATA, "cifar100", f"{tmp_path}/data")


def test_truncated_data(call: Call, tmp_path: Path) -> None:
    place = tmp_path / "data" / "cifar-100-python"
    place.mkdir(parents=True)
    for name in ("train", "test"):
        (place / name).write_bytes(b"\x80\x04\x95")
    one_line(call(*CIFAR), Exit.DATA, f"{place}/train", "truncated", "delete")


def test_data_of_another_dataset(call: Call, tmp_path: Path) -> None:
    garden(tmp_path / "garden", classes=2)
    (tmp_path / "mine.toml").write_text(OWN.format(path="garden"))
    said = call("run", "-m", "der", "-p", "garden-b0i1", "--protocols", "mine.toml", "-q")
    one_line(said, Exit.DATA, "garden", "3", "2")


def test_a_truncated_image(call: Call, tmp_path: Path) -> None:
    garden(tmp_path / "garden", classes=3)
    image = tmp_path / "garden" / "train" / "class1" / "2.png"
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    (tmp_path / "mine.toml").write_text(OWN.format(path="garden"))
    said = call("run", "-m", "der", "-p", "garden-b0i1", "--protocols", "mine.toml", "-q")
    one_line(said, Exit.DATA, str(image))


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_root_that_is_no_folder(call: Call, tmp_path: Path, verb: str) -> None:
    (tmp_path / "file").write_text("precious")
    command = (verb, "-m", "der", "-p", "digits-b0i2")
    one_line(call(*command, "--root", "file"), Exit.ENVIRONMENT, "file", "--root")
    one_line(call(*command, "--root", "file/below"), Exit.ENVIRONMENT, "file/below")
    assert (tmp_path / "file").read_text() == "precious"


def test_a_full_root(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    one_line(
        call("run", "-m", "der", "-p", "digits-b0i2", "-q"), Exit.ENVIRONMENT, "results", "No space left on device"
    )


def test_a_root_that_may_not_be_written(call: Call, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "locked").mkdir(mode=0o500)
    one_line(call("run", "-m", "der", "-p", "digits-b0i2", "--root", "locked"), Exit.ENVIRONMENT, "locked")


@pytest.mark.parametrize("verb", [("run", "-m", "der", "-p", "digits-b0i2"), ("results",), ("table",), ("resume",)])
def test_a_store_of_a_newer_version(call: Call, tmp_path: Path, verb: tuple[str, ...]) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "store.json").write_text(json.dumps({"schema": 999}))
    one_line(call(*verb), Exit.ENVIRONMENT, "results", "schema 999", "upgrade")


def test_a_protocol_file_that_cannot_be_written(call: Call, tmp_path: Path) -> None:
    said = call("new", "protocol", "--dataset", "toy", "--increment", "2", "-o", "nowhere/mine.toml")
    one_line(said, Exit.ENVIRONMENT, "nowhere/mine.toml")


def test_a_file_that_is_there_is_not_replaced(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("precious")
    command = ("new", "protocol", "mine", "--dataset", "toy", "--increment", "2")
    one_line(call(*command), Exit.USAGE, "mine.toml exists", "--force")
    assert (tmp_path / "mine.toml").read_text() == "precious"
    one_line(call(*command, "--backbone", "rsnet8", "--force"), Exit.SPEC, "unknown backbone", '"resnet8"')
    assert (tmp_path / "mine.toml").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_two_sweeps_on_one_root_at_the_same_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; from suite.cli.main import main; sys.exit(main())"]
    command += ["run", "-p", "toy-b0i5", "--seeds", "0,1", "--limit-epochs", "2", "--address", "none", "--json", "-m"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    sweeps = [
        subprocess.Popen([*command, *methods], stdout=subprocess.PIPE, cwd=tmp_path, env=environment, text=True)
        for methods in (["finetune", "replay"], ["replay", "der"])
    ]
    for sweep in sweeps:
        said = json.loads(sweep.communicate(timeout=120)[0])
        assert sweep.returncode == Exit.DONE
        assert (said["total"], said["failed"], said["left"]) == (4, [], 0)
    store = Store.open(tmp_path / "results")
    assert len(store.keys()) == 6  # two of the eight are wanted by both
    assert all(map(store.done, store.keys()))
    assert not [path for path in (tmp_path / "results" / "work").iterdir() if path.is_dir()]
