"""Variants of one method beside the first line."""

from __future__ import annotations

from typing import Any

import pytest

from suite.errors import Exit, SuiteError
from suite.sweep import resolve, sweep_of
from suite.tables import table
from tests.suite.test_table import made


def variant(number: int, avg: float, **changes: Any) -> dict[str, Any]:
    return made(number, avg=avg, config={"a": 1, "b": 1, **changes}, seed=number)


def test_differences_to_the_full_method() -> None:
    """The full method differs from each variant in one setting, variants from each other in two."""
    rows = [variant(1, 0.7, a=0), variant(2, 0.8), variant(3, 0.82), variant(4, 0.75, b=0)]
    found = table("ablation", rows)
    lines = [line for block in found.blocks for line in block.lines]
    assert [line.variant for line in lines] == ["", "a=0", "b=0"]
    index = [column.id for column in found.columns].index("avg")
    cells = [line.entries[0].cells[index] for line in lines]
    assert [each.mean for each in cells] == ["81.0", "70.0", "75.0"]
    assert [each.delta for each in cells] == ["", "-11.0", "-6.0"]
    assert lines[0].entries[0].n == 2
    assert any("difference to the first line, which has a=1 b=1;" in note for note in found.notes)


def tuned(number: int, protocol: str, avg: float, **changes: Any) -> dict[str, Any]:
    """A run of a method of ours as it usually is on a protocol, but for some settings."""
    (spec,) = resolve(sweep_of({"methods": ["grace"], "protocols": [protocol]}, "here"))
    row = made(number, protocol=protocol, avg=avg, title="GRACE")
    return {**row, "method": "grace", "config": {**spec.config, **changes}}


def test_the_usual_settings_are_the_first_line_though_they_differ_between_protocols() -> None:
    one, other = "cifar100-b0i10", "cifar100-b0i5"  # thresholds of the authors: 0.6 and 0.5
    rows = [
        tuned(1, one, 0.7, threshold=0.7),
        tuned(2, one, 0.8),
        tuned(3, other, 0.6),
        tuned(4, other, 0.5, threshold=0.7),
    ]
    assert rows[1]["config"]["threshold"] != rows[2]["config"]["threshold"]
    found = table("ablation", rows)
    lines = found.blocks[0].lines
    assert [line.name for line in lines] == ["GRACE", "GRACE threshold=0.7"]
    index = [column.id for column in found.columns].index("avg")
    assert [entry.cells[index].delta for entry in lines[1].entries] == ["-10.0", "-10.0"]
    assert any("which has the usual settings of its protocol;" in note for note in found.notes)


def test_what_all_variants_have_in_common_is_said_once() -> None:
    rows = [{**tuned(1, "cifar100-b0i10", 0.7), "precision": "bf16"},
            {**tuned(2, "cifar100-b0i10", 0.6, threshold=0.9), "precision": "bf16"}]  # fmt: skip
    found = table("ablation", rows)
    assert [line.variant for line in found.blocks[0].lines] == ["", "threshold=0.9"]
    assert any('the usual settings of its protocol but precision="bf16";' in note for note in found.notes)


def test_of_several_methods_the_one_with_variants() -> None:
    rows = [variant(1, 0.7), variant(2, 0.8, a=2), made(3, method="anchor")]
    assert [line.method for line in table("ablation", rows).blocks[0].lines] == ["widen", "widen"]
    with pytest.raises(SuiteError, match="give -m with one of anchor, widen") as caught:
        table("ablation", [*rows, made(4, method="anchor", config={"a": 7})])
    assert caught.value.code is Exit.USAGE


def test_without_variants_it_says_how_to_make_one() -> None:
    with pytest.raises(SuiteError, match="widen has not; --set changes a setting"):
        table("ablation", [made(1)])
    with pytest.raises(SuiteError, match="no method has"):
        table("ablation", [made(1), made(2, method="anchor")])
