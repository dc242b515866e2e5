"""Benchmark, aligned, params and pertask: their columns, by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from suite.errors import Exit, SuiteError
from suite.tables import PRESETS, table
from suite.tables.catalogue import CATALOGUE, columns_of
from tests.suite.records_for_tests import ten_rows
from tests.suite.tables.test_choice import at
from tests.suite.test_table import cell, made


def titles(found: object) -> list[str]:
    return [column.title for column in found.columns]  # type: ignore[attr-defined]


def test_memory_saved_is_against_the_mean_of_the_reference() -> None:
    rows = [made(1, memory_mb=10.0), made(2, seed=1, memory_mb=14.0), made(3, method="anchor", memory_mb=3.0),
            made(4, method="anchor", memory_mb=3.0, stream="toy-b4i2")]  # fmt: skip
    found = table("benchmark", rows, against="widen")
    assert titles(found) == ["#P (M)", "MB full", "MB survey", "Saved", "Avg", "Last", "Forgetting"]
    assert cell(found, "Anchor", "saved").mean == "75.0"  # 1 - 3 / 12
    assert cell(found, "Widen", "saved").mean == "0.0"
    assert cell(found, "Anchor", "saved", heading=1).mean == ""  # no reference there
    assert "Saved: MB full saved against Widen on the same protocol, in %." in found.notes


def test_without_its_reference_memory_saved_is_not_shown() -> None:
    found = table("benchmark", [made(1)], against="anchor")
    assert "Saved" not in titles(found)
    assert "Memory saved is not shown: no run of anchor on these protocols." in found.notes
    asked = table("benchmark", [made(1)], against="anchor", columns=("saved", "avg"))
    assert titles(asked) == ["Saved", "Avg"]


def test_the_usual_reference_is_the_one_of_alignment() -> None:
    found = table("benchmark", [made(1)])
    assert "Memory saved is not shown: no run of DER on these protocols." in found.notes


def test_columns_by_id() -> None:
    found = table(
        "benchmark", [made(1, readouts=("nme", "linear"))], columns=("last", "avg", "nme_avg", "forget_prev", "last")
    )
    assert [column.id for column in found.columns] == ["last", "avg", "nme_avg", "forget_prev"]
    assert titles(found) == ["Last", "Avg", "Avg nme", "Forget prev"]
    assert cell(found, "Widen", "nme_avg").mean == cell(found, "Widen", "avg").mean


@pytest.mark.parametrize(("name", "near"), [("lst", "last"), ("forget_mx", "forget_max"), ("nme_avgg", "nme_avg")])
def test_an_unknown_column_is_refused_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(SuiteError, match=f'unknown column "{name}"; did you mean "{near}"') as caught:
        table("benchmark", [made(1)], columns=(name,))
    assert caught.value.code is Exit.USAGE


def test_every_column_of_the_catalogue_can_be_shown_and_is_defined() -> None:
    found = table("benchmark", ten_rows(), columns=tuple(CATALOGUE), against="widen")
    assert len(found.columns) == len(CATALOGUE)
    for column in found.columns:
        assert f"{column.title}: {column.about}." in found.notes
        assert "{" not in column.about
    assert len({column.title for column in found.columns}) == len(CATALOGUE)
    assert len({column.id for column in found.columns}) == len(CATALOGUE)
    assert all(column.field in ten_rows()[0] or column.id.startswith("saved") for column in found.columns)


def test_forgetting_by_each_definition() -> None:
    # of the first task .6, .8, .9, of the second 1, .5: against the best of all, the best before, the first; but one
    found = table("benchmark", [made(1, right=[[6], [8, 10], [9, 5, 10]])],
                  columns=("forget_max", "forget_prev", "forget_diag", "forget_lib", "bwt"))  # fmt: skip
    shown = [each.mean for each in found.blocks[0].lines[0].entries[0].cells]
    assert shown == ["25.0", "20.0", "10.0", "-15.0", "-10.0"]


def test_small_numbers_are_not_shown_as_nothing() -> None:
    (column,) = columns_of(("head_params_final",), [{"head_params_final": 640}], 1)
    assert f"{640 * column.scale:.{column.digits}f}" == "0.0006"


def test_aligned_names_the_budget_and_counts_exemplars() -> None:
    rows = [at(1, "mb=23.54", 23.54, exemplars=2000), at(2, "mb=23.54", 23.54, method="anchor", exemplars=7431)]
    found = table("aligned", rows)
    assert found.headings[0].about == "3 tasks, 6 classes, budget 23.54 MiB"
    assert cell(found, "Anchor", "exemplars").mean == "7431"
    text = " ".join(found.notes)
    assert "convention survey for backbones and exemplars together" in text
    assert "convention full" in text
    each = table("aligned", [at(1, "align=widen", 7.0), at(2, "align=widen", 8.5, seed=1)])
    assert each.headings[0].about == "3 tasks, 6 classes, budget 7.00-8.50 MiB"


def test_params_at_three_moments() -> None:
    found = table("params", [made(1, branches=3)])  # three branches of a million, a teacher beside them in training
    shown = {
        column.title: each.mean
        for column, each in zip(found.columns, found.blocks[0].lines[0].entries[0].cells, strict=True)
    }
    assert shown["#P (M)"] == shown["#P max"] == "3.00"
    assert shown["#P peak"] == "4.00"
    assert shown["Backbone"] == "3.00"
    assert float(shown["Heads"]) == 0.0001
    assert shown["Nets"] == "3"
    assert shown["MFLOPs"] == "0.015"
    assert "two for each multiply-add" in " ".join(found.notes)
    assert not found.marked


def test_per_task_accuracies_of_protocols_of_unlike_length() -> None:
    rows = [made(1, right=[[10], [6, 10], [8, 5, 10]]), made(2, method="anchor", right=[[9], [5, 10], [8, 5, 10]]),
            made(3, stream="toy-b4i2", right=[[20], [10, 10]])]  # fmt: skip
    found = table("pertask", rows)
    assert [[column.title for column in found.under(heading)] for heading in found.headings] == [
        ["1", "2", "3", "Avg"], ["1", "2", "Avg"],
    ]  # fmt: skip
    widen = next(each for block in found.blocks for each in block.lines if each.name == "Widen")
    assert [each.mean for each in widen.entries[0].cells] == ["100.0", "80.0", "76.7", "85.6"]
    assert [each.mean for each in widen.entries[1].cells] == ["100.0", "66.7", "83.3"]
    assert [each.mark for each in widen.entries[0].cells] == ["best", "best", "best", "best"]


def test_hashes_of_protocols_are_named() -> None:
    found = table("benchmark", [made(1, protocol_id="aaaa1111")])
    assert "Protocols by hash: toy-b0i2 #aaaa1111." in found.notes


def test_ten_thousand_rows_are_quick() -> None:
    from time import perf_counter

    row = made(1)
    rows = [
        {**row, "key": f"{i:016x}", "method": f"m{i % 20}", "title": f"M{i % 20}", "train_seed": i // 500,
         "protocol": f"toy-b0i2+n{i // 20 % 25}", "config": {"lr": 0.1, "learn": {"epochs": i // 500 % 2}}}
        for i in range(10_000)
    ]  # fmt: skip
    start = perf_counter()
    found = table("benchmark", rows)
    assert perf_counter() - start < 5  # seconds; it takes about a half
    assert len(found.headings) == 25


def test_the_page_lists_every_table_and_column() -> None:
    page = (Path(__file__).parents[3] / "docs" / "tables.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (.+?) \|(?: (.+) \|)?$", page, re.MULTILINE)
    tables = {name: about for name, about, rest in listed if not rest}
    assert tables == PRESETS
    columns = {name: (title, rest) for name, title, rest in listed if rest}
    assert columns == {
        name: (kind.title, kind.about.format(reference="the reference")) for name, kind in CATALOGUE.items()
    }
