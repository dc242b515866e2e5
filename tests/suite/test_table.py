"""The table as a value: what is averaged, what is marked, what is missing, what is said below it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from suite.errors import Exit, SuiteError
from suite.grouping import Wanted
from suite.results import result_row
from suite.table import Cell, Column, Entry, Line, Table
from tests.suite.records_for_tests import record, ten_rows


def made(number: int, **changes: Any) -> dict[str, Any]:
    """A row with figures put in: avg, last, forgetting and whatever else a test is about."""
    known = {"method", "stream", "order", "seed", "right", "smoke", "precision", "workers", "config", "readouts",
             "branches"}  # fmt: skip
    settings = {name: changes.pop(name) for name in known & set(changes)}
    return {**result_row(record(number, **settings)), **changes}


def line(table: Table, name: str) -> Line:
    return next(line for block in table.blocks for line in block.lines if line.name == name)


def cell(table: Table, name: str, column: str, heading: int = 0) -> Cell:
    index = [c.id for c in table.columns].index(column)
    return line(table, name).entries[heading].cells[index]


def marks(table: Table, column: str = "avg", heading: int = 0) -> dict[str, str]:
    names = [line.name for block in table.blocks for line in block.lines]
    return {name: cell(table, name, column, heading).mark for name in names}


@pytest.fixture(scope="module")
def table() -> Table:
    return Table.of(ten_rows())


def test_families_then_years_then_upper_bounds(table: Table) -> None:
    names = [(block.title, [line.name for line in block.lines]) for block in table.blocks]
    assert names == [
        ("floor", ["Drift"]),
        ("single backbone", ["Anchor"]),
        ("expansion", ["Widen", "Prune_It"]),
        ("upper bound (not ranked)", ["All"]),
    ]
    assert [heading.protocol for heading in table.headings] == ["toy-b0i2", "toy-b4i2"]
    assert table.headings[0].about == "3 tasks, 6 classes, tiny, 12 exemplars"
    assert table.headings[1].about == "2 tasks, 6 classes, tiny, 5 exemplars per class"


def test_mean_and_sample_deviation_by_hand(table: Table) -> None:
    found = cell(table, "Anchor", "last")  # 24 and 22 right of 30
    assert found.value == pytest.approx(46 / 60)
    assert found.spread == pytest.approx(2**0.5 / 30)
    assert (found.mean, found.deviation) == ("76.7", "4.7")
    assert cell(table, "Anchor", "mb").mean == "5.31"
    assert cell(table, "Anchor", "mb").deviation == ""
    assert cell(table, "Prune_It", "params").mean == "2.00"
    one = cell(table, "Widen", "last")
    assert (one.mean, one.deviation, one.spread) == ("86.7", "", None)


def test_best_and_second_and_ties(table: Table) -> None:
    assert marks(table) == {"Drift": "", "Anchor": "second", "Widen": "best", "Prune_It": "best", "All": ""}
    assert marks(table, "forgetting") == {
        "Drift": "", "Anchor": "best", "Widen": "second", "Prune_It": "second", "All": "",
    }  # fmt: skip
    assert marks(table, "params") == dict.fromkeys(marks(table), "")
    assert marks(table, heading=1) == {"Drift": "", "Anchor": "second", "Widen": "", "Prune_It": "best", "All": ""}


def test_marks_go_by_full_precision_not_by_what_is_printed() -> None:
    rows = [
        made(1, method="widen", avg=0.70001),
        made(2, method="anchor", avg=0.70002),
        made(3, method="drift", avg=0.6),
    ]
    table = Table.of(rows)
    assert cell(table, "Widen", "avg").mean == cell(table, "Anchor", "avg").mean == "70.0"
    assert marks(table) == {"Drift": "", "Anchor": "best", "Widen": "second"}


def test_rounding_of_equal_means_is_a_tie() -> None:
    rows = [made(i, method="widen", seed=i, avg=v) for i, v in enumerate([0.1, 0.2, 0.3])]
    rows += [made(9, method="anchor", avg=0.2), made(10, method="drift", avg=0.1)]
    assert marks(Table.of(rows)) == {"Drift": "second", "Anchor": "best", "Widen": "best"}


def test_all_equal_are_all_best_and_one_alone_is_not_marked() -> None:
    rows = [made(1, method="widen"), made(2, method="anchor")]
    assert set(marks(Table.of(rows)).values()) == {"best"}
    assert set(marks(Table.of(rows[:1])).values()) == {""}
    assert set(marks(Table.of([*rows[:1], made(3, method="all")])).values()) == {""}  # an upper bound is no rival


def test_upper_bounds_never_compete() -> None:
    rows = [made(1, method="widen", avg=0.5), made(2, method="anchor", avg=0.4), made(3, method="all", avg=0.9)]
    assert marks(Table.of(rows)) == {"Widen": "best", "Anchor": "second", "All": ""}


def test_missing_is_empty_and_fewer_runs_are_flagged(table: Table) -> None:
    widen = line(table, "Widen")
    assert [(e.n, e.missing, e.short, e.count) for e in widen.entries] == [(1, 0, True, "1"), (0, 0, False, "0")]
    assert widen.entries[1].cells == (Cell(),) * 6
    assert [e.short for e in line(table, "Prune_It").entries] == [False, False]
    assert table.short


def test_wanted_runs_alone_are_shown_and_missing_ones_counted() -> None:
    rows = [made(1, method="widen"), made(2, method="widen", seed=1), made(3, method="anchor")]
    wanted = [Wanted(f"{number:016x}", "widen", "toy-b0i2", "Widen") for number in (1, 2, 4, 5)]
    wanted += [
        Wanted(f"{6:016x}", "widen", "toy-b0i10"),
        Wanted(f"{7:016x}", "new", "toy-b0i2", "New", "expansion", "X 2030"),
    ]
    table = Table.of(rows, wanted)
    assert [heading.protocol for heading in table.headings] == ["toy-b0i2", "toy-b0i10"]
    assert [(e.count, e.short) for e in line(table, "Widen").entries] == [("2/4", True), ("0/1", False)]
    assert [e.count for e in line(table, "New").entries] == ["0/1", "0"]
    assert [line.name for block in table.blocks for line in block.lines] == ["Widen", "New"]
    assert table.headings[1].about == "no run yet"


def test_a_table_of_nothing_but_missing_runs() -> None:
    table = Table.of([], [Wanted("0" * 16, "widen", "toy-b0i2")])
    assert line(table, "widen").entries[0] == Entry((Cell(),) * 6, 0, 1, False)


def test_nothing_to_show_is_said() -> None:
    with pytest.raises(SuiteError, match="no finished run") as caught:
        Table.of([])
    assert caught.value.code is Exit.NOTHING


def test_smoke_runs_are_refused_unless_asked_for() -> None:
    smoke = [made(number, method="widen", smoke=True, seed=number) for number in (1, 2)]
    with pytest.raises(SuiteError, match=r"all 2 runs are smoke runs.*--smoke") as caught:
        Table.of(smoke)
    assert caught.value.code is Exit.NOTHING
    shown = Table.of(smoke, allow_smoke=True)
    assert line(shown, "Widen").entries[0].n == 2
    assert any("smoke runs are shown" in warning for warning in shown.warnings)
    mixed = Table.of([*smoke, made(3, method="widen")])
    assert line(mixed, "Widen").entries[0].n == 1
    assert "2 smoke runs left out" in mixed.warnings
    with pytest.raises(SuiteError, match="the only run is a smoke run"):
        Table.of(smoke[:1])


def test_other_settings_are_other_lines_and_no_repetitions() -> None:
    rows = [made(number, method="widen", seed=number) for number in (1, 2)]
    rows += [made(3, method="widen", seed=1, config={"lr": 0.5, "learn": {"epochs": 9}})]
    rows += [made(4, method="widen", stream="toy-b4i2", config={"lr": 0.7})]
    table = Table.of(rows)
    counts = {line.name: [e.n for e in line.entries] for block in table.blocks for line in block.lines}
    assert counts == {
        "Widen": [0, 1],
        "Widen learn.epochs=2 lr=0.1": [2, 0],
        "Widen learn.epochs=9 lr=0.5": [1, 0],
    }


def test_another_precision_is_another_line() -> None:
    rows = [made(number, seed=number, precision="fp32") for number in (1, 2)]
    table = Table.of([*rows, made(3, precision="bf16"), made(4, method="anchor")])
    counts = {line.name: line.entries[0].n for block in table.blocks for line in block.lines}
    assert counts == {"Anchor": 1, 'Widen precision="bf16"': 1, 'Widen precision="fp32"': 2}
    assert "unlike environments: precisions bf16, fp32" in table.warnings


def test_more_workers_are_another_line() -> None:
    rows = [made(number, seed=number) for number in (1, 2)]
    table = Table.of([*rows, made(3, workers=2), made(4, method="anchor")])
    counts = {line.name: line.entries[0].n for block in table.blocks for line in block.lines}
    assert counts == {"Anchor": 1, "Widen workers=1": 2, "Widen workers=2": 1}
    assert "unlike environments: workers 1, 2" in table.warnings
    assert any("workers of a run: 1, 2" in note for note in table.notes)
    assert not any("workers" in note for note in Table.of(rows).notes)


def test_one_name_for_two_protocols_is_two_columns() -> None:
    rows = [made(1, protocol_id="aaaa"), made(2, seed=1, protocol_id="bbbb")]
    table = Table.of(rows)
    assert [heading.protocol for heading in table.headings] == ["toy-b0i2 #aaaa", "toy-b0i2 #bbbb"]
    assert [e.n for e in line(table, "Widen").entries] == [1, 1]


def test_protocols_are_ordered_by_their_numbers() -> None:
    names = ["x-b0i10", "x-b0i5", "a-b50i2", "x-b0i5+aa"]
    table = Table.of([made(i, protocol=name) for i, name in enumerate(names)])
    assert [heading.protocol for heading in table.headings] == ["a-b50i2", "x-b0i5", "x-b0i5+aa", "x-b0i10"]


def test_unknown_families_stand_before_upper_bounds() -> None:
    rows = [
        made(1, method="all"),
        made(2, family="prompts"),
        made(3, method="drift"),
        made(4, method="anchor", family=""),
    ]
    assert [block.family for block in Table.of(rows).blocks] == ["floor", "other", "prompts", "upper bound"]


def test_digits_and_no_negative_zero() -> None:
    table = Table.of([made(1, avg=2 / 3, forgetting=-0.0001), made(2, seed=1, avg=2 / 3, forgetting=-0.0001)], digits=2)
    assert cell(table, "Widen", "avg").mean == "66.67"
    assert cell(table, "Widen", "avg").deviation == "0.00"
    assert cell(table, "Widen", "forgetting").mean == "-0.01"
    table = Table.of([made(1, avg=2 / 3, forgetting=-0.0001)])
    assert cell(table, "Widen", "forgetting").mean == "0.0"


def test_small_memories_have_two_decimals() -> None:
    assert cell(Table.of([made(1, memory_mb=0.314)]), "Widen", "mb").mean == "0.31"
    both = Table.of([made(1, memory_mb=0.314), made(2, method="anchor", memory_mb=713.5)])
    assert cell(both, "Widen", "mb").mean == "0.31"
    assert cell(Table.of([made(1, memory_mb=713.54)]), "Widen", "mb").mean == "713.5"


def test_it_is_a_function_of_the_rows_whatever_their_order(table: Table) -> None:
    rows = ten_rows()
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        assert Table.of(rows) == table


def test_columns_are_defined(table: Table) -> None:
    assert [column.title for column in table.columns] == ["#P (M)", "MB full", "MB survey", "Avg", "Last", "Forgetting"]
    assert all(isinstance(column, Column) for column in table.columns)
    text = " ".join(table.notes)
    for words in ("first task included", "after the last task", "last task included) minus the final", "divisor n - 1",
                  "2^20", "convention full", "convention survey", "Class orders: 1993", "training seeds: 0, 1",
                  "commit 0123456789", "torch: 2.15.0",
                  "Settings of Prune_It on toy-b0i2, toy-b4i2: nearest preset: other-b0i2"):  # fmt: skip
        assert words in text, words
    assert "readout" not in text
    assert table.warnings == ()


def test_another_headline_is_named() -> None:
    notes = " ".join(Table.of([made(1, readouts=("nme", "linear"))]).notes)
    assert "nme readout: Widen" in notes


def test_methods_that_share_another_headline_are_named_together() -> None:
    rows = [made(1, readouts=("nme", "linear")), made(2, method="prune_it", readouts=("nme", "linear"))]
    assert "nme readout: Prune_It, Widen" in " ".join(Table.of(rows).notes)


def test_seeds_in_a_row_are_a_range() -> None:
    notes = " ".join(Table.of([made(i, seed=i) for i in range(5)]).notes)
    assert "training seeds: 0-4" in notes


def test_code_that_was_changed_is_said() -> None:
    rows = [made(1, dirty=True), made(2, seed=1, commit=None, version="0.1.0")]
    notes = " ".join(Table.of(rows).notes)
    assert "commit 0123456789 with changes" in notes
    assert "version 0.1.0" in notes


def test_unlike_environments_are_a_warning() -> None:
    rows = [made(1), made(2, seed=1, torch="2.11.0"), made(3, method="anchor", device="H100")]
    warnings = Table.of(rows).warnings
    assert "unlike environments: torch 2.11.0, 2.15.0" in warnings
    assert "unlike environments: devices H100, cpu" in warnings


def test_other_images_under_one_name_are_a_warning() -> None:
    rows = [made(1), made(2, method="anchor", data="other")]
    assert any("toy-b0i2: the runs did not see the same images" in warning for warning in Table.of(rows).warnings)
    # another class order has another fingerprint, and that is no fault
    assert not any("images" in w for w in Table.of([made(1), made(2, order=7, data="other")]).warnings)


def test_methods_run_with_different_seeds_are_a_warning() -> None:
    rows = [made(1), made(2, method="anchor", seed=5)]
    assert any("different class orders or seeds" in warning for warning in Table.of(rows).warnings)
    assert Table.of([made(1), made(2, method="anchor")]).warnings == ()
