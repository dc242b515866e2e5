"""The page as text: its outline, what it says to those who do not see it, where it leads, and what cannot break it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from suite.report import Report
from suite.report.page import SECTIONS, Page, beside, folder_of, render
from suite.report.pictures import Galleries
from suite.results import result_row
from tests.suite.records_for_tests import record, ten_rows
from tests.suite.report.reports_for_tests import EVIL, Parsed, evil, failure, report

LIMIT = 5_000_000
TRACE = {"saturation": 0.5, "threshold": 0.6, "compress_next": True}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures have tests of their own, and take their time."""
    monkeypatch.setattr("suite.report.page.galleries", lambda *_: lambda: Galleries({}, (), False))


def made() -> Report:
    return report(failures={"f" * 16: failure()})


@cache
def plain() -> tuple[str, Parsed]:
    html = render(made()).html
    return html, Parsed(html)


def test_the_same_rows_make_the_same_page() -> None:
    assert render(made()).html == plain()[0]


def test_one_title_and_headings_without_gaps() -> None:
    levels = [int(element.tag[1]) for element in plain()[1].all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_it_has_the_eleven_sections_in_order() -> None:
    page = plain()[1]
    links = [element.text for element in page.all("a") if "nav" in element.inside]
    assert links == list(SECTIONS.values())
    assert [text.partition(".")[0] for text in links] == [str(i) for i in range(1, 12)]
    titles = [element.text.strip() for element in page.all("h2")]
    assert [title.partition(".")[0] for title in titles if title[0].isdigit()] == [str(i) for i in range(2, 12)]


def test_every_table_has_a_caption_and_headers_with_scope() -> None:
    page = plain()[1]
    assert len(page.all("caption")) == len(page.all("table")) > 10
    assert [element.attrs for element in page.all("th") if "scope" not in element.attrs] == []


def test_ids_are_unique_and_every_link_leads_somewhere() -> None:
    page = plain()[1]
    ids = [element.attrs["id"] for element in page.elements if "id" in element.attrs]
    assert len(ids) == len(set(ids))
    assert {element.attrs["href"] for element in page.all("a")} <= {f"#{id_}" for id_ in ids}
    labels = {element.attrs["for"] for element in page.all("label") if "for" in element.attrs}
    assert labels <= set(ids)


def test_nothing_is_fetched() -> None:
    html, page = plain()
    assert [e.tag for e in page.elements if {"src", "srcset", "poster", "data"} & e.attrs.keys()] == []
    assert page.all("link", "img", "iframe", "object") == []
    assert "url(" not in html
    (policy,) = [e.attrs["content"] for e in page.all("meta") if e.attrs.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


def test_without_scripts_everything_can_be_read() -> None:
    page = plain()[1]
    hidden = [element for element in page.elements if "hidden" in element.attrs]
    assert [e.attrs.get("id", e.attrs["class"]) for e in hidden] == [
        "controls", "budget", "views", "precision", "buttons", "duel", "buttons"
    ]  # fmt: skip
    text = page.by_id("main").text
    for words in ("Prune_It", "92.2 \N{PLUS-MINUS SIGN} 1.6", "+1.1", "CUDA out of memory", "@misc{anchor-eccv-2020"):
        assert words in text, words
    assert page.by_id("copy-benchmark-latex").text.lstrip().startswith("% \\usepackage{booktabs}")
    assert page.by_id("copy-benchmark-markdown").text.lstrip().startswith("|")
    assert page.by_id("copy-benchmark-csv").text.startswith("family,")


def test_a_run_is_told_task_by_task() -> None:
    rows = [{**row, "notes": [{**TRACE, "streak": t} for t in range(row["tasks"])]} for row in ten_rows()[5:6]]
    page = Parsed(render(report(rows)).html)
    run = page.by_id(f"run-{rows[0]['key']}")
    assert "grace-suite run -m prune_it -p toy-b0i2 --orders 1993 --seeds 0" in " ".join(run.text.split())
    heat = [e for e in page.elements if e.tag == "td" and re.fullmatch(r"h\d", e.attrs.get("class", ""))]
    assert [e.text.strip() for e in heat] == ["100.0", "90.0", "90.0", "90.0", "90.0", "90.0"]
    (trace,) = [e for e in page.all("svg") if e.attrs["class"] == "trace"]
    assert trace.attrs["aria-label"] == (
        "Saturation after each task. task 1: 0.50 against 0.60, then compresses; task 2: 0.50 against 0.60, then "
        "compresses; task 3: 0.50 against 0.60, then compresses."
    )


def test_no_text_becomes_markup() -> None:
    tags = {element.tag for element in plain()[1].elements}
    html = render(evil()).html
    page = Parsed(html)
    assert {element.tag for element in page.elements} <= tags | {"svg", "title", "g"}
    assert len(page.all("script")) == 2
    assert [a for e in page.elements for a in e.attrs if a.startswith("on")] == []
    assert "<!--" not in html.replace("<!doctype", "")
    data = json.loads(page.by_id("data").text)
    assert data["lines"][0]["name"].endswith(EVIL)
    assert EVIL in page.by_id("main").text


def test_a_name_of_sixty_letters_and_signs_is_shown_whole() -> None:
    name = "A_&_<b>" + "x" * 53
    rows = [{**row, "method": name, "title": name} for row in ten_rows()[:2]]
    assert name in Parsed(render(report(rows)).html).by_id("table").text


def many(count: int) -> list[dict[str, Any]]:
    """Rows of ten methods on ten protocols."""
    row = result_row(record())
    return [
        {**row, "key": f"{i:016x}", "method": f"m{i % 10}", "title": f"Method {i % 10}", "train_seed": i // 100,
         "protocol": f"toy-b{i // 10 % 10}i2", "protocol_id": f"{i // 10 % 10:08x}"}
        for i in range(count)
    ]  # fmt: skip


def test_five_hundred_runs_stay_under_five_megabytes_with_all_of_them_inside() -> None:
    page = render(report(many(500)))
    assert page.whole
    assert len(page.html.encode()) < LIMIT


def test_past_a_size_runs_lie_beside_and_links_find_them(tmp_path: Path) -> None:
    made = report(many(120))
    page: Page = render(made, "all.html", limit=100_000)
    assert not page.whole
    files = dict(beside(made, "all.html"))
    assert len(files) == 100
    parsed = Parsed(page.html)
    assert "in files beside it, in all-runs/" in " ".join(parsed.by_id("runs").text.split())
    links = {e.attrs["href"] for e in parsed.all("a") if not e.attrs["href"].startswith("#")}
    assert links == {f"{folder_of('all.html')}/{name}" for name in files}
    one = Parsed(next(iter(files.values())))
    assert [e.attrs["href"] for e in one.all("a")] == ["../all.html#runs"]
    assert one.all("h1")[0].text == "Method 0 on toy-b0i2"
    shown = {e.attrs["id"] for html in files.values() for e in Parsed(html).elements if e.tag == "section"}
    assert shown == {f"run-{row['key']}" for row in made.rows}


def test_figures_are_drawn_once_however_often_the_page_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def drawn(rows: Any, painter: Any) -> Callable[[], Galleries]:
        asked.append(len(rows))
        return lambda: Galleries({}, (), False)

    monkeypatch.setattr("suite.report.page.galleries", drawn)
    made = report(many(100))
    whole = render(made)
    assert whole.whole
    assert not render(made, limit=len(whole.html.encode()) - 1).whole
    assert asked == [100, 100]
