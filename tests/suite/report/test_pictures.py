"""Which figures the page has: of the protocols that matter most, no more than a page bears, each with its words."""

from __future__ import annotations

from typing import Any

import pytest

from suite.figures import Figure, Panel, figures
from suite.report.pictures import KINDS, MANY, MOST, MOST_OF_MANY, PANELS, galleries
from suite.results import result_row
from tests.suite.records_for_tests import record, ten_rows

Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was drawn, without its being drawn."""
    pytest.importorskip("matplotlib")
    found: list[tuple[str, str]] = []

    def draw(figure: Figure, form: str, *, ids: str) -> bytes:
        found.append((figure.kind, figure.id))
        assert (form, ids) == ("svg", figure.id)
        return b'<?xml version="1.0"?>\n<svg viewBox="0 0 100 50"><g/></svg>'

    monkeypatch.setattr("suite.figures.draw.draw", draw)
    return found


def on(protocols: int, runs: int = 1) -> Rows:
    """One method on many protocols, the later ones with more runs."""
    row = result_row(record())
    return [
        {**row, "key": f"{i:08x}{seed:08x}", "protocol": f"toy-b{i}i2", "protocol_id": f"{i:08x}", "train_seed": seed}
        for i in range(protocols)
        for seed in range(runs + i)
    ]


def test_each_figure_is_drawn_once_and_told_in_words(drawn: list[tuple[str, str]]) -> None:
    rows = ten_rows()
    found = galleries(rows)()
    assert (tuple(found.kinds), found.left, found.drawn) == (KINDS, [], True)
    assert len(drawn) == len(set(drawn)) == sum(map(len, found.kinds.values()))
    (curves,) = found.kinds["curves"]
    assert curves.svg.startswith(f'<svg role="img" aria-label="{figures("curves", rows)[0].alt[:20]}')
    assert curves.width == 220
    assert curves.csv.startswith("panel,")
    assert found.kinds["auc"] == []


def test_the_protocols_with_most_methods_and_runs_are_drawn() -> None:
    rows = on(MOST + 2)
    rows.append({**rows[0], "method": "other", "key": "f" * 16})
    found = galleries(rows)()
    assert found.left == ["toy-b2i2", "toy-b1i2"]
    (curves,) = found.kinds["curves"]
    assert [panel.title for panel in curves.figure.panels] == [f"toy-b{i}i2" for i in (0, 3, 4, 5, 6, 7)]


def test_of_thousands_of_runs_fewer_are_drawn() -> None:
    assert len(galleries(on(3, MANY))().left) == 3 - MOST_OF_MANY


def test_points_of_a_ladder_are_drawn_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, set[str]] = {}

    def asking(kind: str, rows: Rows) -> list[Figure]:
        asked[kind] = {row["protocol"] for row in rows}
        return []

    monkeypatch.setattr("suite.report.pictures.figures", asking)
    row = result_row(record())
    galleries([{**row, "protocol": name} for name in ("toy-b0i2", "toy-b0i2+mb=12", "toy-b0i2+auc=1")])()
    assert asked.pop("auc") == {"toy-b0i2", "toy-b0i2+mb=12", "toy-b0i2+auc=1"}
    assert set(map(frozenset, asked.values())) == {frozenset({"toy-b0i2", "toy-b0i2+mb=12"})}


def test_no_more_panels_than_a_page_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = Panel("p", "x", "y")
    made = [Figure("curves", f"f{i}", "t", (panel,) * 5, "words") for i in range(4)]
    monkeypatch.setattr("suite.report.pictures.figures", lambda kind, rows: made)
    assert [picture.figure.id for picture in galleries(ten_rows())().kinds["curves"]] == ["f0", "f1"]
    assert PANELS == 12


def test_without_what_draws_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.report.pictures.find_spec", lambda name: None)
    found = galleries(ten_rows())()
    assert (found.kinds, found.drawn) == ({}, False)
