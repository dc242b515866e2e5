"""What `show` says of published numbers."""

from __future__ import annotations

import re

import pytest

from tests.suite.cli.conftest import Call


def lines(text: str, *words: str) -> list[str]:
    """The lines that have all the words, blanks made one."""
    found = [" ".join(line.split()) for line in text.splitlines()]
    return [line for line in found if all(word in line for word in words)]


def test_a_protocol_has_its_numbers_method_by_method(call: Call) -> None:
    said = call("show", "cifar100-b0i10").out
    assert "replay last 40.9 +- 0.2 linear G PyCIL figure" in lines(said, "replay")
    assert "foster last 53.1 +- 0.5 unknown G survey figure; without AutoAugment" in lines(said, "foster")
    assert "memo last 58.5 +- 1.0 linear G survey figure" in lines(said, "memo")
    assert lines(said, "wa 91.0 79.8 74.8 69.9 67.4 63.3 61.4 57.0 53.8 52.2 linear PyCIL figure")
    assert lines(said, "tag: R read in a repository, G digitised from a figure; +-")
    elsewhere = " ".join(said.split()).partition("numbers also on ")[2].split(", ")
    assert {"cifar100-b0i10+aa", "cifar100-b0i10+net=resnet18-3x3", "cifar100-b0i10+m=7431"} <= set(elsewhere)
    names = [line.split()[0] for line in said.splitlines() if re.match(r"[a-z]+ +(avg|last) ", line)]
    assert len(names) == 25  # PyCIL 6 last and 6 avg, the survey 9, users 2, LibContinual, figure 10
    assert names == sorted(names, key=names.index)  # numbers of one method stand together


def test_spellings_of_one_protocol_show_the_same(call: Call) -> None:
    numbers = call("show", "cifar100-b0i10", "--json").json["published"]
    assert call("show", "CIFAR-100 B0 10 steps", "--json").json["published"] == numbers
    assert call("show", "cifar100-b0i10+m=2000", "--json").json["published"] == numbers
    assert numbers[0] == {
        "method": "replay", "protocol": "cifar100-b0i10", "metric": "last", "value": 40.9, "error": 0.2,
        "source": "PyCIL figure", "tag": "G", "verified": True, "head": "linear", "orders": "1993",
        "augmentation": "crop and flip", "backbone": "resnet32", "exemplars": "2000", "recipe": "", "note": "",
    }  # fmt: skip


def test_a_method_has_its_numbers_protocol_by_protocol(call: Call) -> None:
    said = call("show", "der").out
    after = said[said.index("published, in %") :].splitlines()
    place = after.index(next(line for line in after if line.strip() == "cifar100-b50i5+m=20/class"))
    assert "avg 66.36 linear R FOSTER table 1" in " ".join(after[place + 1].split())
    assert lines(said, "last 64.35 linear R DER and DyTox READMEs; pruned, rebalanced")
    assert len(lines(said, "metric value head tag source")) == 1
    assert {entry["method"] for entry in call("show", "der", "--json").json["published"]} == {"der"}


def test_what_nobody_checked_is_marked(call: Call) -> None:
    said = call("show", "grace").out
    assert len(lines(said, "aggregator (wizwand), unverified")) == 5
    assert lines(said, "tag: A in an aggregator's excerpt, unverified")
    assert "misread" not in said
    assert {entry["verified"] for entry in call("show", "grace", "--json").json["published"]} == {False}


def test_without_numbers_nothing_is_said_of_them(call: Call) -> None:
    for name in ("digits-b0i2", "resnet32", "cifar100"):
        assert "published, in %" not in call("show", name).out
    assert call("show", "digits-b0i2", "--json").json["published"] == []
    assert "published" not in call("show", "resnet32", "--json").json
    assert lines(call("show", "cifar100-b0i10+m=500").out, "numbers also on cifar100-b0i10,")


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("name", ["cifar100-b0i10", "imagenet100-b50i5", "grace", "der"])
def test_a_narrow_terminal_loses_no_number(
    call: Call, monkeypatch: pytest.MonkeyPatch, name: str, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    facts, said = call("show", name, "--json").json, call("show", name).out
    shown = said[said.index("published, in %") :]
    assert max(map(len, shown.splitlines())) <= columns
    for entry in facts["published"]:
        values = entry["value"] if isinstance(entry["value"], list) else [entry["value"]]
        form = "{:.1f}" if entry["error"] or len(values) > 1 else "{:.2f}"
        assert " ".join(form.format(value) for value in values) in shown
        assert entry["source"].split()[0] in shown
