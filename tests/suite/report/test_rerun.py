"""The command behind every run makes that very run."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from suite.report.rerun import Again, again
from suite.spec import RunSpec
from suite.sweep import assigned, resolve, sweep_of


def spec_of(command: str) -> RunSpec:
    """The run that a command names, its options read one by one."""
    words = shlex.split(command)
    assert words[:2] == ["grace-suite", "run"]
    options: dict[str, list[str]] = {}
    for option, value in zip(words[2::2], words[3::2], strict=True):
        options.setdefault(option, []).append(value)
    values: dict[str, Any] = {"methods": options["-m"], "protocols": options["-p"]}
    values |= {"orders": [int(options["--orders"][0])], "seeds": [int(options["--seeds"][0])]}
    if "--precision" in options:
        values["precision"] = options["--precision"][0]
    if "--workers" in options:
        values["workers"] = int(options["--workers"][0])
    if "--limit-epochs" in options:
        values["limit_epochs"] = int(options["--limit-epochs"][0])
    (spec,) = resolve(assigned(sweep_of(values, "test"), options.get("--set", [])))
    return spec


def row(spec: RunSpec) -> dict[str, Any]:
    fields = ("method", "order_seed", "train_seed", "precision", "workers", "smoke", "config", "plugin")
    return {**{name: getattr(spec, name) for name in fields}, "protocol": spec.protocol.name}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"seeds": [3], "orders": [7], "precision": "bf16"},
        {"method": {"foster": {"initial": {"epochs": 7, "lr": 0.025}}}},
        {"limit_epochs": 2},
        {"workers": 2},
    ],
)
def test_the_same_run_comes_of_the_command(values: dict[str, Any]) -> None:
    (spec,) = resolve(sweep_of({"methods": ["foster"], "protocols": ["digits-b0i2"], **values}, "test"))
    assert spec_of(Again.of(row(spec), "grace-suite").command(row(spec))).key == spec.key


def test_what_is_not_known_here_is_still_named() -> None:
    (spec,) = resolve(sweep_of({"methods": ["foster"], "protocols": ["digits-b0i2"]}, "test"))
    strange = {**row(spec), "method": "a b", "plugin": "0" * 16}
    assert Again.of(strange, "grace-suite", "my results").command(strange) == (
        "grace-suite run -m 'a b' -p digits-b0i2 --orders 1993 --seeds 0 --plugin 'a b.py' --root 'my results'"
    )


def test_a_failed_run_is_named_by_its_label() -> None:
    command = again("foster digits-b0i2 o1993 s2 tf32", "grace-suite")
    assert command.endswith("-m foster -p digits-b0i2 --orders 1993 --seeds 2 --precision tf32")
    command = again("foster digits-b0i2 o1993 s2 bf16 x3", "grace-suite")
    assert command.endswith("--seeds 2 --precision bf16 --workers 3")
    assert again("no label", "grace-suite") == ""
