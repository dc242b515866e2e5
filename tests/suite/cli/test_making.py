"""`import`, `new` and `doctor`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import suite.doctor
from suite.errors import Exit
from suite.sweep import read_sweep
from tests.suite.cli.conftest import Call
from tests.suite.cli.test_bad_input import CONFIGURATION, one_line

DEFAULTS = {"threshold": 0.6, "decay": 0.96, "preservation": 5.0, "logit_weight": 0.4, "feature_weight": 1.6}


def test_an_imported_configuration_is_a_sweep(call: Call, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps(CONFIGURATION))
    said = call("import", "old.json", "-o", "new.toml")
    assert said.code == Exit.DONE
    assert "t_base 0.6 -> method.grace.threshold" in said.err
    assert "plan new.toml" in said.err
    sweep = read_sweep(tmp_path / "new.toml")
    assert (sweep.methods, sweep.protocols, sweep.orders) == (["grace"], ["cifar100-b0i10"], [1993])
    assert sweep.method == {"grace": DEFAULTS}
    keys = [run["key"] for run in call("plan", "new.toml", "--json").json["runs"]]
    assert keys == [run["key"] for run in call("plan", "--config", "old.json", "--json").json["runs"]]
    printed = call("import", "old.json")
    assert printed.out == (tmp_path / "new.toml").read_text()
    facts = call("import", "old.json", "--json").json
    assert (facts["runs"], facts["sweep"]["methods"]) == (1, ["grace"])


def test_unknown_keys_are_left_out_when_asked(call: Call, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps(CONFIGURATION | {"t_bse": 0.5}))
    assert call("import", "old.json").code == Exit.SPEC
    said = call("import", "old.json", "--lenient", "-o", "new.toml")
    assert said.code == Exit.DONE
    assert "t_bse" in said.err
    assert call("plan", "--config", "old.json", "--lenient").code == Exit.DONE


def test_options_go_over_a_configuration(call: Call, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps(CONFIGURATION))
    said = call("plan", "--config", "old.json", "-p", "digits-b0i2", "--seeds", "3", "--json")
    assert [(run["protocol"], run["train_seed"]) for run in said.json["runs"]] == [("digits-b0i2", 3)]


def test_a_new_protocol_is_usable_at_once(call: Call) -> None:
    said = call("new", "protocol", "mylab-b20", "--dataset", "cifar100", "--base", "20", "--increment", "8")
    assert said.out == "mylab-b20.toml: mylab-b20, 11 tasks: 20+10x8\n"
    assert "show mylab-b20 --protocols mylab-b20.toml" in said.err
    facts = call("show", "mylab-b20", "--protocols", "mylab-b20.toml", "--json").json
    assert facts["increments"] == [20] + [8] * 10
    assert (facts["memory"]["budget"], facts["backbone"]["name"]) == ("2000", "resnet32")  # as usual on the dataset
    names = [row["name"] for row in call("list", "protocols", "--protocols", "mylab-b20.toml", "--json").json]
    assert "mylab-b20" in names


@pytest.mark.parametrize(("kind", "size", "net"), [("folder", "224", "resnet18"), ("parquet", "48", "resnet32")])
def test_a_new_dataset_of_ones_own(call: Call, kind: str, size: str, net: str) -> None:
    command = ("new", "protocol", "--dataset", "flowers", f"--{kind}", "blooms", "--classes", "102", "--size", size)
    said = call(*command, "--increment", "17", "--memory", "9/class", "-o", "mine.toml", "--json")
    assert said.json == {"file": "mine.toml", "protocols": ["flowers-b0i17"]}
    facts = call("show", "flowers-b0i17", "--protocols", "mine.toml", "--json").json
    assert facts["increments"] == [17] * 6
    assert (facts["dataset"]["size"], facts["backbone"]["name"]) == (int(size), net)
    assert call("show", "flowers-b51i17+aa", "--protocols", "mine.toml", "--json").json["increments"] == [
        51,
        17,
        17,
        17,
    ]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--dataset", "cifr100", "--increment", "5"], Exit.SPEC, ["unknown dataset", "cifar100"]),
        (["--dataset", "cifar100", "--increment", "101"], Exit.SPEC, ["does not fit", "cifar100-b0i100"]),
        (["--dataset", "cifar100", "--increment", "5", "--memory", "lots"], Exit.SPEC, ["20/class"]),
        (["--dataset", "cifar100", "--increment", "5", "--memory", "501/class"], Exit.SPEC, ["500"]),
        (["--dataset", "cifar100", "--increment", "five"], Exit.USAGE, ["--increment"]),
        (["--dataset", "cifar100"], Exit.USAGE, ["--increment"]),
        (["--dataset", "flowers", "--folder", "x", "--increment", "5"], Exit.USAGE, ["--classes"]),
        (["--dataset", "flowers", "--folder", "x", "--parquet", "y", "--increment", "5"], Exit.USAGE, ["not both"]),
        (["--dataset", "flowers", "--folder", "x", "--classes", "4", "--increment", "5"], Exit.SPEC, ["increment"]),
    ],
)
def test_a_new_protocol_that_does_not_fit(
    call: Call, tmp_path: Path, options: list[str], code: Exit, words: list[str]
) -> None:
    one_line(call("new", "protocol", "mine-b0", *options), code, *words)
    assert list(tmp_path.iterdir()) == []


FACTS = {"torch": "2.15.0", "cuda": "13.2", "gpus": ["H, 78 GiB"], "capabilities": [[9, 0]], "trouble": "",
         "triton": True, "amx": False, "avx512_bf16": False}  # fmt: skip


def answers(monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any] | None = None, **trouble: str) -> None:
    """Let the processes that import torch, torchvision and ray say what they are told to."""

    def says(program: str) -> tuple[str, str]:
        for name, part in {
            "torch": suite.doctor.TORCH,
            "torchvision": suite.doctor.PAIR,
            "ray": suite.doctor.RAY,
        }.items():
            if part in program and name in trouble:
                return "", trouble[name]
        return json.dumps(FACTS | {"torchvision": "1.2", "ray": "1.2"} | (facts or {})), ""

    monkeypatch.setattr(suite.doctor, "_python_says", says)


def states(said: Any) -> dict[str, str]:
    return {finding["what"]: finding["state"] for finding in said.json["findings"]}


def test_a_fit_machine(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch)
    said = call("doctor", "--json")
    assert said.code == Exit.DONE
    found = states(said)
    assert "bad" not in found.values()
    looked_at = {"Python", "torch", "torchvision", "GPUs", "precision", "torch.compile", "Ray", "machine", "results"}
    assert looked_at | {"data digits"} <= set(found)
    assert (found["data digits"], found["data imagenet1000"]) == ("good", "note")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["torch", "torchvision", "ray"])
def test_a_library_that_does_not_import(call: Call, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    answers(monkeypatch, **{name: "operator does not exist"})
    said = call("doctor")
    assert said.code == Exit.ENVIRONMENT
    assert "operator does not exist" in said.out
    assert said.err.lower() == f"error: not fit to run: {name}\n"
    assert call("doctor", "--json").code == Exit.ENVIRONMENT


def test_a_root_that_will_not_do(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch)
    (tmp_path / "file").write_text("")
    assert states(call("doctor", "--root", "file", "--json"))["results"] == "bad"


@pytest.mark.parametrize(
    ("facts", "state", "words"),
    [
        ({}, "good", "tf32, bf16: a gain is expected here (tensor cores)"),
        ({"capabilities": [[9, 0], [7, 5], [7, 5]]}, "note", "no gain expected on compute capability 7.5 < 8.0"),
        ({"gpus": [], "amx": True, "avx512_bf16": True}, "good", "bf16: a gain is expected here (AMX)"),
        ({"gpus": [], "avx512_bf16": True}, "note", "bf16: no gain expected here (AVX512-BF16 but no AMX)"),
        ({"gpus": []}, "note", "bf16: no gain expected here (no AMX)"),
    ],
)
def test_precisions_that_pay(
    call: Call, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], state: str, words: str
) -> None:
    answers(monkeypatch, facts)
    said = call("doctor", "--json")
    assert (said.code, states(said)["precision"]) == (Exit.DONE, state)
    assert words in said.out


@pytest.mark.parametrize(
    ("installed", "named", "facts", "state", "words"),
    [
        (["g++"], None, {}, "good", "C++ compiler: g++"),
        (["c18"], "c18 --fast", {}, "good", "C++ compiler: c18"),
        (["clang++"], None, {}, "note", "runs train without it: there is no C++ compiler g++ (set CXX=clang++)"),
        ([], None, {"gpus": []}, "note", "no C++ compiler g++ (install g++ or set CXX)"),
        (["g++"], "c18", {}, "note", "there is no C++ compiler c18"),
        (["g++"], None, {"triton": False}, "note", "triton cannot be imported"),
        (["g++"], None, {"triton": False, "gpus": []}, "good", "C++ compiler: g++"),  # only GPUs need it
    ],
)
def test_what_compiling_needs(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    installed: list[str],
    named: str | None,
    facts: dict[str, Any],
    state: str,
    words: str,
) -> None:
    answers(monkeypatch, facts)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("shutil.which", lambda name: name if name in installed else None)
    if named:
        monkeypatch.setenv("CXX", named)
    else:
        monkeypatch.delenv("CXX", raising=False)
    said = call("doctor", "--json")
    assert (said.code, states(said)["torch.compile"]) == (Exit.DONE, state)
    assert words in said.out


@pytest.mark.parametrize(
    ("facts", "state", "text"),
    [
        ({"gpus": ["H, 78 GiB"] * 8 + ["A, 40 GiB"]}, "good", "8 x H, 78 GiB; A, 40 GiB"),
        ({"trouble": "GPU 1: CUDA error: out of memory"}, "bad", "cannot be used: GPU 1: CUDA error: out of memory"),
    ],
)
def test_gpus(call: Call, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], state: str, text: str) -> None:
    answers(monkeypatch, facts)
    (found,) = (each for each in call("doctor", "--json").json["findings"] if each["what"] == "GPUs")
    assert (found["state"], found["text"]) == (state, text)


def test_what_torch_is_asked_can_be_asked(call: Call) -> None:
    found, trouble = suite.doctor._facts(suite.doctor.TORCH, suite.doctor.PAIR, suite.doctor.RAY)
    assert trouble == ""
    assert set(found) == {*FACTS, "torchvision", "ray"}


def test_a_package_that_is_too_old(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch)
    monkeypatch.setattr(
        suite.doctor, "requires", lambda _: ["click>=99", "nothing-like-this", "rich>=1; extra == 'dev'"]
    )
    said = call("doctor")
    assert said.code == Exit.ENVIRONMENT
    assert "at least 99 is wanted; nothing-like-this is missing" in said.out


def test_what_a_process_says() -> None:
    assert suite.doctor._python_says("print(1); print(2)") == ("2", "")
    assert suite.doctor._python_says("raise ValueError('no')") == ("", "ValueError: no")
