"""Comparing rows with published numbers where no store is needed: curves, heads, what sources leave open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import protocols
import suite.comparison
from suite.comparison import Compared, compared, spent
from suite.grouping import groups, streams
from suite.published import Published, identity_of, on, settings_of
from suite.results import result_row
from tests.suite.published_for_tests import finished

NAME = "cifar100-b50i25"
ENTRY = replace(
    on(protocols.get("cifar100-b0i10"), "replay")[0], protocol=protocols.get(NAME), values=(50.0,), errors=(0.2,)
)


def verdicts(
    monkeypatch: pytest.MonkeyPatch, *entries: Published, tolerance: float = 1.0, last: float = 50.0, **changes: Any
) -> list[Compared]:
    """Compare a run that ends at `last` % and averages as much, its row changed, with entries instead of the file."""
    monkeypatch.setattr(suite.comparison, "of", lambda method: [e for e in entries if e.method == method])
    made = finished(1, "replay", NAME, last)
    rows = [{**result_row(made), **changes}]
    across = streams(rows, [])
    (group,) = groups(rows, [], across)
    return list(compared(group, {across[0][1]: made.spec["protocol"]}, tolerance))


def test_a_curve_is_apart_by_the_mean_distance_of_its_points(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = replace(ENTRY, metric="curve", values=(80.0, 60.0, 50.0), errors=(0.7, 0.2, 0.0))
    ours = {"curve": [0.83, 0.58, 0.5]}  # 3, -2 and 0 points away: 5/3 on average, and 0.3 of reading error
    (line,) = verdicts(monkeypatch, curve, tolerance=1.37, **ours)
    assert (line.verdict, line.ours.mean) == ("agrees", pytest.approx(191 / 3))
    assert line.difference == pytest.approx(5 / 3)
    (line,) = verdicts(monkeypatch, curve, tolerance=1.36, **ours)
    assert line.verdict == "differs"


def test_a_curve_of_another_length_or_head_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = replace(ENTRY, metric="curve", values=(80.0, 60.0, 50.0), errors=(0.2,) * 3)
    assert verdicts(monkeypatch, curve, curve=[0.8, 0.6]) == []
    assert [line.setting for line in verdicts(monkeypatch, replace(curve, head="nme"), nme_avg=0.5)] == ["head"]


def test_an_unknown_head_is_whichever_comes_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = replace(ENTRY, head="unknown", values=(44.0,))
    (line,) = verdicts(monkeypatch, unknown, nme_avg=0.5, nme_last=0.445)
    assert (line.readout, line.verdict, line.remarks) == ("nme", "agrees", ("by nme: the head is not said",))
    (line,) = verdicts(monkeypatch, unknown, nme_avg=0.5, nme_last=0.3)
    assert (line.readout, line.verdict) == ("linear", "differs")


@pytest.mark.parametrize(("head", "last"), [("teacher", 62.0), ("student", 50.0), ("nme", 40.0), ("linear", 50.0)])
def test_the_head_of_the_source_is_the_one_compared(monkeypatch: pytest.MonkeyPatch, head: str, last: float) -> None:
    others = {"teacher_avg": 0.7, "teacher_last": 0.62, "nme_avg": 0.5, "nme_last": 0.4}
    (line,) = verdicts(monkeypatch, replace(ENTRY, head=head, values=(last,)), **others)
    assert (line.verdict, line.ours.mean) == ("agrees", pytest.approx(last))


def test_a_student_goes_before_the_linear_head(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = verdicts(monkeypatch, replace(ENTRY, head="student"), student_avg=0.5, student_last=0.3)
    assert (line.readout, line.verdict) == ("student", "differs")


def test_what_a_source_leaves_open_may_be_why(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = verdicts(monkeypatch, replace(ENTRY, backbone="unknown", values=(40.0,)))
    assert (line.verdict, line.setting, line.why) == ("not comparable", "backbone", "the source does not say")
    (line,) = verdicts(monkeypatch, replace(ENTRY, backbone="unknown"))
    assert (line.verdict, line.remarks) == ("agrees", ("backbone not said",))


def test_unknown_class_orders_are_a_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = verdicts(monkeypatch, replace(ENTRY, orders="unknown"), order_seed=7)
    assert (line.verdict, line.remarks) == ("agrees", ("orders not said",))


def test_settings_of_a_method_that_is_none_of_ours_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = verdicts(monkeypatch, replace(ENTRY, method="coil"), method="coil", config={"lr": 3})
    assert (line.verdict, line.remarks) == ("agrees", ("settings unchecked",))


def test_three_orders_are_wanted_for_an_average_over_three(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = verdicts(monkeypatch, replace(ENTRY, orders="3 orders"))
    assert (line.setting, line.why) == ("class orders", "1993, published 3 orders")


def test_a_method_that_keeps_no_exemplars_has_no_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(ENTRY, protocol=protocols.get(f"{NAME}+m=5000"), exemplars="none")
    assert [line.verdict for line in verdicts(monkeypatch, other, exemplars=0)] == ["agrees"]
    assert [line.setting for line in verdicts(monkeypatch, other, exemplars=12)] == ["exemplars"]


def test_settings_are_compared_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each later setting differs too: the first is named."""
    config = {"initial": {"epochs": 1}}
    entry = replace(ENTRY, backbone="resnet20", orders="5", head="nme", recipe="another", values=(10.0,))
    for setting, fixed in [
        ("backbone", {"backbone": "resnet32"}),
        ("class orders", {"orders": "1993"}),
        ("head", {"head": "linear"}),
        ("recipe", {"recipe": ""}),
    ]:
        (line,) = verdicts(monkeypatch, entry, config=config)
        assert line.setting == setting
        entry = replace(entry, **fixed)  # type: ignore[arg-type]
    (line,) = verdicts(monkeypatch, entry)
    assert (line.setting, line.verdict) == ("", "differs")


