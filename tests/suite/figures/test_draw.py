"""Drawings: the same bytes each time, nothing cut or on top of data, texts as they are, SVG that a page can hold."""

from __future__ import annotations

import io
import re
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import matplotlib
import pytest
from PIL import Image

from suite.figures import Figure, figures
from suite.figures.draw import COLUMN, PAGE, draw, painted
from suite.figures.paint.canvas import INK, SETTINGS, thinned, wrapped
from suite.figures.paint.grids import luminance
from tests.suite.figures.rows_for_tests import many, row

NASTY = "A_method & <b>its</b> $price$ of \\frac{1}{2}, {signs} 60% #1 ~ ^"
KINDS = ("curves", "params", "memory", "auc", "matrix", "pareto", "saturation", "coverage")
SVG = "{http://www.w3.org/2000/svg}"


def ladder(**more: Any) -> list[dict[str, Any]]:
    return [
        row(method, alignment=f"auc={i}", budget_mb=7.0 + 4 * i, curve=[0.9, 0.5 + i / 20, 0.4 + i / 20], **more)
        for method in ("der", "icarl")
        for i in (1, 2, 3)
    ]


def figure(kind: str, rows: list[dict[str, Any]] | None = None) -> Figure:
    return figures(kind, rows or [*many(2), *ladder()])[0]


@pytest.mark.parametrize("form", ["svg", "pdf", "png"])
def test_the_same_figure_is_the_same_file(form: Any) -> None:
    made = figure("curves", [row(), row("icarl")])
    assert draw(made, form) == draw(made, form)
    assert draw(made, form) != draw(figure("curves", [row(curve=[0.9, 0.8, 0.6]), row("icarl")]), form)


def test_files_are_what_their_ending_says() -> None:
    made = figure("curves", [row()])
    with Image.open(io.BytesIO(draw(made, "png"))) as image:
        assert image.size[0] == round(300 * COLUMN)
        assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 0)  # transparent
    with Image.open(io.BytesIO(draw(made, "png", width=PAGE))) as image:
        assert image.size[0] == round(300 * PAGE)
    pdf = draw(made, "pdf")
    assert pdf.startswith(b"%PDF-")
    assert b"CreationDate" not in pdf
    assert b"/FontFile2" in pdf  # TrueType, as publishers ask for
    assert b"/Type3" not in pdf


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [COLUMN, PAGE])
def test_no_text_is_cut_and_the_legend_is_off_the_data(kind: str, width: float) -> None:
    rows = [*many(13 if kind == "coverage" else 4, seeds=1), *ladder()]
    with matplotlib.rc_context(SETTINGS):
        canvas = painted(figure(kind, rows), width)
        canvas.sheet.draw_without_rendering()
        page = canvas.sheet.bbox.padded(1)
        legend = [text.get_window_extent() for axes in canvas.sheet.axes[len(canvas.axes) :] for text in axes.texts]
        boxes = [axes.get_tightbbox() for axes in canvas.axes]
    for box in [*boxes, *legend]:
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1
    assert all(box.y0 >= text.y1 - 1 for box in boxes for text in legend)
    for box, other in combinations(boxes, 2):
        assert not box.padded(-2).overlaps(other)


@pytest.mark.parametrize("width", [COLUMN, PAGE])
def test_names_of_bars_and_titles_do_not_lie_on_each_other(width: float) -> None:
    rows = [row(method, title=f"{NASTY} {method}") for method in ("der", "icarl", "wa", "memo")]
    with matplotlib.rc_context(SETTINGS):
        for kind in ("memory", "curves"):
            canvas = painted(figure(kind, rows), width)
            canvas.sheet.draw_without_rendering()
            legend = [t.get_window_extent() for t in canvas.sheet.axes[-1].texts]
            names = [t.get_window_extent() for t in canvas.axes[0].get_yticklabels() if kind == "memory"]
            for boxes in (legend, names):
                for i, box in enumerate(boxes):
                    assert not any(box.overlaps(other) for other in boxes[i + 1 :]), kind


@pytest.mark.parametrize("kind", KINDS)
def test_svg_for_a_page_has_its_own_ids_and_nothing_from_elsewhere(kind: str) -> None:
    text = draw(figure(kind), "svg", ids="fig7").decode()
    root = ElementTree.fromstring(text)
    ids = [value for element in root.iter() if (value := element.get("id")) is not None]
    assert len(ids) == len(set(ids))
    assert all(value.startswith("fig7-") for value in ids)
    for reference in re.findall(r'href="([^"]*)"|url\(([^)]*)\)', text):
        target = "".join(reference)
        assert target.startswith("#")
        assert target[1:] in ids
    assert not [
        element.tag for element in root.iter() if element.tag in (f"{SVG}style", f"{SVG}metadata", f"{SVG}image")
    ]
    assert "currentColor" in text
    assert INK not in text
    assert text.startswith("<svg ")
    assert root.get("width") is None
    urls = set(re.findall(r"https?://[^\"' ]+", text))
    assert urls <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names, not addresses


def test_every_artist_of_a_method_can_be_found() -> None:
    root = ElementTree.fromstring(draw(figure("curves", [*many(2)]), "svg", ids="f"))
    for panel in ("1", "2"):
        (axes,) = [element for element in root.iter() if element.get("data-panel") == panel]
        for method in ("der", "joint"):
            found = [element for element in axes.iter() if element.get("data-method") == method]
            assert len(found) == 3  # band, line, markers
            assert all((element.get("id") or "").startswith(f"f-{method}-") for element in found)
            assert all(element[0].tag == f"{SVG}title" for element in found)
    legend = [element for element in root.iter() if element.get("data-legend") == "der"]
    assert "".join("".join(element.itertext()) for element in legend).strip() == "DER"


