"""Ours beside published numbers: made-up runs of registered methods, what is published is the shipped file."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest

import protocols
from suite.errors import Exit, SuiteError
from suite.published import of, on
from suite.published_table import published_table
from suite.render import csv, latex, markdown
from suite.results import result_row
from suite.table import Entry, Line, Table
from tests.suite.published_for_tests import finished

NAME = "cifar100-b0i10"


def row(key: int, method: str, protocol: str, last: float, **settings: Any) -> dict[str, Any]:
    return {**result_row(finished(key, method, protocol, last, **settings)), "title": method.upper()}


def lines(table: Table) -> dict[str, Line]:
    return {line.name: line for block in table.blocks for line in block.lines}


def texts(entry: Entry) -> list[str]:
    return [cell.mean + (f"+-{cell.deviation}" if cell.deviation else "") for cell in entry.cells]


def test_ours_published_and_their_difference() -> None:
    """Replay ends at 40.9 and averages about 59.3 in PyCIL's figures, read to 0.2 and 0.7 points."""
    table = published_table([row(1, "replay", NAME, 41.0, avg=59.0), row(2, "replay", NAME, 40.2, avg=60.0, seed=1)])
    assert [heading.protocol for heading in table.headings] == [NAME]
    assert table.headings[0].about.startswith("10 tasks, 100 classes, resnet32, 2000 exemplars")
    (last,) = lines(table)["REPLAY Last"].entries
    assert (last.n, texts(last)) == (2, ["40.6+-0.6", "40.9+-0.2", "-0.3", "same", "G1"])
    (avg,) = lines(table)["REPLAY Avg"].entries
    assert texts(avg) == ["59.5+-0.7", "59.3+-0.7", "+0.2", "same", "G2"]
    assert [cell.value for cell in last.cells] == [
        pytest.approx(0.406, abs=1e-4), pytest.approx(0.409), pytest.approx(-0.003, abs=1e-4), None, None
    ]  # fmt: skip
    assert any("G1 PyCIL figure; G2 PyCIL figure, averaged" in note for note in table.notes)


def test_digits() -> None:
    table = published_table([row(1, "replay", NAME, 41.0, avg=59.0)], digits=3)
    assert texts(lines(table)["REPLAY Last"].entries[0])[1] == "40.900+-0.200"


def test_methods_that_were_not_run_have_a_dash_if_they_are_methods_here() -> None:
    table = published_table([row(1, "replay", NAME, 41.0)])
    found = lines(table)
    assert found["DER Last"].entries[0].n == 0
    assert texts(found["DER Last"].entries[0])[:4] == ["", "58.6+-0.2", "", ""]
    names = {line.method for line in found.values()}
    published = {entry.method for entry in on(protocols.get(NAME)) if entry.metric != "curve"}
    assert {"coil", "gem", "rmm"} <= published  # which nobody can run here
    assert names == published & set(names)
    assert not names & {"coil", "gem", "rmm"}


def test_methods_without_numbers_are_left_out() -> None:
    rows = [row(1, "replay", NAME, 41.0), row(2, "joint", NAME, 70.0)]
    assert not any(line.method == "joint" for line in lines(published_table(rows)).values())


def test_protocols_without_numbers_are_left_out() -> None:
    rows = [row(1, "replay", NAME, 41.0), row(2, "replay", "digits-b0i2", 90.0)]
    assert [heading.protocol for heading in published_table(rows).headings] == [NAME]


def test_what_differs_is_named_in_the_cell_and_told_in_full_below() -> None:
    table = published_table([row(1, "replay", f"{NAME}+m=500", 30.0), row(2, "der", NAME, 59.0, config={"alpha": 1})])
    at = [heading.protocol for heading in table.headings].index(f"{NAME}+m=500")
    assert texts(lines(table)["REPLAY Last"].entries[at])[2:4] == ["-10.9", "other exemplars"]
    notes = " ".join(table.notes)
    assert "Other exemplars: 500, published 2000 (REPLAY on cifar100-b0i10+m=500)." in notes
    assert "Other recipe: alpha 1, usual null (DER on cifar100-b0i10" in notes


def test_what_a_source_leaves_open_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    open_ = replace(on(protocols.get(NAME), "replay")[0], backbone="unknown", values=(45.0,))
    monkeypatch.setattr("suite.comparison.of", lambda method: [open_] if method == "replay" else [])
    table = published_table([row(1, "replay", NAME, 41.0)])
    assert {texts(line.entries[0])[3] for name, line in lines(table).items() if line.method == "replay"} == {
        "backbone not said"
    }