def test_a_protocol_with_a_shorter_schedule_has_other_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(ENTRY, protocol=replace(protocols.get(NAME), schedule=0.5))
    (line,) = verdicts(monkeypatch, entry)
    assert (line.setting, line.why) == ("epochs", "1 of the usual, published 0.5")


def aligned(method: str, exemplars: int, backbone: str, parameters: int, size: int) -> dict[str, Any]:
    """What a row says of a run at equal memory on CIFAR-100 B0I10; so many exemplars fill its classes evenly."""
    held = exemplars // 100 * 100
    return {"method": method, "exemplars": held, "exemplar_mb": held * 3072 / 2**20, "budget_mb": size / 2**20,
            "backbone": backbone, "backbone_params_final": parameters}  # fmt: skip


DER = 10 * 463_504 * 4 + 2_000 * 3_072  # bytes: ten ResNet-32 and 2,000 images, 23.54 MiB
ALIGNED = {**identity_of(protocols.get("cifar100-b0i10")), "alignment": "align=der"}


@pytest.mark.parametrize(
    ("exemplars", "backbone", "parameters", "size"),
    [
        (7_431, "resnet32", 463_504, DER),
        (3_312, "resnet32", 112_016 + 10 * 351_488, DER),
        (2_000, "resnet32", 10 * 463_504, DER),
        (2_096, "convnet2", 10 * 38_976, 463_504 * 4 + 2_000 * 3_072),
    ],
)
def test_an_aligned_run_is_one_with_the_exemplars_it_got(
    exemplars: int, backbone: str, parameters: int, size: int
) -> None:
    """The survey's numbers at equal memory stand under their numbers of exemplars."""
    found = spent(ALIGNED, aligned("wa", exemplars, backbone, parameters, size))
    assert found == identity_of(protocols.get(f"cifar100-b0i10+m={exemplars}+net={backbone}"))


def test_an_aligned_run_without_exemplars_has_the_budget_of_the_protocol() -> None:
    run = {**aligned("lwf", 0, "resnet32", 463_504, DER), "exemplars": 0}
    assert spent(ALIGNED, run) == identity_of(protocols.get("cifar100-b0i10"))


def test_a_protocol_is_no_other_for_what_its_runs_hold() -> None:
    plain = identity_of(protocols.get("cifar100-b0i10"))
    assert spent(plain, aligned("wa", 7_431, "resnet32", 463_504, DER)) == plain


def test_the_benchmark_is_not_what_an_aligned_protocol_is() -> None:
    """Where a run does not say what it got, the budget alone must not pass for the protocol's own."""
    run = {**aligned("wa", 7_431, "resnet32", 463_504, DER), "budget_mb": None}
    benchmark = next(entry for entry in on(protocols.get("cifar100-b0i10"), "wa") if entry.metric == "last")
    assert benchmark.differing(spent(ALIGNED, run)) == ["exemplars"]
    assert settings_of(ALIGNED)["exemplars"] == "2000+align=der"
    assert benchmark.differing(spent(ALIGNED, {**run, "budget_mb": DER / 2**20})) == ["exemplars"]
