"""Paired comparison over rows worked out by hand."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest

from suite.errors import Exit, SuiteError
from suite.metric import METRICS, metric_of
from suite.paired import Comparison, compare
from suite.render import paired as rendered
from suite.results import result_row
from tests.suite.records_for_tests import record, ten_rows


def row(method: str, seed: int, value: float | None, *, order: int = 1993, **changes: Any) -> dict[str, Any]:
    """A run of a toy protocol with a value for every metric; its key says which run it is."""
    known = {"key": f"{method}-{changes}-{order}-{seed}", "method": method, "title": method.title()}
    settings = {"order_seed": order, "train_seed": seed, "data": f"images-{order}"}
    return {**ROW, **dict.fromkeys(METRICS, value), **known, **settings, **changes}


ROW = result_row(record())


def pairs(*values: tuple[float, float], **changes: Any) -> list[dict[str, Any]]:
    """Runs of widen and anchor, a pair for each two values."""
    return [
        row(name, seed, two[i], **changes)
        for i, name in enumerate(("widen", "anchor"))
        for seed, two in enumerate(values)
    ]


def test_pairs_of_the_same_order_and_seed() -> None:
    """Drift ends at (1 + 1/2 + 1/3) / 3 and (1 + 1/2 + 3/10) / 3 on average, Anchor at 5/6 and 143/180."""
    found = compare(ten_rows(), "drift", "anchor")
    (stream,) = found.streams
    assert [(pair.order_seed, pair.train_seed) for pair in stream.pairs] == [(1993, 0), (1993, 1)]
    assert [pair.a for pair in stream.pairs] == pytest.approx([11 / 18, 3 / 5])
    assert [pair.b for pair in stream.pairs] == pytest.approx([5 / 6, 143 / 180])
    assert stream.difference == pytest.approx((11 / 18 - 5 / 6 + 3 / 5 - 143 / 180) / 2)
    assert stream.difference == pytest.approx(stream.mean_a - stream.mean_b)
    assert (stream.wins, stream.ties, stream.losses) == (0, 0, 2)
    assert (found.title_a, found.title_b, found.metric.field) == ("Drift", "Anchor", "avg")
    ((alone),) = found.unpaired
    assert (alone.side, alone.protocol, alone.why) == ("anchor", "toy-b4i2", "drift was not run there")


def test_over_protocols_every_protocol_counts_once() -> None:
    """Three pairs 10 points apart on one protocol weigh as much as one pair -40 points apart on another."""
    rows = pairs((0.6, 0.5), (0.7, 0.6), (0.8, 0.7)) + pairs((0.1, 0.5), protocol="toy-b4i2", protocol_id="other")
    found = compare(rows, "widen", "anchor")
    assert [each.protocol for each in found.streams] == ["toy-b0i2", "toy-b4i2"]
    assert found.difference == pytest.approx((0.1 - 0.4) / 2)
    assert (found.wins, found.ties, found.losses, found.pairs) == (1, 0, 1, 4)


def test_less_forgetting_is_better() -> None:
    rows = pairs((0.1, 0.3), (0.2, 0.2), (0.3, 0.1), (0.0, 0.5))
    by_metric = {
        name: compare(rows, "widen", "anchor", name).streams[0] for name in ("avg", "forgetting", "memory_mb", "bwt")
    }
    assert {name: (s.wins, s.ties, s.losses) for name, s in by_metric.items()} == {
        "avg": (1, 1, 2),
        "forgetting": (2, 1, 1),
        "memory_mb": (2, 1, 1),
        "bwt": (1, 1, 2),
    }


def test_equal_up_to_rounding_is_a_tie() -> None:
    found = compare(pairs((0.1 + 0.2, 0.3), (0.5, 0.5 - 1e-9)), "widen", "anchor")
    assert (found.streams[0].wins, found.streams[0].ties) == (1, 1)


def test_b_beside_a_is_the_mirror_image() -> None:
    rows = pairs((0.61, 0.5), (0.72, 0.74), (0.83, 0.7), (0.55, 0.52), (0.4, 0.1), (0.9, 0.88))
    one, other = compare(rows, "widen", "anchor").streams[0], compare(rows, "anchor", "widen").streams[0]
    assert (one.wins, one.losses) == (other.losses, other.wins) == (5, 1)
    assert one.interval is not None
    assert other.interval is not None
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))
    assert one.interval[0] < one.difference < one.interval[1]


def test_the_order_of_rows_is_free() -> None:
    rows = pairs((0.61, 0.5), (0.72, 0.74), (0.83, 0.7)) + pairs((0.6, 0.7), (0.5, 0.4), order=7)
    assert compare(rows[::-1], "widen", "anchor") == compare(rows, "widen", "anchor")


@pytest.mark.parametrize(("number", "few"), [(1, True), (2, True), (4, True), (5, False)])
def test_below_five_pairs_there_are_too_few(number: int, few: bool) -> None:
    (stream,) = compare(pairs(*[(0.1 * i, 0.2) for i in range(number)]), "widen", "anchor").streams
    assert (stream.few, stream.interval is None) == (few, number == 1)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"train_seed": 5}, "no such run of anchor"),
        ({"order_seed": 5}, "no such run of anchor"),
        ({"protocol": "toy-b4i2"}, "anchor was not run there"),
        ({"protocol_id": "another"}, "anchor was run on another protocol of that name"),
        ({"precision": "bf16"}, "anchor was run with fp32, not bf16"),
        ({"workers": 2}, "anchor was run with fp32, not fp32, 2 workers"),
        ({"data": "others"}, "anchor was run on other images"),
        ({"avg": None}, "it has no avg"),
        ({"avg": float("nan")}, "it has no avg"),
    ],
)
def test_a_run_without_its_like_is_named_with_the_reason(changes: dict[str, Any], why: str) -> None:
    rows = pairs((0.6, 0.5), (0.7, 0.6))
    rows[1] |= changes
    found = compare(rows, "widen", "anchor")
    assert [len(each.pairs) for each in found.streams] == [1]
    assert [run.why for run in found.unpaired if run.side == "widen"] == [why]
    assert {run.key for run in found.unpaired} == {rows[1]["key"], rows[3]["key"]}


def test_a_value_that_the_other_lacks() -> None:
    rows = pairs((0.6, 0.5), (0.7, float("nan")))
    reasons = [(run.side, run.why) for run in compare(rows, "widen", "anchor").unpaired]
    assert reasons == [("widen", "that run of anchor has no avg"), ("anchor", "it has no avg")]


def test_smoke_runs_and_unsettled_ones_are_left_out() -> None:
    rows = pairs((0.6, 0.5), (0.7, 0.6), (0.8, 0.7), (0.9, 0.8))
    rows[0]["smoke"] = rows[5]["settled"] = True
    rows[1]["settled"] = rows[6]["settled"] = False
    found = compare(rows, "widen", "anchor")
    assert [pair.train_seed for pair in found.streams[0].pairs] == [3]
    assert (found.smoke, found.unsettled) == (1, 2)
    smoke = [{**each, "smoke": True} for each in rows]
    assert compare(smoke, "widen", "anchor", allow_smoke=True).pairs == 2
    with pytest.raises(SuiteError, match="several settings; name one: widen@smoke=false, widen@smoke=true"):
        compare(rows, "widen", "anchor", allow_smoke=True)


def test_precisions_are_not_mixed() -> None:
    rows = pairs((0.6, 0.5), (0.7, 0.6)) + pairs((0.6, 0.9), precision="bf16")
    found = compare(rows, "widen", "anchor")
    assert [(each.label, len(each.pairs)) for each in found.streams] == [("toy-b0i2 (bf16)", 1), ("toy-b0i2 (fp32)", 2)]


def test_workers_are_not_mixed_but_compared() -> None:
    rows = pairs((0.6, 0.5), (0.7, 0.6)) + pairs((0.6, 0.9), workers=2)
    labels = [each.label for each in compare(rows, "widen", "anchor").streams]
    assert labels == ["toy-b0i2 (fp32)", "toy-b0i2 (fp32, 2 workers)"]
    found = compare(rows, "widen@workers=2", "widen@workers=1")
    assert [(each.label, len(each.pairs)) for each in found.streams] == [("toy-b0i2", 1)]


def test_two_protocols_of_one_name_are_two() -> None:
    rows = pairs((0.6, 0.5)) + pairs((0.6, 0.9), protocol_id="another")
    found = compare(rows, "widen", "anchor")
    assert sorted(each.label for each in found.streams) == sorted(
        [f"toy-b0i2 #{ROW['protocol_id']}", "toy-b0i2 #another"]
    )


def test_variants_of_one_method() -> None:
    rows = [row("widen", seed, 0.1 * lr + seed / 10, config={"lr": lr}) for seed in (0, 1) for lr in (1, 2)]
    found = compare(rows, "widen@lr=2", "widen@lr=1")
    assert (found.title_a, found.title_b) == ("Widen@lr=2", "Widen@lr=1")
    assert [pair.difference for pair in found.streams[0].pairs] == pytest.approx([0.1, 0.1])
    assert found.unpaired == ()


def test_precisions_of_one_method() -> None:
    rows = [row("widen", 0, 0.5), row("widen", 0, 0.4, precision="bf16")]
    found = compare(rows, "widen@precision=bf16", "widen@precision=fp32")
    assert [each.label for each in found.streams] == ["toy-b0i2"]
    assert found.difference == pytest.approx(-0.1)


def test_several_settings_are_no_repetitions() -> None:
    rows = [row("widen", seed, 0.5, config={"lr": seed, "b": {"x": 1}}) for seed in (0, 1)]
    rows += [row("anchor", seed, 0.4) for seed in (0, 1)]
    with pytest.raises(SuiteError, match=r"widen was run on toy-b0i2 with several settings; name one: "
                                         r"widen@lr=0, widen@lr=1$"):  # fmt: skip
        compare(rows, "widen", "anchor")
    assert compare(rows, "widen@lr=1", "anchor").pairs == 1
    elsewhere = [{**each, "protocol": "toy-b4i2", "key": each["key"] + "x"} for each in rows[:2]]
    found = compare([*rows[1:], *elsewhere], "widen", "anchor")  # where anchor was not run it is nobody's trouble
    assert (found.pairs, len(found.unpaired)) == (1, 3)


@pytest.mark.parametrize(
    ("a", "b", "code", "words"),
    [
        ("wyden", "anchor", Exit.SPEC, 'unknown method "wyden"; did you mean "widen"?'),
        ("widen", "joynt", Exit.SPEC, 'unknown method "joynt"; did you mean "joint"?'),
        ("widen", "joint", Exit.NOTHING, "none of 10 finished runs is one of joint"),
        ("widen@lr=7", "anchor", Exit.NOTHING, "none of 10 finished runs is one of widen@lr=7"),
        ("widen@lrr=7", "anchor", Exit.SPEC, 'unknown setting of widen "lrr"; did you mean "lr"?'),
        ("widen@lr", "anchor", Exit.USAGE, '"widen@lr": METHOD or METHOD@FIELD=VALUE is wanted'),
        ("@lr=7", "anchor", Exit.USAGE, '"@lr=7": METHOD or METHOD@FIELD=VALUE is wanted'),
        ("", "anchor", Exit.USAGE, "METHOD or METHOD@FIELD=VALUE is wanted"),
        ("widen", "widen", Exit.USAGE, "widen beside itself"),
        ("widen", "widen@lr=0.1", Exit.USAGE, "widen and widen@lr=0.1 are the same runs"),
    ],
)
def test_what_cannot_be_compared(a: str, b: str, code: Exit, words: str) -> None:
    with pytest.raises(SuiteError) as raised:
        compare(ten_rows(), a, b)
    assert words in str(raised.value)
    assert raised.value.code is code


def test_no_runs_in_common_say_why() -> None:
    rows = [row("widen", 0, 0.5), row("widen", 1, 0.5, protocol="toy-b4i2"), row("anchor", 3, 0.4)]
    with pytest.raises(SuiteError) as raised:
        compare(rows, "widen", "anchor")
    assert raised.value.code is Exit.NOTHING
    assert str(raised.value) == (
        "no run of widen has its like of anchor: widen on toy-b0i2: no such run of anchor; "
        "anchor on toy-b0i2: no such run of widen; widen on toy-b4i2: anchor was not run there"
    )
    with pytest.raises(SuiteError, match="widen and anchor: nothing but smoke runs") as raised:
        compare([{**each, "smoke": True} for each in rows], "widen", "anchor")
    assert raised.value.code is Exit.NOTHING


def test_unlike_environments_are_a_warning() -> None:
    rows = pairs((0.6, 0.5))
    rows[0]["torch"] = "2.9.0"
    assert any("unlike environments: torch" in line for line in compare(rows, "widen", "anchor").warnings)


def test_json_holds_it_whole() -> None:
    plain = json.loads(json.dumps(compare(ten_rows(), "prune_it", "anchor", "last").plain(), allow_nan=False))
    assert [each["protocol"] for each in plain["streams"]] == ["toy-b0i2", "toy-b4i2"]
    assert plain["streams"][1]["interval"] is None
    assert plain["metric"]["field"] == "last"


def test_a_comparison_is_a_plain_value() -> None:
    found = compare(ten_rows(), "prune_it", "anchor")
    assert isinstance(found, Comparison)
    assert replace(found) == found
    assert hash(found)


@pytest.mark.parametrize("name", [*METRICS, "nme_avg", "student_top5_last", "linear_forgetting"])
def test_metrics_are_fields_of_rows(name: str) -> None:
    made = result_row(record(readouts=("linear", "nme", "student")))
    assert metric_of(name).field in made


@pytest.mark.parametrize("name", ["avrage", "key", "curve", "top5_forgetting", "forget_last", "_avg", ""])
def test_other_metrics_are_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(SuiteError, match="unknown metric"):
        metric_of(name)


def test_values_as_they_are_shown() -> None:
    assert metric_of("avg").text(0.61111) == "61.11"
    assert metric_of("nme_last").text(-0.00001, "+") == "+0.00"
    assert metric_of("params_final").text(4_640_000) == "4.640"
    assert metric_of("exemplars").text(-12.0, "+") == "-12"


def odd_names() -> Comparison:
    rows = pairs((0.6, 0.5), (0.7, 0.6))
    for each in rows:
        each["title"] = "<b>P_&|*</b>" if each["method"] == "widen" else "x" * 60
    return compare(rows, "widen", "anchor")


def test_markdown_escapes_what_records_say() -> None:
    lines = rendered.markdown(odd_names()).splitlines()
    assert (
        re.sub(r"\\.", "", lines[0]) == f"A = bP/b, B = {'x' * 60}: Avg (%)"
    )  # every special character has its backslash
    assert {line.count("|") for line in lines[2:5]} == {len(rendered.COLUMNS) + 1}


def test_csv_holds_numbers_unrounded() -> None:
    (found,) = csv.DictReader(io.StringIO(rendered.table(odd_names())))
    assert (found["a"], found["pairs"], found["wins"], found["losses"]) == ("widen", "2", "2", "0")
    assert float(found["difference"]) == pytest.approx(0.1)
    (one,) = csv.DictReader(io.StringIO(rendered.table(compare(pairs((0.6, 0.5)), "widen", "anchor"))))
    assert (one["low"], one["high"]) == ("", "")


def test_remarks_name_runs_left_out_few_by_few() -> None:
    rows = pairs(*[(0.6, 0.5)] * 5)
    rows += [row("widen", seed, 0.5, order=order) for order in range(7) for seed in range(7)]
    rows += [{**row("anchor", 50 + i, 0.5), "settled": False} for i in range(2)]
    remarks = list(rendered.remarks(compare(rows, "widen", "anchor")))
    assert remarks == [
        "all pairs have class order 1993: nothing is said about others",
        "unpaired: 49 runs of widen on toy-b0i2 (order 0 seed 0, 1, 2, 3, 4, ...; order 1 seed 0, 1, 2, 3, 4, ...; "
        "order 2 seed 0, 1, 2, 3, 4, ...; order 3 seed 0, 1, 2, 3, 4, ...; order 4 seed 0, 1, 2, 3, 4, ...; ...): "
        "no such run of anchor",
        "2 runs left out, each with more or fewer backbones than its memory budget was solved for",
    ]


def test_pairs_that_are_too_few_are_said_once_per_number() -> None:
    rows = pairs(*[(0.6, 0.5)] * 3) + pairs((0.6, 0.5), protocol="toy-b4i2") + pairs((0.6, 0.5), protocol="toy-b4i3")
    few = [line for line in rendered.remarks(compare(rows, "widen", "anchor")) if "too few" in line]
    assert few == [
        "1 pair on toy-b4i2, toy-b4i3 each: too few for an interval to mean much",
        "3 pairs on toy-b0i2: too few for an interval to mean much",
    ]
