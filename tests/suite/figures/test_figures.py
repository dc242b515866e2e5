"""What figures show, against numbers worked out by hand from the rows."""

from __future__ import annotations

import csv
import io
from math import nan, sqrt
from typing import Any

import pytest

from suite.errors import SuiteError
from suite.figures import KINDS, Figure, Series, figures
from suite.figures.data import COLUMNS, as_csv
from suite.figures.lines import slug_of
from suite.figures.tradeoff import front
from suite.grouping import Wanted
from tests.suite.figures.rows_for_tests import many, row
from tests.suite.records_for_tests import ten_rows


def one(kind: str, rows: list[dict[str, Any]], wanted: list[Wanted] | None = None) -> Figure:
    (figure,) = figures(kind, rows, wanted)
    return figure


def series(figure: Figure, method: str, panel: int = 0, part: str = "") -> Series:
    (found,) = [s for s in figure.panels[panel].series if s.method == method and s.part == part]
    return found


def near(values: tuple[float | None, ...]) -> Any:
    return pytest.approx(values, nan_ok=False)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_makes_no_figure(kind: str) -> None:
    assert figures(kind, []) == []


def test_an_unknown_kind_is_named_with_the_nearest() -> None:
    with pytest.raises(SuiteError, match='unknown kind of figure "curvs"; did you mean "curves"'):
        figures("curvs", [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_not_settled_is_in_no_figure(kind: str) -> None:
    notes = [{"saturation": 0.5, "threshold": 0.6}] * 3
    pilot = row(alignment="auc=1", budget_mb=7.6, settled=False, notes=notes)
    assert figures(kind, [pilot]) == []
    assert figures(kind, [{**pilot, "settled": True}]) or kind == "memory"


def test_curves_are_means_with_one_deviation_to_each_side() -> None:
    figure = one("curves", [row(curve=[0.9, 0.8, 0.7]), row(curve=[0.9, 0.6, 0.4], seed=1)])
    shown = series(figure, "der")
    spread = (0, 20 / sqrt(2), 30 / sqrt(2))
    assert shown.x == (1, 2, 3)
    assert shown.y == near((90, 70, 55))
    assert shown.low == near((90, 70 - spread[1], 55 - spread[2]))
    assert shown.high == near((90, 70 + spread[1], 55 + spread[2]))
    assert shown.n == (2, 2, 2)


def test_a_single_run_has_no_band() -> None:
    shown = series(one("curves", [row()]), "der")
    assert shown.y == near((90, 80, 70))
    assert shown.low == shown.high == (None, None, None)


def test_what_is_not_a_number_leaves_a_gap() -> None:
    rows = [row(curve=[0.9, nan, 0.7]), row("icarl", curve=[nan, nan, nan])]
    figure = one("curves", rows)
    assert series(figure, "der").y == (pytest.approx(90), None, pytest.approx(70))
    assert figure.methods == {"der": "DER"}
    assert figure.notes[-1] == "Not shown, for their runs have no number here: iCaRL."
    assert figures("curves", rows[1:]) == []


def test_classes_seen_are_those_of_the_row_or_else_of_the_protocol() -> None:
    assert series(one("curves", [row(seen=[2, 4, 6])]), "der").x == (2, 4, 6)
    known = row(protocol="cifar100-b50i25", curve=[0.9, 0.8, 0.7], classes=100)
    panel = one("curves", [known]).panels[0]
    assert panel.series[0].x == (50, 75, 100)
    assert panel.x_label == "classes seen"
    assert one("curves", [row()]).panels[0].x_label == "task"  # nobody knows this protocol
    assert one("curves", [{**known, "classes": 6}]).panels[0].x_label == "task"  # another of the same name


def test_the_gap_is_between_the_two_best_that_compete() -> None:
    rows = [row("joint", curve=[0.9, 0.9, 0.9]), row("der", curve=[0.9, 0.8, 0.7]), row("icarl", curve=[0.9, 0.8, 0.5])]
    figure = one("curves", rows)
    gap = figure.panels[0].gap
    assert gap is not None
    assert (gap.best, gap.second, gap.x) == ("DER", "iCaRL", 3)
    assert gap.high - gap.low == pytest.approx(20)
    assert "at the end best DER 70.0%, second iCaRL 50.0%, Joint (upper bound) 90.0%" in figure.alt
    assert one("curves", rows[:2]).panels[0].gap is None


def test_figures_of_real_rows() -> None:
    """Of anchor on toy-b0i2, 24 and 22 of 30 right in the end; see records_for_tests."""
    figure = one("curves", ten_rows())
    assert [panel.title for panel in figure.panels] == ["toy-b0i2", "toy-b4i2"]
    assert series(figure, "anchor").y[-1] == pytest.approx(100 * 23 / 30)
    steps = series(one("params", ten_rows()), "widen")
    assert steps.y == near((1.00002, 2.00004, 3.00006))
    assert len(figures("matrix", ten_rows())) == 7


def test_more_panels_than_a_page_holds_go_on_another() -> None:
    made = figures("curves", [row(protocol=f"mine-b0i{i}") for i in range(1, 15)])
    assert [(figure.id, len(figure.panels)) for figure in made] == [("curves", 12), ("curves-2", 2)]


def test_points_of_ladders_are_left_to_their_own_figure() -> None:
    rows = [row(), row(alignment="auc=1", budget_mb=7.6), row(protocol="other-b0i2", alignment="auc=1", budget_mb=7.6)]
    assert [panel.title for panel in one("curves", rows).panels] == ["mine-b0i2", "other-b0i2+auc=1"]


def test_parameters_have_a_band_from_the_smallest_to_the_largest() -> None:
    rows = [row("grace", parameters=[10**6, 10**6, 2 * 10**6]), row("grace", seed=1)]
    shown = series(one("params", rows), "grace")
    assert shown.shape == "step"
    assert (shown.y, shown.low, shown.high) == ((1, 1.5, 2.5), (1, 1, 2), (1, 2, 3))
    assert figures("params", [row(params_curve=None)]) == []


def test_memory_is_stacked_by_both_conventions_with_aligned_runs_beside() -> None:
    aligned = {"alignment": "mb=9", "budget_mb": 9.0, "exemplar_mb": 5.0, "survey_mb": 9.0, "memory_mb": 10.5}
    figure = one("memory", [row(), row("icarl"), row("icarl", **aligned)])
    assert [panel.title for panel in figure.panels] == ["mine-b0i2", "mine-b0i2+mb=9"]
    assert [panel.categories for panel in figure.panels] == [("iCaRL", "DER")] * 2
    parts = [series(figure, "icarl", 1, part) for part in ("exemplars", "backbones", "rest")]
    assert [(s.low, s.high) for s in parts] == [((0,), (5,)), ((5,), (9,)), ((9,), (10.5,))]
    assert [s.x for s in figure.panels[1].series if s.part == "budget"] == [(9.0,)]
    assert not [s for s in figure.panels[0].series if s.part == "budget"]
    assert "budget 9.0 MiB" in figure.alt
    assert "survey's convention" in figure.notes[0]


def test_accuracy_over_memory_has_areas_of_whole_ladders_and_lone_benchmarks() -> None:
    rungs = [row("der", alignment=f"auc={i}", budget_mb=m, last=a) for i, m, a in ((1, 2.0, 0.5), (2, 6.0, 0.7))]
    rows = [*rungs, row("der"), row("icarl", alignment="auc=2", budget_mb=6.0, last=0.6), row("wa", last=0.4)]
    figure = one("auc", [*rows, row(protocol="other-b0i2")])
    assert [panel.y_label for panel in figure.panels] == ["average accuracy (%)", "last accuracy (%)"]
    der, lone = series(figure, "der", 1), series(figure, "wa", 1)
    assert (der.shape, der.x, der.y) == ("line", (2, 6), near((50, 70)))
    assert (lone.shape, lone.x, lone.y) == ("points", (6.0,), near((40,)))
    note = next(note for note in figure.notes if note.startswith("AUC-L"))
    assert note.endswith("span of 4.0 MiB: DER 2.40 (0.600).")  # 4 MiB times the mean of 0.5 and 0.7
    assert figures("auc", [row()]) == []


def test_the_front_is_what_nothing_beats_in_both() -> None:
    assert front([(1, 50), (2, 60), (2, 55), (3, 60), (None, 99), (4, 70)]) == {(1, 50), (2, 60), (4, 70)}
    assert front([(1, 50), (1, 50)]) == {(1, 50)}


def test_pareto_ranks_no_upper_bound() -> None:
    small, large = [10**6] * 3, [3 * 10**6] * 3
    rows = [
        row("icarl", curve=[0.6] * 3, parameters=small),
        row("der", curve=[0.7] * 3, parameters=large, memory_mb=6.0),
        row("wa", curve=[0.5] * 3, parameters=large),
        row("joint", curve=[0.9] * 3, parameters=small, memory_mb=1.0),
    ]
    figure = one("pareto", rows)
    marked = [{s.method for s in panel.series if s.marks} for panel in figure.panels]
    assert marked == [{"icarl", "der"}, {"der"}]
    joined = next(s for s in figure.panels[0].series if s.shape == "front")
    assert (joined.x, joined.y) == ((1, 3), near((60, 70)))


def test_saturation_says_what_followed() -> None:
    def trace(*decisions: bool) -> list[dict[str, Any]]:
        return [{"saturation": 0.4 + i / 10, "threshold": 0.6, "compress_next": d} for i, d in enumerate(decisions)]

    rows = [row("grace", notes=trace(True, True, False)), row("grace", seed=1, notes=trace(True, False, False))]
    figure = one("saturation", [*rows, row("der")])
    shown = series(figure, "grace")
    assert shown.marks == ("compress", "1/2", "expand")
    assert shown.y == near((0.4, 0.5, 0.6))
    assert series(figure, "grace", part="threshold").y == near((0.6, 0.6, 0.6))
    assert "task 1 0.40 compress, task 2 0.50 1/2 compress, task 3 0.60 expand" in figure.alt


def test_saturation_without_a_plan_is_read_off_the_next_task_or_the_threshold() -> None:
    notes = [{"saturation": 0.7, "threshold": 0.6}, {"saturation": 0.5, "threshold": 0.6, "compressed": True}]
    assert series(one("saturation", [row("grace", notes=notes)]), "grace").marks == ("compress", "compress")
    assert series(one("saturation", [row("grace", notes=[{"saturation": 0.5}])]), "grace").marks == ("",)


def test_coverage_counts_what_is_wanted() -> None:
    rows = [row("der"), row("der", seed=1), row("icarl"), row("wa")]
    wanted = [Wanted(each["key"], each["method"], each["protocol"]) for each in rows[:3]]
    wanted += [
        Wanted("a", "icarl", "mine-b0i2"), Wanted("b", "foster", "mine-b0i2", "FOSTER", "expansion", failed=True),
        Wanted("c", "memo", "mine-b0i2", "MEMO", "expansion", reason="its model alone exceeds the budget"),
        Wanted("d", "wa", "new-b0i2", "WA", "single backbone"),
    ]  # fmt: skip
    grid = one("coverage", rows, wanted).panels[0].grid
    assert grid is not None
    assert grid.columns == ("mine-b0i2", "new-b0i2")
    said = {name: [(c.text, c.state) for c in cells] for name, cells in zip(grid.rows, grid.cells, strict=True)}
    assert said == {
        "iCaRL": [("1/2", "some"), ("", "")],
        "WA": [("", ""), ("0/1", "none")],
        "DER": [("2/2", "done"), ("", "")],
        "FOSTER": [("0/1 fail", "failed"), ("", "")],
        "MEMO": [("\N{EN DASH}", "cannot"), ("", "")],
    }
    assert one("coverage", rows, wanted).alt.startswith("Grid of 5 methods and 2 protocols: 3 of 6 runs done; short: ")
    counted = one("coverage", rows).panels[0].grid
    assert counted is not None
    assert [cells[0].text for cells in counted.cells] == ["1", "1", "2"]


def test_a_matrix_is_the_mean_over_runs_with_its_values_where_they_fit() -> None:
    rows = [row(matrix=[[0.9], [0.5, 0.8]]), row(matrix=[[0.7], [nan, 0.6]], seed=1)]
    figure = one("matrix", rows)
    grid = figure.panels[0].grid
    assert grid is not None
    assert [[cell.value for cell in cells] for cells in grid.cells] == [
        [pytest.approx(80), None], [pytest.approx(50), pytest.approx(70)],
    ]  # fmt: skip
    assert [[cell.text for cell in cells] for cells in grid.cells] == [["80", ""], ["50", "70"]]
    assert figure.id == "matrix-der-mine-b0i2"
    long = one("matrix", [row(curve=[0.5] * 20)]).panels[0].grid
    assert long is not None
    assert {cell.text for cells in long.cells for cell in cells} == {""}


def test_variants_and_equal_titles_are_told_apart() -> None:
    rows = [row(config={"lr": 0.1}), row(config={"lr": 0.2}), row("wa", title="iCaRL"), row("icarl")]
    figure = one("curves", rows)
    assert set(figure.methods) == {"der-lr-0-1", "der-lr-0-2", "wa", "icarl"}
    assert len(set(figure.methods.values())) == 4
    assert len({s.style for s in figure.panels[0].series}) == 4


def test_slugs_are_safe_and_keep_texts_apart() -> None:
    assert slug_of("der lr=0.1") == "der-lr-0-1"
    texts = ["\u65b9", "\u6cd5", "x" * 60, "x" * 61, "$", "&"]
    assert len({slug_of(text) for text in texts}) == len(texts)
    assert all(set(slug_of(text)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for text in texts)


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_of_a_figure_holds_all_its_numbers(kind: str) -> None:
    rows = [*many(2), row(alignment="auc=1", budget_mb=7.6), row(alignment="auc=2", budget_mb=9.6)]
    figure = figures(kind, rows)[0]
    lines = list(csv.DictReader(io.StringIO(as_csv(figure))))
    assert tuple(lines[0]) == COLUMNS
    written = {float(line[name]) for line in lines for name in ("x", "y", "low", "high") if is_number(line[name])}
    shown = {
        value
        for panel in figure.panels
        for s in panel.series
        for value in (*s.x, *s.y, *s.low, *s.high)
        if value is not None
    }
    shown |= {c.value for p in figure.panels if p.grid for cells in p.grid.cells for c in cells if c.value is not None}
    assert shown <= written


def is_number(text: str) -> bool:
    return text.replace(".", "").replace("-", "").replace("e", "").isdigit()


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"auc"}))
def test_alternative_text_names_methods_and_has_no_holes(kind: str) -> None:
    for figure in figures(kind, many(2))[:3]:
        assert figure.alt.endswith(".")
        assert not {"None", "nan"} & set(figure.alt.replace(",", " ").replace(".", " ").split())
        assert len(figure.alt) > 60
        assert figure.notes