def test_unverified_numbers_are_marked() -> None:
    table = published_table([row(1, "grace", "imagenet100-b0i10", 66.0)])
    found = lines(table)
    assert texts(found["GRACE Last"].entries[0])[:3] == ["66.0", "66.8?", "-0.8"]
    assert not texts(found["DER Last"].entries[0])[1].endswith("?")
    assert any("unverified: A1 aggregator (wizwand)" in note for note in table.notes)
    assert any("?: unverified" in note for note in table.notes)


def test_several_numbers_for_one_figure_are_several_lines() -> None:
    """DER's last accuracy is in PyCIL's figure, and in one of the survey where all methods share a first task."""
    found = lines(published_table([row(1, "der", NAME, 59.0)]))
    assert texts(found["DER Last"].entries[0])[1:4] == ["58.6+-0.2", "+0.4", "same"]
    assert texts(found["DER Last (2)"].entries[0])[1:4] == ["60.2+-0.5", "-1.2", "other recipe"]


def test_heads_have_lines_of_their_own() -> None:
    table = published_table([row(1, "foster", f"{NAME}+aa", 61.0, readouts=("student", "teacher"))])
    assert {"FOSTER Last (student)", "FOSTER Last (teacher)"} <= set(lines(table))


def test_variants_of_a_method_have_lines_of_their_own() -> None:
    rows = [row(i, "replay", NAME, 41.0, config={"later": {"lr": lr}}) for i, lr in enumerate((0.1, 0.2))]
    table = published_table(rows)
    assert {"REPLAY later.lr=0.1 Last", "REPLAY later.lr=0.2 Last"} <= set(lines(table))


def test_families_are_blocks_in_the_order_of_other_tables() -> None:
    table = published_table([row(1, "der", NAME, 59.0), row(2, "replay", NAME, 41.0)])
    families = [block.family for block in table.blocks]
    assert len(families) == len(set(families))
    methods = [line.method for block in table.blocks for line in block.lines]
    assert len([name for name, _ in groupby(methods)]) == len(set(methods))  # a method's lines stand together


def test_every_entry_has_a_cell_per_column() -> None:
    rows = [row(1, "der", NAME, 59.0), row(2, "replay", "cifar100-b50i10", 41.0), row(3, "foster", f"{NAME}+aa", 60.0)]
    table = published_table(rows)
    for line in lines(table).values():
        assert len(line.entries) == len(table.headings) == 3
        assert {len(entry.cells) for entry in line.entries} == {len(table.columns)}


def test_unsettled_runs_are_no_results() -> None:
    rows = [row(1, "replay", NAME, 41.0), {**row(2, "replay", NAME, 10.0, seed=1), "settled": False}]
    assert lines(published_table(rows))["REPLAY Last"].entries[0].n == 1


def test_nothing_published_is_one_line() -> None:
    with pytest.raises(SuiteError, match="nothing is published within one setting of 1 finished run") as raised:
        published_table([row(1, "replay", "digits-b0i2", 90.0)])
    assert raised.value.code is Exit.NOTHING
    with pytest.raises(SuiteError):
        published_table([])


def test_a_protocol_that_is_no_longer_what_its_name_says() -> None:
    good, other = row(1, "replay", NAME, 41.0), {**row(2, "der", NAME, 59.0), "protocol_id": "deadbeef"}
    gone = {**row(3, "der", NAME, 59.0), "protocol": "mine-b0i7", "protocol_id": "0badcafe"}
    table = published_table([good, other, gone], remarks=["1 smoke run left out"])
    assert table.warnings[:2] == (
        "1 smoke run left out",
        "2 runs left out: their protocol is no longer what its name says",
    )
    identity = protocols.get(NAME).identity() | {"increments": [10] * 10}
    again = published_table([good, other], identities={"deadbeef": {**identity, "dataset": {**identity["dataset"]}}})
    assert [heading.protocol for heading in again.headings] == [f"{NAME} #{good['protocol_id']}", f"{NAME} #deadbeef"]


@pytest.mark.parametrize("render", [markdown.render, latex.render, csv.render])
def test_every_format_takes_it(render: Any) -> None:
    rendered = render(published_table([row(1, "replay", NAME, 41.0), row(2, "grace", "imagenet100-b0i10", 66.0)]))
    assert "REPLAY" in rendered


def test_curves_are_left_out() -> None:
    assert any(entry.metric == "curve" for entry in of("replay"))
    table = published_table([row(1, "replay", NAME, 41.0)])
    curves = {entry.values[0] for entry in of("replay") if entry.metric == "curve"}
    shown = {cell.value for line in lines(table).values() for cell in line.entries[0].cells}
    assert not {value / 100 for value in curves} & shown