def test_an_svg_file_says_what_it_shows_and_has_a_colour_of_its_own() -> None:
    made = figure("curves", [row(title='"<script>alert(1)</script>')])
    text = draw(made, "svg").decode()
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == made.alt
    assert root.get("role") == "img"
    assert "color:#" in (root.get("style") or "")
    assert "<script" not in text


@pytest.mark.parametrize("kind", ["curves", "memory", "coverage", "matrix", "saturation", "pareto"])
def test_texts_are_drawn_as_they_are(kind: str) -> None:
    notes = [{"saturation": 0.5, "threshold": 0.6}] * 3
    rows = [
        row("der", "p_1 & <i> $2$", title=NASTY, notes=notes),
        row("grace", "p_1 & <i> $2$", title="_x", notes=notes),
    ]
    made = figure(kind, rows)
    root = ElementTree.fromstring(draw(made, "svg"))
    shown = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    whole = "".join(shown).replace(" ", "")
    wanted = NASTY if kind != "matrix" else f"{NASTY} on p_1 & <i> $2$"
    assert wanted.replace(" ", "") in whole
    for form in ("png", "pdf"):
        assert draw(made, form)  # type: ignore[arg-type]


def test_what_no_file_may_hold_is_left_out() -> None:
    made = figure("curves", [row(title="bell\x07 \ud800half\nline \u65b9\u6cd5 \U0001f600")])
    root = ElementTree.fromstring(draw(made, "svg"))
    assert "bell   half line \u65b9\u6cd5 \U0001f600" in "".join(root.itertext())
    assert draw(made, "png")
    assert draw(made, "pdf")


@pytest.mark.parametrize("kind", ["curves", "params", "memory", "matrix", "pareto", "saturation", "coverage"])
def test_one_task_of_one_run_is_drawn(kind: str) -> None:
    notes = [{"saturation": 0.5, "threshold": 0.6}]
    rows = [row(m, curve=[0.5], parameters=[10**6], notes=notes) for m in ("der", "grace")]
    for made in (figure(kind, rows), figure(kind, rows[:1])):
        assert draw(made, "png")


def test_a_bar_beyond_all_others_is_cut_and_says_how_long_it_is() -> None:
    rows = [row(method) for method in ("der", "icarl", "wa", "memo", "foster")] + [row("acil", memory_mb=900.0)]
    with matplotlib.rc_context(SETTINGS):
        (axes,) = painted(figure("memory", rows)).axes
    assert axes.get_xlim()[1] < 12
    assert "900 \N{RIGHTWARDS ARROW}" in [text.get_text() for text in axes.texts]
    half = [
        row(method, memory_mb=7.5 if i < 3 else 60.0) for i, method in enumerate(("der", "wa", "memo", "acil", "icarl"))
    ]
    with matplotlib.rc_context(SETTINGS):
        (axes,) = painted(figure("memory", half)).axes
    assert axes.get_xlim()[1] > 60  # two of five are no exception


def test_budgets_are_lines_on_one_scale() -> None:
    rows = [row(), row(alignment="mb=40", budget_mb=40.0, exemplar_mb=36.0, survey_mb=40.0, memory_mb=41.5)]
    with matplotlib.rc_context(SETTINGS):
        canvas = painted(figure("memory", rows))
    plain, aligned = canvas.axes
    assert plain.get_xlim() == aligned.get_xlim()
    assert [line.get_xdata()[0] for line in aligned.lines] == [40.0]  # type: ignore[index]
    assert not plain.lines


def test_sizes_far_apart_are_on_a_logarithmic_axis() -> None:
    near = [row(), row("wa", parameters=[2_000_000] * 3)]
    far = [row(), row("wa", parameters=[2_000] * 3)]
    for rows, scale in ((near, "linear"), (far, "log")):
        with matplotlib.rc_context(SETTINGS):
            assert painted(figure("pareto", rows)).axes[0].get_xscale() == scale


def test_steps_of_methods_that_keep_the_same_show_all_their_markers() -> None:
    with matplotlib.rc_context(SETTINGS):
        (axes,) = painted(figure("params", [row(), row("memo"), row("beef")])).axes
    places = [tuple(line.get_xdata()) for line in axes.lines if line.get_marker() not in ("None", "")]  # type: ignore[arg-type]
    assert places == [(0.62, 1.62, 2.62), (1.0, 2.0, 3.0), (1.38, 2.38, 3.38)]


def test_text_on_a_colour_has_contrast() -> None:
    from suite.figures.style import SCALE

    for i in range(101):
        shade = luminance(matplotlib.colormaps[SCALE](i / 100))
        ratio = 1.05 / (shade + 0.05) if shade < 0.18 else (shade + 0.05) / 0.05
        assert ratio >= 4.5


def test_lines_break_where_names_do() -> None:
    assert wrapped("short", 1) == "short"
    assert wrapped("cifar100-b0i10+net=resnet8+shots=100", 1.2) == "cifar100-b0i10\n+net=resnet8\n+shots=100"
    assert all(len(line) <= 21 for line in wrapped("x" * 70, 1.2).split("\n"))


def test_ticks_that_fit_end_with_the_last() -> None:
    assert thinned([10, 20, 30], 3) == [10, 20, 30]
    few = thinned([float(i) for i in range(1, 51)], 2)
    assert few[-1] == 50
    assert len(few) < 12
