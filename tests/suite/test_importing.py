"""Configuration files of GRACE and PyCIL, as they are, to sweeps."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from suite.errors import Exit, SuiteError
from suite.importing import read, to_toml

COMMON: dict[str, Any] = {
    "prefix": "reproduce",
    "dataset": "cifar100",
    "memory_size": 2000,
    "memory_per_class": 20,
    "fixed_memory": False,
    "shuffle": True,
    "init_cls": 10,
    "increment": 10,
    "model_name": "der",
    "convnet_type": "resnet32",
    "device": ["0"],
    "seed": [1993],
}
GRACE = {
    **COMMON,
    "model_name": "grace",
    "t_base": 0.6,
    "t_decay": 0.96,
    "preservation_exponent": 5,
    "c_kd_factor": 0.4,
    "c_pred_factor": 1.6,
    "pretrain_path": "./pretrained/cifar100_b10.pt",
    "save_path": "./checkpoints",
}
MISSING = object()


def file(folder: Path, values: dict[str, Any], **changes: Any) -> Path:
    values = {key: value for key, value in {**values, **changes}.items() if value is not MISSING}
    path = folder / "grace_cifar100.json"
    path.write_text(json.dumps(values))
    return path


def test_a_grace_configuration_becomes_a_sweep(tmp_path: Path) -> None:
    imported = read(file(tmp_path, GRACE))
    assert imported.sweep == {
        "name": "grace_cifar100",
        "methods": ["grace"],
        "protocols": ["cifar100-b0i10"],
        "orders": [1993],
        "seeds": [1],
        "method": {
            "grace": {
                "threshold": 0.6,
                "decay": 0.96,
                "preservation": 5.0,
                "logit_weight": 0.4,
                "feature_weight": 1.6,
            }
        },
    }


def test_the_report_says_what_every_key_became(tmp_path: Path) -> None:
    report = read(file(tmp_path, GRACE, init_cls=50)).report
    assert report[0] == "read         GRACE JSON, 19 keys"
    text = "\n".join(report)
    assert all(key in text for key in GRACE)
    assert "mapped       t_base 0.6 -> method.grace.threshold" in report
    assert "mapped       dataset, init_cls, increment -> cifar100-b50i10 (6 tasks: 50+5x10)" in report
    assert "note         memory_per_class 20 has no effect while fixed_memory is false" in report
    assert any(line.startswith("note         seed ") and line.endswith("-> seeds 1") for line in report)
    assert {line.split(":")[0] for line in report if line.startswith("not carried")} == {
        f"not carried  {key}" for key in ("prefix", "device", "save_path", "shuffle")
    }
    assert report[-1].startswith("ask          pretrain_path ./pretrained/cifar100_b10.pt: ")


def test_a_pycil_configuration_becomes_a_sweep(tmp_path: Path) -> None:
    imported = read(file(tmp_path, COMMON, model_name="DER", seed=[1993, 7, 1993]))
    assert imported.report[0] == "read         PyCIL JSON, 12 keys"
    assert imported.sweep == {
        "name": "grace_cifar100",
        "methods": ["der"],
        "protocols": ["cifar100-b0i10"],
        "orders": [1993, 7],
        "seeds": [1],
    }


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"init_cls": 50}, "cifar100-b50i10"),
        ({"init_cls": 50, "increment": 2}, "cifar100-b50i2"),
        ({"increment": 30, "init_cls": 30}, "cifar100-b0i30"),
        ({"dataset": "cifar100_aa"}, "cifar100-b0i10+aa"),
        ({"dataset": "cifar10", "init_cls": 2, "increment": 2}, "cifar10-b0i2"),
        ({"fixed_memory": True}, "cifar100-b0i10+m=20/class"),
        ({"fixed_memory": MISSING}, "cifar100-b0i10"),
        ({"memory_size": 500}, "cifar100-b0i10+m=500"),
        ({"memory_size": 500, "memory_per_class": MISSING}, "cifar100-b0i10+m=500"),
        ({"seed": 1993}, "cifar100-b0i10"),
        ({"convnet_type": "resnet18"}, "cifar100-b0i10+net=resnet18-3x3"),
        ({"dataset": "imagenet100", "convnet_type": "resnet18"}, "imagenet100-b0i10"),
        ({"dataset": "imagenet100", "convnet_type": "resnet18", "init_cls": 50}, "imagenet100-b50i10"),
        (
            {"dataset": "imagenet100", "convnet_type": "resnet34", "init_cls": 50},
            "imagenet100-b50i10+net=resnet34-3x3-maxpool",
        ),
        ({"dataset": "imagenet100", "convnet_type": "resnet50"}, "imagenet100-b0i10+net=resnet50"),
        (
            {"dataset": "imagenet1000", "convnet_type": "resnet18", "init_cls": 100, "increment": 100},
            "imagenet1000-b0i100+m=2000",
        ),
    ],
)
def test_stream_backbone_and_memory_become_a_protocol(tmp_path: Path, changes: dict[str, Any], name: str) -> None:
    assert read(file(tmp_path, COMMON, **changes)).sweep["protocols"] == [name]


def test_which_imagenet100_is_meant_is_said(tmp_path: Path) -> None:
    report = read(file(tmp_path, COMMON, dataset="imagenet100", convnet_type="resnet18")).report
    assert any(line.startswith("note         imagenet100 is taken for imagenet100-ucir: ") for line in report)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"t_bse": 0.5}, 'unknown key "t_bse"; did you mean "t_base"? (--lenient drops it)'),
        ({"something": 1}, 'unknown key "something"; (--lenient drops it)'),
        ({"model_name": "icarll"}, 'unknown method "icarll"'),
        ({"model_name": "grac"}, 'did you mean "grace"?'),
        ({"model_name": 3}, '"model_name": text is wanted, not 3'),
        ({"model_name": MISSING}, '"model_name" is missing'),
        ({"convnet_type": "cosine_resnet32"}, 'unknown backbone "cosine_resnet32"; did you mean "resnet32"?'),
        ({"dataset": "cifr100"}, 'did you mean "cifar100-b0i10"?'),
        ({"dataset": ""}, '"dataset": text is wanted, not ""'),
        ({"init_cls": "10"}, '"init_cls": a whole number from 1 is wanted, not "10"'),
        ({"init_cls": 101}, "a first task of 101 does not fit the 100 classes of cifar100"),
        ({"increment": 0}, '"increment": a whole number from 1 is wanted, not 0'),
        ({"increment": 10.0}, "not 10.0"),
        ({"increment": True}, "not true"),
        ({"memory_size": -1}, '"memory_size": a whole number from 0 is wanted, not -1'),
        ({"memory_size": MISSING}, '"memory_size" is missing'),
        ({"memory_size": 70_000}, "too few for a memory of 70000; at most 50000"),
        ({"fixed_memory": True, "memory_per_class": 600}, "too few for a memory of 600/class; at most 500/class"),
        ({"fixed_memory": True, "memory_per_class": MISSING}, '"memory_per_class" is missing'),
        ({"fixed_memory": 1}, '"fixed_memory": true or false is wanted, not 1'),
        ({"shuffle": False}, '"shuffle": true (classes arrive in the order of a seed'),
        ({"aug": 2}, '"aug": 1 (a batch holds one view of each image) is wanted, not 2'),
        ({"seed": []}, '"seed": a list of whole numbers from 0, such as [1993], is wanted, not []'),
        ({"seed": ["1993"]}, 'not ["1993"]'),
        ({"seed": [2**32]}, "not [4294967296]"),
        ({"t_base": "0.6"}, '"t_base": a number is wanted, not "0.6"'),
        ({"t_decay": None}, '"t_decay": a number is wanted, not null'),
        ({"pretrain_path": 5}, '"pretrain_path": text is wanted, not 5'),
    ],
)
def test_a_fault_is_one_line_with_file_and_key(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = file(tmp_path, GRACE, **changes)
    with pytest.raises(SuiteError) as caught:
        read(path)
    message = str(caught.value)
    assert words in message
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert caught.value.code == Exit.SPEC


def test_keys_of_one_method_are_unknown_to_another(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match='unknown key "t_base"'):
        read(file(tmp_path, COMMON, t_base=0.6))


def test_lenient_drops_unknown_keys_and_says_so(tmp_path: Path) -> None:
    path = file(tmp_path, GRACE, **{"wb-project": "x"})
    with pytest.raises(SuiteError, match="wb-project"):
        read(path)
    imported = read(path, lenient=True)
    assert "not carried  wb-project: unknown, dropped" in imported.report
    assert imported.sweep == read(file(tmp_path, GRACE)).sweep


@pytest.mark.parametrize(
    ("text", "words", "code"),
    [
        ("{", "line 1, column 2: not JSON", Exit.SPEC),
        ("[1]", "a JSON object is wanted", Exit.SPEC),
        ('{"seed": [1], "seed": [2]}', 'key "seed" is there twice', Exit.SPEC),
        ('{"t_base": NaN}', "NaN is no number", Exit.SPEC),
        ("[" * 100_000, "nested too deeply", Exit.SPEC),
        (b"\xff\xfe", "not a text file", Exit.SPEC),
        (None, "no such file", Exit.USAGE),
    ],
)
def test_what_is_no_configuration_is_said(tmp_path: Path, text: str | bytes | None, words: str, code: Exit) -> None:
    path = tmp_path / "x.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SuiteError, match=words) as caught:
        read(path)
    assert caught.value.code == code
    assert str(caught.value).startswith(str(path))


def test_a_sweep_file_holds_sweep_and_report(tmp_path: Path) -> None:
    imported = read(file(tmp_path, GRACE))
    text = to_toml(imported.sweep, imported.report)
    assert tomllib.loads(text) == imported.sweep
    assert text.splitlines()[: len(imported.report)] == [f"# {line}" for line in imported.report]


def test_importing_needs_neither_torch_nor_ray() -> None:
    code = "import sys, suite.importing, suite.presets; print({'torch', 'numpy', 'ray', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
