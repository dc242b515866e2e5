"""Figures drawn by another process are those that this one draws, and it draws them where the other fails."""

from __future__ import annotations

import pytest

from suite.figures import figures
from suite.report.painter import Painter, drawn
from tests.suite.records_for_tests import ten_rows


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs the tests has threads of its own, and without them a process is copied."""
    monkeypatch.setattr("suite.report.painter.threading.active_count", lambda: 1)


def test_another_process_draws_the_same() -> None:
    asked = figures("params", ten_rows())
    apart, here = Painter(apart=True).ask(asked)(), Painter().ask(asked)()
    assert apart == here == drawn(asked)
    assert all("<svg" in text for text in apart)


def test_what_fails_in_another_process_is_drawn_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.report.painter._serve", lambda pipe: pipe.recv() and None)
    asked = figures("params", ten_rows())[:1]
    assert Painter(apart=True).ask(asked)() == drawn(asked)
