"""Sweeps: from files and options to resolved runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suite.errors import Exit, SuiteError
from suite.sweep import assigned, chosen, find_protocol, read_sweep, resolve, sweep_name, sweep_of, write_sweep


def wanted(**values: Any) -> Any:
    return sweep_of({"methods": ["grace"], "protocols": ["cifar100-b0i5"]} | values, "test")


def config(sweep: Any) -> dict[str, Any]:
    (spec,) = resolve(sweep)
    return spec.config


def test_the_runs_are_a_product_that_fills_a_table_evenly() -> None:
    sweep = wanted(methods=["der", "replay"], protocols=["cifar100-b0i10", "digits-b0i2"], orders=[1, 2], seeds=[0, 1])
    found = [(spec.protocol.name, spec.order_seed, spec.train_seed, spec.method) for spec in resolve(sweep)]
    assert len(found) == len(set(found)) == 16
    assert found[:4] == [
        ("cifar100-b0i10", 1, 0, "der"),
        ("cifar100-b0i10", 1, 0, "replay"),
        ("cifar100-b0i10", 1, 1, "der"),
        ("cifar100-b0i10", 1, 1, "replay"),
    ]
    assert {name for name, *_ in found[:8]} == {"cifar100-b0i10"}


def test_two_spellings_of_a_protocol_are_one_run() -> None:
    spellings = ["cifar100-b0i10", "CIFAR100_b0-10", "cifar100-b0i10+m=2000"]
    assert len(resolve(wanted(methods=["der", "der"], protocols=spellings))) == 1


def test_a_file_goes_over_the_preset_and_the_option_over_the_file() -> None:
    # the preset of cifar100-b0i5 has threshold 0.5 and decay 0.9, the method's defaults are 0.6 and 0.96
    assert config(wanted())["threshold"] == 0.5
    assert config(wanted())["decay"] == 0.9
    own = wanted(method={"grace": {"threshold": 0.55}})
    assert (config(own)["threshold"], config(own)["decay"]) == (0.55, 0.9)
    changed = assigned(own, ["method.grace.threshold=0.7", "method.grace.expand.epochs=3"])
    assert config(changed)["threshold"] == 0.7
    assert config(changed)["expand"]["epochs"] == 3
    assert own.method == {"grace": {"threshold": 0.55}}  # untouched


def test_equal_settings_are_one_run_however_they_were_given() -> None:
    (preset,) = resolve(wanted())
    (given,) = resolve(assigned(wanted(), ["method.grace.threshold=0.5", "method.grace.preservation=5"]))
    (other,) = resolve(assigned(wanted(), ["method.grace.threshold=0.51"]))
    assert preset.key == given.key != other.key


def test_where_settings_are_from() -> None:
    (_, own), (_, borrowed) = chosen(wanted(protocols=["cifar100-b0i5", "digits-b0i2"]))
    assert own.exact
    assert not borrowed.exact
    assert "cifar100-b0i10" in borrowed.source


def test_epochs_follow_the_protocol_unless_they_were_given() -> None:
    # digits-b0i2 trains for 0.15 of every recipe: 200 -> 30 with milestones 60 120 170 -> 9 18 26 (25.5 rounds to even)
    plain = config(wanted(methods=["der"], protocols=["digits-b0i2"]))
    assert plain["initial"]["epochs"] == 30
    assert plain["initial"]["milestones"] == [9, 18, 26]
    given = assigned(wanted(methods=["der"], protocols=["digits-b0i2"]), ["method.der.initial.epochs=20"])
    assert config(given)["initial"]["epochs"] == 20
    assert config(given)["initial"]["milestones"] == [6, 12, 17]  # moved along
    assert config(given)["expand"]["epochs"] == plain["expand"]["epochs"]
    both = assigned(given, ["method.der.initial.milestones=[5, 7]"])
    assert config(both)["initial"]["milestones"] == [5, 7]
    rate = assigned(wanted(methods=["der"], protocols=["digits-b0i2"]), ["method.der.initial.lr=0.05"])
    assert config(rate)["initial"] == plain["initial"] | {"lr": 0.05}


def test_smoke_runs_are_short_and_other_runs() -> None:
    (short,) = resolve(wanted(limit_epochs=2))
    assert short.smoke
    assert [short.config[name]["epochs"] for name in ("initial", "expand", "compress")] == [2, 2, 2]
    (long,) = resolve(wanted(limit_epochs=10_000))
    (plain,) = resolve(wanted())
    assert long.config == plain.config
    assert long.key != plain.key


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("3", 3),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ('"a"', "a"),
        ("a b", "a b"),
        ("", ""),
        ("1\nx=2", "1\nx=2"),
    ],
)
def test_values_are_read_as_toml_or_as_text(text: str, value: Any) -> None:
    assert assigned(wanted(), [f"method.grace.x={text}"]).method == {"grace": {"x": value}}


@pytest.mark.parametrize(
    "text", ["threshold=1", "method.grace=1", "method.grace.x", "method..x=1", "method.grace.a.b.c=1"]
)
def test_what_is_no_setting(text: str) -> None:
    with pytest.raises(SuiteError, match=r"method\.NAME\.FIELD=VALUE"):
        assigned(wanted(), [text])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"methods": ["grce"]}, 'unknown method "grce"; did you mean "grace"'),
        ({"protocols": ["cifar10-b0i3x"]}, "cifar10-b0i3"),
        ({"protocols": ["cifar1000-b0i10"]}, "cifar100"),
        ({"protocols": ["cifar100-b0i10+net=rsnet32"]}, 'unknown backbone "rsnet32"; did you mean "resnet32"'),
        ({"protocols": ["digits-b0i2+net=convnet4"]}, "convnet4 takes images from .* pixels, digits has 8"),
        ({"protocols": ["cifar100-b0i10+m=501/class"]}, "500"),
        ({"method": {"grace": {"treshold": 1.0}}}, 'method.grace: unknown field "treshold"; did you mean "threshold"'),
        ({"method": {"grace": {"threshold": "high"}}}, 'method.grace.threshold: a number is wanted, not "high"'),
        ({"method": {"grace": {"decay": 2.0}}}, r"method.grace: decay must lie in \(0, 1\], not 2.0"),
        ({"method": {"grace": {"expand": {"lr": 0}}}}, "method.grace.expand: lr must be above 0"),
        ({"method": {"grace": {"expand": 5}}}, "method.grace.expand: a table of epochs"),
        ({"method": {"der": {"auxiliary": 2.0}}}, "method.der has settings, but the sweep runs grace only"),
        ({"method": {"derr": {}}}, 'unknown method "derr"; did you mean "der"'),
        ({"protocol_files": ["/nowhere/mine.toml"]}, "/nowhere/mine.toml"),
    ],
)
def test_what_does_not_fit_is_named_with_the_nearest(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message) as error:
        resolve(wanted(**values))
    assert error.value.code is Exit.SPEC
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods = 1", "methods: input should be a valid list"),
        ("methods = []", "methods: list should have at least 1 item"),
        ("protocols = ['a']", "methods is missing"),
        ("sedes = [1]\nmethods = ['a']\nprotocols = ['b']", 'unknown key "sedes"; did you mean "seeds"?'),
        (
            "precision = 'bf61'\nmethods = ['a']\nprotocols = ['b']",
            'unknown precision "bf61"; did you mean "bf16"? known: bf16, fp32, tf32.',
        ),
        ("precision = 'half'\nmethods = ['a']\nprotocols = ['b']", "known: bf16, fp32, tf32."),
        ("precision = 16\nmethods = ['a']\nprotocols = ['b']", 'unknown precision "16"'),
        (
            "methods = ['a']\nprotocols = ['b']\nlaunch.engine = 'egaer'",
            'unknown launch.engine "egaer"; did you mean "eager"? known: auto, compiled, eager, plain.',
        ),
        ("limit_epochs = 0\nmethods = ['a']\nprotocols = ['b']", "limit_epochs: input should be greater than 0"),
        ("name = '../x'\nmethods = ['a']\nprotocols = ['b']", "name: "),
        ("methods = ['a']\nprotocols = ['b']\n[launch]\ncpu = 1", "unknown key"),
        ("methods = ['a']\nprotocols = ['b']\n[launch]\nbudget = '4'", "launch.budget: 4 is no budget; write 40gpuh"),
        ("methods = ['a']\nprotocols = ['b']\n[launch]\ngpus_per_run = 0.4", "launch.gpus_per_run: 2 runs of 0.4"),
        ("methods = [", "not TOML"),
        ("methods = ['a']\nmethods = ['b']", "not TOML"),
    ],
)
def test_a_file_that_is_no_sweep(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    with pytest.raises(SuiteError) as error:
        read_sweep(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="No such file"):
        read_sweep(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SuiteError, match="not a text file"):
        read_sweep(tmp_path / "binary.toml")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    sweep = wanted(
        name="mine",
        seeds=[0, 2],
        method={"grace": {"threshold": 0.5, "expand": {"epochs": 3, "milestones": [1, 2]}, "assess_view": "test"}},
        limit_epochs=2,
        precision="tf32",
        launch={
            "address": "none", "cpus_per_run": 2, "download": False, "engine": "compiled", "gpus_per_run": 0.33,
            "budget": "40gpuh", "priority": ["grace", "cifar100-b0i5"], "grace_seconds": 90.0,
        },
    )  # fmt: skip
    (tmp_path / "sweep.toml").write_text(write_sweep(sweep))
    assert read_sweep(tmp_path / "sweep.toml") == sweep


def test_names_from_before_there_were_precisions_stay() -> None:
    assert sweep_name(wanted(methods=["replay", "grace"], protocols=["digits-b0i2"])) == "digits-b0i2-d9d4d3"


def test_another_precision_is_another_run() -> None:
    keys = {name: resolve(wanted(precision=name))[0].key for name in ("fp32", "tf32", "bf16")}
    assert keys["fp32"] == resolve(wanted())[0].key
    assert len(set(keys.values())) == 3


def test_how_runs_are_carried_out_is_no_part_of_them() -> None:
    assert len({resolve(wanted(launch={"engine": way}))[0].key for way in ("auto", "plain", "eager", "compiled")}) == 1


def test_protocol_files_lie_beside_the_sweep(tmp_path: Path) -> None:
    text = 'methods = ["der"]\nprotocols = ["mylab"]\nprotocol_files = ["mine.toml"]\n'
    (tmp_path / "sweep.toml").write_text(text)
    (tmp_path / "mine.toml").write_text(
        'dataset = "toy"\n[protocol]\nname = "mylab-b4"\nbase = 4\nincrement = 3\nmemory = 10\n'
    )
    sweep = read_sweep(tmp_path / "sweep.toml").model_copy(update={"protocols": ["mylab-b4"]})
    assert sweep.protocol_files == [str(tmp_path / "mine.toml")]
    (spec,) = resolve(sweep)
    assert spec.protocol.increments == (4, 3, 3)


def test_a_sweep_without_a_name_is_called_after_its_content() -> None:
    name = sweep_name(wanted())
    assert name.startswith("cifar100-b0i5-")
    assert name == sweep_name(wanted(launch={"address": "none"}))  # where it ran is no part of it
    assert name != sweep_name(wanted(seeds=[1]))
    assert name == sweep_name(wanted(precision="fp32"))
    assert name != sweep_name(wanted(precision="bf16")) != sweep_name(wanted(precision="tf32"))
    assert name == sweep_name(wanted(workers=1)) != sweep_name(wanted(workers=2))
    assert sweep_name(wanted(name="mine")) == "mine"
    assert "/" not in sweep_name(wanted(protocols=["cifar100-b0i5+m=20/class"]))


def test_a_protocol_by_any_spelling() -> None:
    assert find_protocol("CIFAR-100 Base50 Inc10").name == "cifar100-b50i10"
