"""Settings: names, types and ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from grace.checks import require
from grace.training.phase import Recipe
from suite.configure import build, plain, recipes
from suite.errors import Exit, SuiteError


@dataclass(frozen=True)
class Config:
    learn: Recipe = Recipe(200, milestones=(60, 120))
    rate: float = 0.5
    count: int = 3
    flag: bool = False
    view: Literal["train", "test"] = "train"
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[float, str] = (1.0, "a")

    def __post_init__(self) -> None:
        require(0 <= self.rate <= 1, f"rate must lie in [0, 1], not {self.rate}")


def test_values_go_over_defaults_and_come_back_plain() -> None:
    built = build(Config, {"learn": {"epochs": 5}, "rate": 1, "sizes": [4], "pair": [2, "b"], "view": "test"})
    assert built == Config(Recipe(5, milestones=(60, 120)), 1.0, 3, False, "test", (4,), (2.0, "b"))
    assert type(built.rate) is float  # 1 and 1.0 are the same run
    assert plain(built)["sizes"] == [4]
    assert plain(built)["learn"]["milestones"] == [60, 120]
    assert build(Config, plain(built)) == built
    assert list(recipes(built)) == ["learn"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rat": 1.0}, 'm: unknown field "rat"; did you mean "rate"?'),
        ({"learn": {"epoch": 1}}, 'm.learn: unknown field "epoch"; did you mean "epochs"?'),
        ({"rate": "abc"}, 'm.rate: a number is wanted, not "abc"'),
        ({"rate": True}, "m.rate: a number is wanted, not true"),
        ({"rate": float("nan")}, "m.rate: a number is wanted, not NaN"),
        ({"rate": 10**400}, "m.rate: a number is wanted, not 1000"),
        ({"rate": 1.5}, r"m: rate must lie in \[0, 1\], not 1.5"),
        ({"count": 1.5}, "m.count: a whole number is wanted, not 1.5"),
        ({"count": 3.0}, "m.count: a whole number is wanted, not 3.0"),
        ({"count": True}, "m.count: a whole number is wanted, not true"),
        ({"flag": 1}, "m.flag: true or false is wanted, not 1"),
        ({"view": "tst"}, 'm.view: one of "train", "test" is wanted, not "tst"'),
        ({"sizes": 3}, "m.sizes: a list is wanted, not 3"),
        ({"sizes": [1, "x"]}, r'm.sizes\[1\]: a whole number is wanted, not "x"'),
        ({"pair": [1.0]}, "m.pair: a list"),
        ({"learn": 5}, "m.learn: a table of epochs, lr, .* is wanted, not 5"),
        ({"learn": {"epochs": 0}}, "m.learn: epochs must be at least 1, not 0"),
        ({"learn": {"milestones": [5, 3]}}, "m.learn: milestones must be rising"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message) as error:
        build(Config, values, "m")
    assert error.value.code is Exit.SPEC
    assert "\n" not in str(error.value)
