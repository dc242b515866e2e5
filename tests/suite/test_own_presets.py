"""Presets of a user's own: read, refused, and where they stand among defaults, published settings, the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suite.errors import SuiteError
from suite.own_presets import folded, read_presets, with_presets
from suite.resolver import Choice
from suite.sweep import Sweep, chosen, read_sweep, sweep_name, sweep_of, write_sweep
from suite.tuned import write_preset

TEXT = """
[grace.cifar100-b0i10]
source = "by hand"
threshold = 0.7
compress = { lr = 0.05 }

[grace.cifar100-b0i10.tuned_on]
protocol = "cifar100-b0i10"
trials = 24
"""


def resolved(sweep: Sweep) -> Choice:
    (_, choice), *others = chosen(sweep)
    assert not others
    return choice


def sweep(tmp_path: Path, text: str = TEXT, protocol: str = "cifar100-b0i10", **more: Any) -> Sweep:
    (tmp_path / "mine.toml").write_text(text)
    values = {"methods": ["grace"], "protocols": [protocol], "preset_files": [str(tmp_path / "mine.toml")], **more}
    return with_presets(sweep_of(values, "test"))


def test_they_go_before_published_settings_and_behind_what_the_user_sets(tmp_path: Path) -> None:
    found = resolved(sweep(tmp_path))
    assert found.config["threshold"] == 0.7
    assert found.config["decay"] == 0.96  # as published
    assert found.config["compress"]["lr"] == 0.05
    assert found.config["compress"]["epochs"] == 130  # the default
    assert (found.source, found.exact) == ("by hand", True)
    assert found.tuned_on == {"protocol": "cifar100-b0i10", "trials": 24}
    over = resolved(sweep(tmp_path, method={"grace": {"threshold": 0.2, "compress": {"epochs": 9}}}))
    assert over.config["threshold"] == 0.2
    assert (over.config["compress"]["lr"], over.config["compress"]["epochs"]) == (0.05, 9)


def test_they_hold_for_the_same_memory_otherwise_shared_out(tmp_path: Path) -> None:
    assert resolved(sweep(tmp_path, protocol="cifar100-b0i10+mb=20")).config["threshold"] == 0.7


def test_another_protocol_does_not_borrow_them_and_is_told_so(tmp_path: Path) -> None:
    found = resolved(sweep(tmp_path, protocol="cifar100-b0i5"))
    assert found.config["threshold"] == 0.5  # as published
    assert found.tuned_on is None
    assert found.remark == "grace on cifar100-b0i5: --presets has no table for it, only for cifar100-b0i10"


def test_a_sweep_keeps_what_the_file_held(tmp_path: Path) -> None:
    before = sweep(tmp_path)
    (tmp_path / "sweep.toml").write_text(write_sweep(before))
    (tmp_path / "mine.toml").write_text(TEXT.replace("0.7", "0.9"))
    assert read_sweep(tmp_path / "sweep.toml").presets == before.presets
    assert resolved(sweep(tmp_path, TEXT.replace("0.7", "0.9"))).config["threshold"] == 0.9


def test_a_sweep_file_names_them_beside_itself(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TEXT)
    (tmp_path / "sweep.toml").write_text(
        'methods = ["grace"]\nprotocols = ["cifar100-b0i10"]\npreset_files = ["mine.toml"]\n'
    )
    assert resolved(read_sweep(tmp_path / "sweep.toml")).config["threshold"] == 0.7


def test_only_sweeps_with_presets_have_other_names(tmp_path: Path) -> None:
    bare = sweep_of({"methods": ["grace"], "protocols": ["cifar100-b0i10"]}, "test")
    assert sweep_name(bare) == "cifar100-b0i10-c7d01a"  # what it was before there were presets
    assert sweep_name(sweep(tmp_path)) != sweep_name(bare)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[grace", "not TOML"),
        ("threshold = 1", "[METHOD.PROTOCOL]"),
        ("[grace]\nthreshold = 1", "[METHOD.PROTOCOL]"),
        ("[grace.cifar100-b0i10]\nsource = 1", "text is wanted"),
        ("[grace.cifar100-b0i10]\ntuned_on = 1", "a table is wanted"),
        ("[grase.cifar100-b0i10]", '"grace"'),
        ("[grace.cifar100-b0j10]", "cifar100-b0"),
        ("[grace.cifar100-b0i10]\nthreshhold = 1.0", 'did you mean "threshold"'),
        ("[grace.cifar100-b0i10]\nthreshold = -1.0", "must not be negative"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SuiteError) as caught:
        chosen(sweep(tmp_path, text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"nothing\.toml: No such file"):
        read_presets([tmp_path / "nothing.toml"])


def test_later_files_go_before_earlier_ones(tmp_path: Path) -> None:
    for name, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / name).write_text(f'[wa.toy-b0i2]\nsource = "{name}"\ntemperature = {value}\n[wa.{name}-b0i2]\n')
    found = read_presets([tmp_path / "a", tmp_path / "b"])
    assert found["wa"]["toy-b0i2"] == {"source": "b", "temperature": 2.0}
    assert set(found["wa"]) == {"toy-b0i2", "a-b0i2", "b-b0i2"}
    assert found["wa"]["a-b0i2"] == {"source": "presets of a"}


def test_folding_keeps_what_is_not_given() -> None:
    under = {"a": 1, "later": {"lr": 0.1, "epochs": 5}}
    assert folded(under, {"b": 2, "later": {"lr": 0.2}}) == {"a": 1, "b": 2, "later": {"lr": 0.2, "epochs": 5}}
    assert under["later"] == {"lr": 0.1, "epochs": 5}


def test_a_table_is_added_to_a_file_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("# by hand\n" + TEXT)
    table = {"source": "s", "later": {"lr": 0.2}, "tuned_on": {"trials": 2, "space": {"later.lr": "0..1"}}}
    write_preset(path, "wa", "cifar100-b0i10+m=20/class", table)
    write_preset(path, "grace", "toy-b0i2", {"source": "t", "threshold": 0.1})
    found = read_presets([path])
    assert found["wa"] == {"cifar100-b0i10+m=20/class": table}
    assert found["grace"]["cifar100-b0i10"]["threshold"] == 0.7
    assert found["grace"]["toy-b0i2"]["threshold"] == 0.1
    assert path.read_text().startswith("# by hand\n")
    write_preset(path, "wa", "cifar100-b0i10+m=20/class", {"source": "u"})
    assert read_presets([path])["wa"] == {"cifar100-b0i10+m=20/class": {"source": "u"}}
