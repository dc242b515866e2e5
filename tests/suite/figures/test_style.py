"""The look of methods: fixed, told apart by colour, marker and dashes, and by people of every kind of colour vision."""

from __future__ import annotations

from itertools import combinations

import pytest

from grace.methods import BUILT_IN
from suite.figures import figures
from suite.figures.style import COLOURS, DASHES, MARKERS, PARTS, STATES, STYLES, style
from tests.suite.figures.rows_for_tests import many, row

WHITE, NIGHT = "#FFFFFF", "#0D1117"
# How reds, greens and blues look without one kind of cones (Machado, Oliveira and Fernandes, TVCG 2009, severity 1).
VISIONS = {
    "usual": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))


def linear(colour: str) -> list[float]:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]


def times(matrix: tuple[tuple[float, ...], ...], vector: list[float]) -> list[float]:
    return [sum(a * b for a, b in zip(line, vector, strict=True)) for line in matrix]


def contrast(one: str, two: str) -> float:
    """The ratio of WCAG 2."""
    low, high = sorted(times(XYZ, linear(colour))[1] for colour in (one, two))
    return (high + 0.05) / (low + 0.05)


def lab(colour: str, vision: str) -> tuple[float, float, float]:
    seen = [max(0.0, part) for part in times(VISIONS[vision], linear(colour))]
    white = (0.95047, 1.0, 1.08883)
    x, y, z = (
        t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116
        for t in (part / whole for part, whole in zip(times(XYZ, seen), white, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_can_be_seen_on_light_and_dark(colour: str) -> None:
    assert contrast(colour, WHITE) >= 3
    assert contrast(colour, NIGHT) >= 3


def test_white_can_be_read_on_the_states_of_coverage() -> None:
    for colour in filter(None, STATES.values()):
        assert contrast(colour, WHITE) >= 4.5


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_stay_apart_for_every_kind_of_vision(vision: str) -> None:
    for one, two in [*combinations(COLOURS, 2), *combinations(PARTS.values(), 2)]:
        a, b = lab(one, vision), lab(two, vision)
        distance = sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5
        assert distance > 14, (one, two)  # two are a just noticeable difference


def test_no_two_of_our_methods_look_alike() -> None:
    figure = figures("curves", [row(method) for method in sorted(BUILT_IN)])[0]
    looks = [style(s.style) for s in figure.panels[0].series]
    assert len(set(looks)) == len(BUILT_IN)
    assert len({(look.colour, look.marker) for look in looks}) == len(BUILT_IN)
    assert len({(look.colour, look.line) for look in looks}) == len(BUILT_IN)  # without markers, too
    assert len({style(i)[:2] for i in range(STYLES)}) == len(COLOURS) * len(MARKERS)
    assert len(DASHES) == 3


def test_rivals_of_a_family_have_unlike_colours() -> None:
    colours: dict[str, list[str]] = {}
    rows = {each["method"]: each for each in many(1, seeds=1)}
    for s in figures("curves", list(rows.values()))[0].panels[0].series:
        colours.setdefault(rows[s.method]["family"], []).append(style(s.style).colour)
    for shown in colours.values():
        assert len(set(shown)) == min(len(shown), len(COLOURS))


@pytest.mark.parametrize("kind", ["curves", "params", "pareto"])
def test_a_method_looks_the_same_whoever_else_is_there(kind: str) -> None:
    rows = [*many(1), row("der", "dataset-b0i1+net=resnet18", method="theirs", title="Theirs", curve=[0.5] * 5)]
    everyone = {s.method: s.style for p in figures(kind, rows)[0].panels for s in p.series if s.method}
    for method in ("der", "memo", "theirs"):
        alone = figures(kind, [each for each in rows if each["method"] == method])[0]
        assert {s.style for p in alone.panels for s in p.series if s.method} == {everyone[method]}


def test_upper_bounds_are_drawn_otherwise() -> None:
    assert style(3, rival=False).line not in DASHES
