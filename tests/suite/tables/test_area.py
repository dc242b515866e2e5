"""The table of areas: seeds with all points alone, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from suite.grouping import Wanted
from suite.table import Table
from suite.tables import table
from tests.suite.test_table import cell, line, made

BUDGETS = (7.6, 12.4, 16.0, 19.8, 23.5)
FOSTER_LIKE = (0.66, 0.69, 0.705, 0.72, 0.725)


def point(
    number: int, k: int, avg: float, base: str = "toy-b0i2", budgets: tuple[float, ...] = BUDGETS, **changes: Any
) -> dict[str, Any]:
    return made(number, protocol=f"{base}+auc={k}", protocol_id=f"id{k}", alignment=f"auc={k}", base_protocol=base,
                budget_mb=budgets[k - 1], avg=avg, last=avg - 0.1, **changes)  # fmt: skip


def points(start: int, accuracies: tuple[float, ...], **changes: Any) -> list[dict[str, Any]]:
    return [point(start + k, k, avg, **changes) for k, avg in enumerate(accuracies, 1)]


def test_areas_by_hand() -> None:
    rows = points(0, (0.5, 0.7), budgets=(2.0, 6.0)) + points(10, (0.6, 0.7), budgets=(2.0, 6.0), method="anchor")
    found = table("auc", rows)
    assert [heading.protocol for heading in found.headings] == ["toy-b0i2"]
    assert found.headings[0].about == "3 tasks, 6 classes, 2 budgets, 2.00-6.00 MiB"
    assert cell(found, "Widen", "auc_a").value == pytest.approx(4 * 0.6)
    assert cell(found, "Widen", "auc_a_span").mean == "60.0"
    assert cell(found, "Widen", "auc_l").mean == "2.00"
    assert cell(found, "Widen", "auc_l_span").mean == "50.0"
    assert cell(found, "Widen", "points").mean == "2"
    assert cell(found, "Anchor", "auc_a").mark == "best"


def test_published_points_give_the_published_area() -> None:
    """FOSTER's published curve at the survey's budgets integrates to about its published 11.12."""
    found = table("auc", points(0, FOSTER_LIKE, base="cifar100-b0i10"))
    by_hand = 4.8 * (0.66 + 0.69) / 2 + 3.6 * (0.69 + 0.705) / 2 + 3.8 * (0.705 + 0.72) / 2 + 3.7 * (0.72 + 0.725) / 2
    assert cell(found, "Widen", "auc_a").value == pytest.approx(by_hand)
    assert cell(found, "Widen", "auc_a").mean == f"{by_hand:.2f}"
    assert by_hand == pytest.approx(11.13, abs=0.01)


def test_seeds_that_lack_a_point_are_left_out_and_told() -> None:
    rows = points(0, FOSTER_LIKE) + points(10, FOSTER_LIKE[:4], seed=1) + points(20, (0.6,) * 5, method="anchor")
    found = table("auc", rows)
    entry = line(found, "Widen").entries[0]
    assert (entry.n, entry.missing, entry.short) == (1, 1, True)
    assert "Widen on toy-b0i2: 1 seed left out, without auc=5" in found.warnings
    assert cell(found, "Widen", "auc_a").deviation == ""


def test_the_ladder_of_the_backbone_counts_not_what_there_happens_to_be() -> None:
    found = table("auc", [*points(0, FOSTER_LIKE[:3], base="cifar100-b0i10"),
                          *points(10, FOSTER_LIKE, method="anchor", base="cifar100-b0i10")])  # fmt: skip
    assert line(found, "Widen").entries[0].n == 0
    assert "Widen on cifar100-b0i10: 1 seed left out, without auc=4, auc=5" in found.warnings
    assert line(found, "Anchor").entries[0].n == 1
    assert next(iter(found.headings)).about == "3 tasks, 6 classes, 5 budgets, 7.60-23.50 MiB"
    alone = table("auc", points(0, FOSTER_LIKE[:3], base="cifar100-b0i10"))
    assert (line(alone, "Widen").entries[0].n, line(alone, "Widen").entries[0].missing) == (0, 1)
    assert alone.headings[0].about == "no seed has all 5 points yet"


def test_seeds_are_averaged_after_integration() -> None:
    rows = points(0, (0.5, 0.7), budgets=(2.0, 6.0)) + points(10, (0.7, 0.9), budgets=(2.0, 6.0), seed=1)
    found = cell(table("auc", rows), "Widen", "auc_a")
    assert found.value == pytest.approx((2.4 + 3.2) / 2)
    assert found.spread == pytest.approx(0.8 / 2**0.5)


def test_variants_keep_apart_and_share_points_that_have_one() -> None:
    budgets = (2.0, 6.0)
    rows = [point(1, 1, 0.5, budgets=budgets), point(2, 2, 0.7, budgets=budgets),
            point(3, 2, 0.9, budgets=budgets, config={"lr": 0.5, "learn": {"epochs": 2}})]  # fmt: skip
    found = table("auc", rows)
    means = {each.name: each.entries[0].cells[0].mean for block in found.blocks for each in block.lines}
    assert means == {"Widen lr=0.1": "2.40", "Widen lr=0.5": "2.80"}


def test_wide_ladders_have_one_decimal_and_narrow_ones_two() -> None:
    wide = (329.0, 493.0, 755.0, 872.0, 1180.0, 1273.0)
    rows = points(0, (0.75,) * 6, base="imagenet100-b50i5", budgets=wide) + points(10, FOSTER_LIKE)
    found = table("auc", rows)
    by_protocol = {heading.protocol: found.under(heading)[0].digits for heading in found.headings}
    assert by_protocol == {"imagenet100-b50i5": 1, "toy-b0i2": 2}
    index = [heading.protocol for heading in found.headings].index("imagenet100-b50i5")
    assert line(found, "Widen").entries[index].cells[0].mean == "708.0"  # 944 * 0.75


def test_a_ladder_that_cannot_be_climbed_is_explained() -> None:
    wanted = [Wanted(f"{k:016x}", "anchor", f"toy-b0i2+auc={k}") for k in (1, 2)]
    wanted += [Wanted("x", "widen", "toy-b0i2+auc=1", "Widen", "expansion", "", "its backbone is larger"),
               Wanted("y", "widen", "toy-b0i2+auc=2", "Widen", "expansion")]  # fmt: skip
    rows = points(0, (0.5, 0.7), budgets=(2.0, 6.0), method="anchor")
    found = table("auc", rows, wanted)
    assert line(found, "Widen").entries[0].reason == "its backbone is larger"
    assert "No Widen on toy-b0i2: its backbone is larger." in found.notes


def test_no_number_at_a_point_is_no_area() -> None:
    found: Table = table("auc", points(0, (0.5, float("nan")), budgets=(2.0, 6.0)))
    assert cell(found, "Widen", "auc_a").mean == ""
    assert any("not a number" in warning for warning in found.warnings)
