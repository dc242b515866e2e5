"""Spaces: how they are typed, what is searched where nobody said, draws that do not depend on their number."""

from __future__ import annotations

from math import log

import pytest

from grace.methods import METHODS
from suite.declared import declared
from suite.errors import Exit, SuiteError
from suite.resolver import choice
from suite.space import Among, Span, drawn, nested, parse, usual
from suite.sweep import Sweep, find_protocol

WA = declared("wa").config
FOSTER = declared("foster").config


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["temperature=1..4"], {"temperature": Span(1, 4)}),
        (["later.lr=0.01..0.2 log"], {"later.lr": Span(0.01, 0.2, log=True)}),
        (["later.lr=1e-4..1E-1", "log"], {"later.lr": Span(1e-4, 0.1, log=True)}),  # not quoted
        (["later.lr = .5 .. 1."], {"later.lr": Span(0.5, 1)}),
        (["later.epochs=1..8"], {"later.epochs": Span(1, 8, whole=True)}),
        (["temperature={1, 2.5}"], {"temperature": Among((1, 2.5))}),
        (["temperature=1", "temperature=2"], {"temperature": Among((1, 2))}),  # what a shell makes of {1,2}
        (["later.milestones={[1, 2], [3]}"], {"later.milestones": Among(([1, 2], [3]))}),
    ],
)
def test_spaces_as_they_are_typed(texts: list[str], found: object) -> None:
    assert parse(texts, WA) == found


def test_words_need_no_quotes() -> None:
    assert parse(["new_on_old={ft,az}"], FOSTER) == {"new_on_old": Among(("ft", "az"))}


@pytest.mark.parametrize(
    ("texts", "words", "code"),
    [
        (["later.lt=1..2"], '"later.lr"', Exit.SPEC),
        (["temprature=1..2"], 'did you mean "temperature"', Exit.SPEC),
        (["later=1..2"], "unknown field", Exit.SPEC),
        (["temperature"], "FIELD=0.1..0.9", Exit.USAGE),
        (["temperature=4..1"], "1..4", Exit.USAGE),
        (["temperature=a..b"], "no space", Exit.USAGE),
        (["temperature=1..1e999"], "the lower end", Exit.USAGE),
        (["temperature=0..1 log"], "above 0", Exit.USAGE),
        (["later.epochs=1.5..3"], "whole numbers", Exit.USAGE),
        (["later.milestones=1..3"], "no number", Exit.USAGE),
        (["temperature=1..2", "temperature=2..3"], "already", Exit.USAGE),
        (["temperature={}"], "empty", Exit.USAGE),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_line(texts: list[str], words: str, code: Exit) -> None:
    with pytest.raises(SuiteError) as caught:
        parse(texts, WA)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.code == code


def default_space(method: str) -> dict[str, Span | Among]:
    protocol, sweep = find_protocol("digits-b0i2"), Sweep(methods=[method], protocols=["digits-b0i2"])

    def allowed(path: str, value: float) -> bool:
        try:
            choice(sweep.model_copy(update={"method": {method: nested({path: value})}}), method, protocol)
        except SuiteError:
            return False
        return True

    return usual(declared(method).config, choice(sweep, method, protocol).config, allowed)


def test_by_default_numbers_vary_by_a_factor_of_three_and_fractions_by_their_distance_to_one() -> None:
    found = default_space("foster")  # beta2 0.97 and below 1, lambda_okd 1, temperature 2, rates 0.1
    assert {path: str(each) for path, each in found.items()} == {
        "initial.lr": "0.03333..0.3 log",
        "boost.lr": "0.03333..0.3 log",
        "compress.lr": "0.03333..0.3 log",
        "beta2": "0.91..0.99",
        "lambda_okd": "0.3333..3 log",
        "temperature": "0.6667..6 log",
    }


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_has_a_space_of_which_every_draw_is_allowed(method: str) -> None:
    space = default_space(method)
    sweep = Sweep(methods=[method], protocols=["digits-b0i2"])
    assert space
    for values in drawn(space, 0, 5):
        choice(sweep.model_copy(update={"method": {method: values}}), method, find_protocol("digits-b0i2"))


def test_a_draw_does_not_depend_on_how_many_there_are() -> None:
    space = {"later.lr": Span(0.01, 1, log=True), "temperature": Span(1, 4), "later.epochs": Span(1, 3, whole=True)}
    many = drawn(space, 7, 40)
    assert many[:5] == drawn(space, 7, 5)
    assert many != drawn(space, 8, 40)
    assert len(many) == 40
    assert all(0.01 <= each["later"]["lr"] <= 1 and 1 <= each["temperature"] <= 4 for each in many)
    assert {each["later"]["epochs"] for each in many} == {1, 2, 3}


def test_draws_fill_the_range_evenly_on_their_scale() -> None:
    values = [each["a"] for each in drawn({"a": Span(0.01, 1, log=True)}, 0, 400)]
    shares = [log(value / 0.01) / log(100) for value in values]
    assert [round(sum(low <= share < low + 0.25 for share in shares) / 100, 0) for low in (0, 0.25, 0.5, 0.75)] == [
        1
    ] * 4


def test_a_small_space_is_tried_once_through() -> None:
    found = drawn({"a": Among((1, 2)), "b": Among(("x", "y", "z"))}, 0, 50)
    assert sorted((each["a"], each["b"]) for each in found) == [(a, b) for a in (1, 2) for b in "xyz"]
