"""Numbers as people read them, and commands as they type them."""

from __future__ import annotations

import shlex

import pytest

from suite.cli.words import assignments, command, count, duration, rounded, seed_list, size, span
from suite.seeds import numbers
from suite.sweep import assigned, sweep_of


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        (None, "unknown"),
        ((4_010, 4_010), "4,010"),
        ((1_730, 2_900), "1,730-2,900"),
        ((463_504, 463_504), "463,504"),
        ((463_504, 4_635_040), "0.46-4.64 M"),
        ((11_700_000, 19_900_000), "11.7-19.9 M"),
        ((61_300_000, 61_300_000), "61.3 M"),
        ((116_000_000, 116_000_000), "116 M"),
        ((2_340_000_000, 2_340_000_000), "2.34 G"),
    ],
)
def test_spans(bounds: tuple[int, int] | None, text: str) -> None:
    assert span(bounds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999_999, "999,999"), (1_000_000, "1.00 M"), (12_345_678, "12.3 M")]
)
def test_rounding(number: int, text: str) -> None:
    assert rounded(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "under 1 s"), (45, "45 s"), (720, "12 min"), (12_000, "3 h 20 min"), (190_800, "2 d 5 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_and_sizes() -> None:
    assert (count(1, "run"), count(2_000, "run")) == ("1 run", "2,000 runs")
    assert (size(12), size(21_300), size(3_100_000), size(4 * 10**9)) == ("12 bytes", "21.3 kB", "3.1 MB", "4.0 GB")


@pytest.mark.parametrize(
    ("seeds", "text"), [([0], "0"), ([0, 1], "0,1"), ([0, 1, 2, 7], "0-2,7"), ([3, 2, 1], "3,2,1")]
)
def test_seed_lists_are_read_back(seeds: list[int], text: str) -> None:
    assert seed_list(seeds) == text
    assert numbers(text) == seeds


def test_settings_are_read_back() -> None:
    table = {"threshold": 0.5, "assess_view": "test", "expand": {"epochs": 3, "milestones": [1, 2]}}
    texts = assignments("grace", table)
    assert texts[2] == "method.grace.expand.epochs=3"
    typed = command("python run_suite.py", *texts)
    assert typed.startswith("python run_suite.py method.grace.threshold=0.5 ")
    empty = sweep_of({"methods": ["grace"], "protocols": ["digits-b0i2"]}, "")
    assert assigned(empty, shlex.split(typed)[2:]).method == {"grace": table}
