"""Bad input: one clear line with the nearest valid name, the documented exit code, no traceback, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from suite.errors import Exit
from tests.suite.cli.conftest import Call, Said

DER = ("plan", "-m", "der", "-p", "digits-b0i2")
GRACE = ("plan", "-m", "grace", "-p", "digits-b0i2")


def one_line(said: Said, code: Exit, *words: str) -> None:
    """Assert that a command was refused in one line that has the words."""
    assert said.code == code, said
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith("\n")
    assert "Traceback" not in said.err + said.out
    assert [word for word in words if word not in said.err] == [], said.err


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        # the command line
        (("lsit",), Exit.USAGE, ["unknown verb", '"list"']),
        (("tabel",), Exit.USAGE, ['"table"']),
        (("plan", "--sedes", "1"), Exit.USAGE, ["unknown option", '"--seeds"', "plan --help"]),
        (("--jsn", "list"), Exit.USAGE, ['"--json"']),
        (("list", "protocls"), Exit.USAGE, ['"protocols"']),
        (("list", "methods", "more"), Exit.USAGE, ["more"]),
        (("show",), Exit.USAGE, ["missing argument", "NAME"]),
        (("plan",), Exit.USAGE, ["which methods?", "-m METHOD"]),
        (("plan", "-m", "der"), Exit.USAGE, ["which protocols?", "-p PROTOCOL"]),
        (("plan", "-m"), Exit.USAGE, ["-m needs a value"]),
        (("plan", "-m", "--seeds", "1"), Exit.USAGE, ["-m needs a value"]),
        ((*DER, "--limit-epochs", "0"), Exit.USAGE, ["--limit-epochs"]),
        (("plan", "sweep.toml", "--config", "file.json"), Exit.USAGE, ["not both"]),
        (("table", "--to", "markdown"), Exit.USAGE, ["unknown format", "md"]),
        (("table", "--digits", "7"), Exit.USAGE, ["--digits"]),
        (("new",), Exit.USAGE, ["which kind?", "new protocol", "new method"]),
        (("new", "methd"), Exit.USAGE, ["unknown kind", '"method"']),
        (("new", "method"), Exit.USAGE, ["missing argument", "NAME"]),
        (("run", *DER[1:], "--cpus-per-run", "0"), Exit.USAGE, ["--cpus-per-run"]),
        ((*DER, "--precision", "bf61"), Exit.USAGE, ["unknown precision", 'mean "bf16"', "bf16, fp32, tf32"]),
        ((*DER, "--precision", "half"), Exit.USAGE, ["unknown precision", "bf16, fp32, tf32"]),
        (("run", *DER[1:], "--engine", "egaer"), Exit.USAGE, ["unknown engine", 'mean "eager"', "auto, compiled"]),
        (("resume", "--engine", "fast"), Exit.USAGE, ["unknown engine", "auto, compiled, eager, plain"]),
        (("run", *DER[1:], "--gpus-per-run", "1.5"), Exit.USAGE, ["--gpus-per-run 1.5", "a fraction up to 1", "whole"]),
        (("run", *DER[1:], "--gpus-per-run", "2", "--workers", "3"), Exit.USAGE, ["--gpus-per-run 2", "3 workers"]),
        (("run", *DER[1:], "--gpus-per-run", "2", "--workers", "1"), Exit.USAGE, ["--gpus-per-run 2", "1 worker"]),
        (("run", *DER[1:], "--workers", "2", "--address", "none"), Exit.USAGE, ["2 workers", "Ray", "--address none"]),
        ((*DER, "--workers", "0"), Exit.USAGE, ["--workers"]),
        # names
        (("show", "gracee"), Exit.SPEC, ['"grace"']),
        (("show", "nothing-alike"), Exit.SPEC, ["list shows all"]),
        (("show", "cifr100"), Exit.SPEC, ['"cifar100"']),
        (("show", "resnet33"), Exit.SPEC, ['"resnet3']),
        (("plan", "-m", "dr", "-p", "digits-b0i2"), Exit.SPEC, ["unknown method", '"der"', "list methods"]),
        (("plan", "-m", "der", "-p", "cifar100-b0j10"), Exit.SPEC, ["cifar100-b0i10"]),
        (("plan", "-m", "der", "-p", "cifar100"), Exit.SPEC, ["cifar100-b0i"]),
        (("plan", "-m", "der", "-p", "cifer100-b0i10"), Exit.SPEC, ["unknown dataset", '"cifar100-b0i10"']),
        (("plan", "-m", "der", "-p", "cifar100-b0i10+net=rsnet32"), Exit.SPEC, ["unknown backbone", '"resnet32"']),
        (("plan", "-m", "der", "-p", "cifar100-b0i10+n=1"), Exit.SPEC, ["+n=1", "+net"]),
        (("plan", "-m", "der", "-p", ""), Exit.USAGE, ["which protocols?"]),
        (("results", "--where", "metod=der"), Exit.SPEC, ["unknown field", '"method"']),
        (("table", "-m", "dre"), Exit.SPEC, ["unknown method", '"der"']),
        (("table", "-p", "digits-b0i22"), Exit.SPEC, ["digits"]),
        # numbers
        ((*DER, "--seeds", "one"), Exit.SPEC, ["--seeds", "0,1,2 or 0-4"]),
        ((*DER, "--seeds", "-1"), Exit.SPEC, ["--seeds"]),
        ((*DER, "--seeds", "3-1"), Exit.SPEC, ["--seeds", "rises"]),
        ((*DER, "--seeds", "0-4000000000"), Exit.SPEC, ["--seeds", "10000"]),
        ((*DER, "--orders", "1.5"), Exit.SPEC, ["--orders"]),
        ((*DER, "--orders", "4294967296"), Exit.SPEC, ["--orders", "4294967295"]),
        (("show", "digits-b0i2", "--orders", "x"), Exit.SPEC, ["--orders"]),
        # settings
        ((*GRACE, "--set", "method.grace.treshold=1"), Exit.SPEC, ["unknown field", '"threshold"']),
        ((*GRACE, "--set", "method.grase.threshold=1"), Exit.SPEC, ["unknown method", '"grace"']),
        ((*GRACE, "--set", "method.der.auxiliary=1"), Exit.SPEC, ["method.der", "grace"]),
        ((*GRACE, "--set", "grace.threshold=1"), Exit.SPEC, ["method.NAME.FIELD=VALUE"]),
        ((*GRACE, "--set", "method.grace.threshold"), Exit.SPEC, ["method.NAME.FIELD=VALUE"]),
        ((*GRACE, "--set", "method.grace.threshold=abc"), Exit.SPEC, ["method.grace.threshold", "a number", '"abc"']),
        ((*GRACE, "--set", "method.grace.threshold=true"), Exit.SPEC, ["a number is wanted, not true"]),
        ((*GRACE, "--set", "method.grace.threshold=nan"), Exit.SPEC, ["a number is wanted"]),
        ((*GRACE, "--set", "method.grace.threshold=2026-01-01"), Exit.SPEC, ["a number is wanted"]),
        ((*GRACE, "--set", "method.grace.decay=1.5"), Exit.SPEC, ["decay must lie in (0, 1]", "1.5"]),
        ((*GRACE, "--set", "method.grace.assess_view=tst"), Exit.SPEC, ['"train", "test"']),
        ((*GRACE, "--set", "method.grace.expand.epochs=1.5"), Exit.SPEC, ["expand.epochs", "a whole number"]),
        ((*GRACE, "--set", "method.grace.expand.epochs=0"), Exit.SPEC, ["epochs must be at least 1"]),
        ((*GRACE, "--set", "method.grace.expand.epoch=5"), Exit.SPEC, ['"epochs"']),
        ((*GRACE, "--set", "method.grace.expand=5"), Exit.SPEC, ["a table of epochs"]),
        ((*GRACE, "--set", "method.grace.expand.milestones=[3, 1]"), Exit.SPEC, ["milestones must be rising"]),
        # protocols that do not fit
        (("plan", "-m", "der", "-p", "digits-b0i11"), Exit.SPEC, ["does not fit", "digits-b0i10"]),
        (("plan", "-m", "der", "-p", "cifar100-b101i10"), Exit.SPEC, ["does not fit", "cifar100-b100"]),
        (("plan", "-m", "der", "-p", "cifar100-b0i0"), Exit.SPEC, ["does not fit"]),
        (("plan", "-m", "der", "-p", "cifar100-b0i10+m=501/class"), Exit.SPEC, ["500", "501/class"]),
        (("plan", "-m", "der", "-p", "cifar100-b0i10+m=lots"), Exit.SPEC, ["20/class"]),
        (("plan", "-m", "der", "-p", "digits-b0i2+net=convnet4"), Exit.SPEC, ["convnet4", "digits has 8", "resnet8"]),
        # files
        (("plan", "none.toml"), Exit.SPEC, ["none.toml", "No such file"]),
        (("run", "--config", "none.json"), Exit.USAGE, ["none.json"]),
        (("import", "none.json"), Exit.USAGE, ["none.json"]),
        ((*DER, "--protocols", "none.toml"), Exit.SPEC, ["none.toml"]),
        (("list", "--protocols", "."), Exit.SPEC, [".toml"]),
        # nothing there
        (("results",), Exit.NOTHING, ["no finished run under results"]),
        (("table",), Exit.NOTHING, ["no finished run under results"]),
        (("resume",), Exit.NOTHING, ["no sweep under results"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_typed_wrong(
    call: Call, tmp_path: Path, command: tuple[str, ...], code: Exit, words: list[str]
) -> None:
    said = call(*command)
    one_line(said, code, *words)
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []
    as_json = call(*command, "--json")
    assert as_json.err == said.err
    assert as_json.json == {"error": {"code": code, "message": said.err.removeprefix("error: ").rstrip("\n")}}


SWEEP: dict[str, Any] = {"methods": ["grace"], "protocols": ["digits-b0i2"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('method = ["der"]', ["sweep.toml", "method"]),
        ('methods = ["der"]', ["protocols is missing"]),
        ('methods = "der"\nprotocols = ["digits-b0i2"]', ["methods", "list"]),
        ('methods = ["der"]\nprotocols = ["digits-b0i2"]\nseed = [1]', ['unknown key "seed"', '"seeds"']),
        ('methods = ["der"]\nprotocols = ["digits-b0i2"]\nseeds = [-1]', ["seeds", "between 0"]),
        ('methods = ["der"]\nprotocols = ["digits-b0i2"]\nseeds = [true]', ["seeds"]),
        ('methods = ["der"]\nprotocols = ["digits-b0i2"]\nlimit_epochs = 1.5', ["limit_epochs"]),
        ('methods = ["der"]\nprotocols = ["digits-b0i2"]\nprecision = "fp23"', ["precision", 'mean "fp32"', "bf16, "]),
        ('methods = ["dr"]\nprotocols = ["digits-b0i2"]', ["unknown method", '"der"']),
        (
            'methods = ["grace"]\nprotocols = ["digits-b0i2"]\n[method.grace]\ntreshold = 1',
            ["method.grace", '"threshold"'],
        ),
        ('methods = ["grace"]\nprotocols = ["digits-b0i2"]\n[method.grace]\nthreshold = "1"', ['not "1"']),
        ('methods = ["grace"]\nprotocols = ["digits-b0i2"]\n[method.grace]\ndecay = 0', ["decay must lie in (0, 1]"]),
        ('methods = ["grace"]\nprotocols = ["digits-b0i2"]\nmethod.grace = 1', ["method.grace"]),
        ('methods = ["grace"\nprotocols', ["not TOML", "line 2"]),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_sweep_file_that_does_not_fit(call: Call, tmp_path: Path, verb: str, text: str, words: list[str]) -> None:
    (tmp_path / "sweep.toml").write_text(text)
    one_line(call(verb, "sweep.toml"), Exit.SPEC, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.toml"]


CONFIGURATION: dict[str, Any] = {
    "prefix": "reproduce", "dataset": "cifar100", "memory_size": 2000, "memory_per_class": 20, "fixed_memory": False,
    "shuffle": True, "init_cls": 10, "increment": 10, "model_name": "grace", "convnet_type": "resnet32",
    "device": ["0"], "seed": [1993], "t_base": 0.6, "t_decay": 0.96, "preservation_exponent": 5, "c_kd_factor": 0.4,
    "c_pred_factor": 1.6,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"t_bse": 0.5}, ['unknown key "t_bse"', '"t_base"', "--lenient"]),
        ({"model_name": "grac"}, ["unknown method", '"grace"']),
        ({"dataset": "cifar10000"}, ["dataset", "cifar100"]),
        ({"convnet_type": "resnet31"}, ["unknown backbone", "resnet3"]),
        ({"increment": "10"}, ['"increment"', "a whole number"]),
        ({"increment": 101}, ["does not fit"]),
        ({"t_decay": 7}, ["decay must lie in (0, 1]"]),
        ({"t_base": "high"}, ['"t_base"', "a number"]),
        ({"seed": [-1]}, ['"seed"']),
        ({"fixed_memory": True, "memory_per_class": 501}, ["500"]),
    ],
)
@pytest.mark.parametrize(
    "command", [("import", "old.json"), ("plan", "--config", "old.json"), ("run", "--config", "old.json")]
)
def test_a_configuration_that_does_not_fit(
    call: Call, tmp_path: Path, command: tuple[str, ...], changes: dict[str, Any], words: list[str]
) -> None:
    (tmp_path / "old.json").write_text(json.dumps(CONFIGURATION | changes))
    one_line(call(*command, "-q"), Exit.SPEC, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1, "a": 2}', "[" * 100_000])
def test_a_configuration_that_is_none(call: Call, tmp_path: Path, text: str) -> None:
    (tmp_path / "old.json").write_text(text)
    one_line(call("import", "old.json"), Exit.SPEC, "old.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('dataset = "cifr100"\n[protocol]\nincrement = 10', ["unknown dataset", '"cifar100"']),
        ('dataset = "cifar100"\n[protocol]\nincremnt = 10', ["unknown key", '"increment"']),
        ('dataset = "cifar100"\n[protocol]\nincrement = "ten"', ["increment", "a whole number"]),
        ('dataset = "cifar100"\n[protocol]\nincrement = 101', ["increment"]),
        ('dataset = "cifar100"\n[protocol]\nincrement = 10\nmemory = "600/class"', ["500"]),
        ('dataset = "cifar100"\n[protocol]\nincrement = 10\nname = "digits-b0i2"', ["digits-b0i2"]),
        ('dataset = "cifar100"\n[protocol', ["not TOML"]),
    ],
)
def test_a_protocol_file_that_does_not_fit(call: Call, tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "mine.toml").write_text(text)
    one_line(call("list", "protocols", "--protocols", "mine.toml"), Exit.SPEC, "mine.toml", *words)


def test_an_unknown_backbone_in_a_protocol_file(call: Call, tmp_path: Path) -> None:
    text = 'dataset = "cifar100"\n[protocol]\nname = "mine-b0"\nincrement = 10\nbackbone = "rsnet32"'
    (tmp_path / "mine.toml").write_text(text)
    said = call("plan", "-m", "der", "-p", "mine-b0", "--protocols", "mine.toml")
    one_line(said, Exit.SPEC, "unknown backbone", '"resnet32"')


def test_a_traceback_only_when_asked(call: Call) -> None:
    said = call("show", "gracee", "-v")
    assert said.code == Exit.SPEC
    assert "Traceback" in said.err
    assert said.err.splitlines()[-1].startswith("error: ")


def test_a_fault_of_ours_is_one_line_too(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("suite.cli.show.facts_of", broken)
    one_line(call("show", "grace"), Exit.BUG, "RuntimeError: two lines", "fault of the suite", "-v")
