"""`list`, `show` and `plan`: what scripts and people read."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import protocols
from grace.methods import METHODS
from grace.nets import BACKBONES
from grace.streams.registry import DATASETS
from suite.cli.launching import placed
from suite.cli.main import VERBS
from suite.errors import SuiteError
from suite.sweep import resolve, sweep_of
from tests.suite.cli.conftest import Call

NAMES = {
    "methods": list(METHODS),
    "protocols": protocols.names(),
    "datasets": list(DATASETS),
    "backbones": list(BACKBONES),
}


@pytest.mark.parametrize("kind", NAMES)
def test_list_has_every_name(call: Call, kind: str) -> None:
    rows = call("list", kind, "--json").json
    assert sorted(row["name"] for row in rows) == sorted(NAMES[kind])
    said = call("list", kind)
    assert said.code == 0
    assert [name for name in NAMES[kind] if name not in said.out] == []


def test_list_without_a_kind_has_all_four(call: Call) -> None:
    assert list(call("list", "--json").json) == ["protocols", "methods", "datasets", "backbones"]
    assert [kind for kind in NAMES if kind.upper() not in call("list").out] == []


@pytest.mark.parametrize(("kind", "name"), [(kind[:-1], name) for kind, names in NAMES.items() for name in names])
def test_show_knows_every_name(call: Call, kind: str, name: str) -> None:
    facts = call("show", name, "--json").json
    assert (facts["kind"], facts["name"]) == (kind, name)
    said = call("show", name)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{name}  {kind}\n")


def test_show_of_a_protocol_has_its_tasks_with_the_original_labels(call: Call) -> None:
    facts = call("show", "cifar100-b50i25+m=20/class", "--orders", "1993,7", "--json").json
    assert facts["increments"] == [50, 25, 25]
    assert facts["orders"]["1993"][:5] == [68, 56, 78, 8, 23]
    assert sorted(facts["orders"]["7"]) == list(range(100))
    assert [task["exemplars_per_class"] for task in facts["tasks"]] == [20, 20, 20]
    assert facts["backbone"] == {"name": "resnet32", "parameters": 463_504, "width": 64}
    assert "68 56 78 8 23" in call("show", "cifar100-b50i25").out


def test_show_of_a_method_has_every_setting_and_its_source(call: Call) -> None:
    facts = call("show", "grace", "--json").json
    fields = {field["field"]: field for field in facts["fields"]}
    assert fields["threshold"]["default"] == 0.6
    assert "tau_1" in fields["threshold"]["comment"]
    assert [p["values"]["threshold"] for p in facts["presets"] if p["protocol"] == "cifar100-b0i5"] == [0.5]
    said = call("show", "grace").out
    assert [name for name in fields if name not in said] == []


def test_names_are_found_in_any_case(call: Call) -> None:
    assert call("show", "GRACE", "--json").json["name"] == "grace"
    assert call("show", "CIFAR-100 Base0 Inc10", "--json").json["name"] == "cifar100-b0i10"
    assert call("show", "ImageNet100", "--json").json["name"] == "imagenet100-ucir"


def test_plan_is_the_runs_of_the_sweep(call: Call) -> None:
    said = call("plan", "-m", "der", "-m", "replay", "-p", "digits-b0i2", "--seeds", "0,1", "--json")
    sweep = sweep_of({"methods": ["der", "replay"], "protocols": ["digits-b0i2"], "seeds": [0, 1]}, "")
    assert said.json["runs"] == [
        {
            "key": spec.key,
            "method": spec.method,
            "protocol": "digits-b0i2",
            "order_seed": 1993,
            "train_seed": spec.train_seed,
            "precision": "fp32",
            "workers": 1,
            "done": False,
            "seconds": None,
        }
        for spec in resolve(sweep)
    ]


@pytest.mark.parametrize(
    "spelling",
    [
        ("-m", "der", "replay", "-p", "digits-b0i2", "--seeds", "0", "1", "2"),
        ("-m", "der,replay", "-p", "digits-b0i2", "--seeds", "0-2"),
        ("--method", "der", "--method", "replay", "--protocol", "digits b0 i2", "--seeds", "0,1,2"),
        ("sweep.toml",),
        ("-m", "der", "replay", "sweep.toml"),
        ("--seeds", "0-2", "--orders", "1993", "sweep.toml"),
    ],
)
def test_the_ways_to_say_a_sweep_are_equal(call: Call, tmp_path: Path, spelling: tuple[str, ...]) -> None:
    text = 'methods = ["der", "replay"]\nprotocols = ["digits-b0i2"]\nseeds = [0, 1, 2]\n'
    (tmp_path / "sweep.toml").write_text(text)
    sweep = sweep_of({"methods": ["der", "replay"], "protocols": ["digits-b0i2"], "seeds": [0, 1, 2]}, "")
    assert [run["key"] for run in call("plan", *spelling, "--json").json["runs"]] == [
        spec.key for spec in resolve(sweep)
    ]


def test_options_go_over_the_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text('methods = ["der"]\nprotocols = ["digits-b0i2"]\nseeds = [0, 1, 2]\n')
    runs = call("plan", "sweep.toml", "-m", "replay", "--seeds", "7", "--json").json["runs"]
    assert [(run["method"], run["train_seed"]) for run in runs] == [("replay", 7)]


def test_the_plan_in_words(call: Call) -> None:
    said = call("plan", "-m", "grace", "der", "-p", "digits-b0i2", "cifar100-b0i10", "--seeds", "0-2")
    assert (said.code, said.err) == (0, "")
    for words in (
        "12 runs = 2 methods x 2 protocols x 1 order x 3 seeds: 0 done, 12 to run",
        "0.46-4.64 M",
        "unknown: no finished run to judge by",
        "grace on digits-b0i2: nearest preset: cifar100-b0i10",
        "run -m grace der -p digits-b0i2 cifar100-b0i10 --orders 1993 --seeds 0-2",
    ):
        assert words in said.out


def test_a_precision_is_planned_and_handed_on(call: Call, tmp_path: Path) -> None:
    usual = ("plan", "-m", "der", "-p", "digits-b0i2")
    said = call(*usual, "--precision", "bf16")
    assert "precision bf16: backbones in bfloat16" in said.out
    (line,) = [line for line in said.out.splitlines() if line.startswith("next: ")]
    assert line.endswith("--seeds 0 --precision bf16")
    copied = shlex.split(line.partition(" run ")[2])
    assert call("plan", *copied, "--json").json == call(*usual, "--precision", "bf16", "--json").json
    assert "precision" not in call(*usual).out
    assert call(*usual, "--precision", "fp32", "--json").json == call(*usual, "--json").json

    (tmp_path / "sweep.toml").write_text('methods = ["der"]\nprotocols = ["digits-b0i2"]\nprecision = "tf32"\n')
    assert [run["precision"] for run in call("plan", "sweep.toml", "--json").json["runs"]] == ["tf32"]
    assert "run sweep.toml" in call("plan", "sweep.toml").out
    assert call("plan", "sweep.toml", "--precision", "fp32", "--json").json == call(*usual, "--json").json


def test_workers_are_planned_and_handed_on(call: Call, tmp_path: Path) -> None:
    usual = ("plan", "-m", "der", "-p", "digits-b0i2")
    said = call(*usual, "--workers", "3")
    assert "workers   3: global batch 128, 42 or 43 on each; another class of results than one worker's" in said.out
    (line,) = [line for line in said.out.splitlines() if line.startswith("next: ")]
    assert line.endswith("--seeds 0 --workers 3")
    copied = shlex.split(line.partition(" run ")[2])
    assert call("plan", *copied, "--json").json == call(*usual, "--workers", "3", "--json").json
    assert "workers" not in call(*usual).out
    assert call(*usual, "--workers", "1", "--json").json == call(*usual, "--json").json
    (tmp_path / "sweep.toml").write_text('methods = ["der"]\nprotocols = ["digits-b0i2"]\nworkers = 2\n')
    assert [run["workers"] for run in call("plan", "sweep.toml", "--json").json["runs"]] == [2]


def test_gpus_of_a_run_are_workers_with_one_each() -> None:
    sweep = sweep_of({"methods": ["der"], "protocols": ["digits-b0i2"]}, "test")
    both = placed(sweep, {"gpus_per_run": 2.0})
    assert (both.workers, both.launch.gpus_per_run) == (2, 1.0)
    again = placed(both, {"gpus_per_run": 2.0}, kept=True)
    assert (again.workers, again.launch.gpus_per_run) == (2, 1.0)
    assert placed(sweep, {"gpus_per_run": 0.5}).workers == 1
    with pytest.raises(SuiteError, match="these runs have 1 worker; --gpus-per-run 1 gives each worker one"):
        placed(sweep, {"gpus_per_run": 2.0}, kept=True)


def test_plan_writes_nothing(call: Call, tmp_path: Path) -> None:
    call("plan", "-m", "der", "-p", "digits-b0i2")
    assert list(tmp_path.iterdir()) == []


def test_shared_options_go_before_or_after_the_verb(call: Call) -> None:
    after = call("list", "methods", "--json")
    assert call("--json", "list", "methods") == after


def test_nothing_in_a_name_is_taken_for_markup(call: Call, tmp_path: Path) -> None:
    text = 'dataset = "toy"\n[protocol]\nname = "mine-b0"\nincrement = 3\nmemory = 7\n'
    (tmp_path / "mine.toml").write_text(text + 'source = "[red]a[/nothing] :smile:"\n')
    assert "[red]a[/nothing] :smile:" in call("show", "mine-b0", "--protocols", "mine.toml").out


def test_help_has_every_verb_and_every_verb_has_help(call: Call) -> None:
    said = call("--help")
    assert said.code == 0
    assert call().out == said.out
    for verb, (_, line) in VERBS.items():
        assert f"{verb} " in said.out
        assert line in said.out
        assert "--root" in call(verb, "--help").out


def test_the_version(call: Call) -> None:
    assert call("--version").out.startswith("grace-suite ")
