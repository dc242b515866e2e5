"""The report as plain values: what is counted, what failed, what it cost, who is to be cited."""

from __future__ import annotations

import pytest

from suite.errors import SuiteError
from suite.grouping import Wanted
from suite.report.coverage import Field
from suite.results import result_row
from tests.suite.records_for_tests import record, ten_rows
from tests.suite.report.reports_for_tests import failure, report


def fields(of: dict[tuple[str, str], Field]) -> dict[tuple[str, str], str]:
    return {place: field.text for place, field in of.items()}


def grid(*args: object, **options: object) -> dict[tuple[str, str], Field]:
    made = report(*args, **options)  # type: ignore[arg-type]
    return {(line.method, field.place.name): field for line, found in made.grid for field in found}


def test_coverage_without_a_sweep_counts_what_is_there_and_what_failed() -> None:
    found = grid(failures={"f" * 16: failure()})
    assert found["widen", "toy-b0i2"].text == "1/2"
    assert found["widen", "toy-b0i2"].state == "failed"
    assert found["widen", "toy-b0i2"].words == "1 of 2 runs done, 1 failed"
    assert found["anchor", "toy-b0i2"].state == "all"
    assert found["drift", "toy-b4i2"].state == "unwanted"


def test_coverage_of_a_sweep_counts_its_runs_alone() -> None:
    keys = {(row["method"], row["train_seed"]): row["key"] for row in ten_rows() if row["protocol"] == "toy-b0i2"}
    wanted = [Wanted(keys["anchor", 0], "anchor", "toy-b0i2"), Wanted("a" * 16, "anchor", "toy-b0i2"),
              Wanted("b" * 16, "widen", "toy-b0i2", "Widen"),
              Wanted("c" * 16, "drift", "toy-b0i2", "Drift", reason="its model alone exceeds the budget")]  # fmt: skip
    found = grid(wanted=wanted)
    assert fields(found) == {("anchor", "toy-b0i2"): "1/2", ("widen", "toy-b0i2"): "0/1", ("drift", "toy-b0i2"): ""}
    assert [found[name, "toy-b0i2"].state for name in ("anchor", "widen", "drift")] == ["some", "none", "cannot"]
    assert found["drift", "toy-b0i2"].words == "cannot be: its model alone exceeds the budget"


def test_unsettled_and_smoke_runs_are_left_out_and_counted() -> None:
    rows = ten_rows()
    rows[0]["settled"] = False
    rows[1]["smoke"] = True
    made = report(rows)
    assert [row["key"] for row in made.rows] == [row["key"] for row in rows[2:]]
    assert [line for line in made.warnings if "smoke" in line or "backbones" in line] == [
        "1 smoke run (--limit-epochs) is left out: it is no result",
        "1 run is left out: it kept another number of backbones than its budget was solved for",
    ]
    assert len(report(rows, allow_smoke=True).rows) == 9


@pytest.mark.parametrize(("smoke", "words"), [(False, "no finished run"), (True, "only smoke runs")])
def test_nothing_to_report_is_an_error(smoke: bool, words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        report([{**ten_rows()[0], "smoke": True}] if smoke else [])


def test_failed_runs_alone_are_a_report() -> None:
    made = report([], failures={"f" * 16: failure()})
    assert made.facts[0] == ("Runs", "0 done, 1 failed, 0 missing")
    assert (made.answers, made.sheets, made.duels) == ([], [], [])


def test_cost_of_what_is_missing_is_that_of_its_like() -> None:
    lacking = [Wanted(row["key"], row["method"], row["protocol"]) for row in ten_rows()]
    lacking += [Wanted(f"{i:016x}", "widen", "toy-b0i2") for i in (100, 101)] + [Wanted("f" * 16, "drift", "toy-b4i2")]
    bills = {(bill.line.method, bill.place.name): bill for bill in report(wanted=lacking).bills}
    # a task of a made-up run takes 1.75 s, and toy-b0i2 has three
    assert (bills["widen", "toy-b0i2"].seconds, bills["widen", "toy-b0i2"].rest) == (5.25, 10.5)
    assert bills["drift", "toy-b4i2"].rest is None
    assert bills["anchor", "toy-b0i2"].seconds == 10.5


def test_unlike_environments_are_a_strip() -> None:
    rows = ten_rows()
    rows[0]["torch"] = "2.0"
    assert report().unlike == []
    assert report(rows).unlike == ["unlike environments: torch 2.0, 2.15.0"]


def test_methods_are_cited_as_they_declare_themselves() -> None:
    text = report([result_row(record(reference="", method="anchor"))]).citations
    assert text.splitlines()[:2] == ["@misc{anchor-eccv-2020,", "  title = {Anchor},"]
    assert "year = {2020}" in text
    assert "note = {version 0.1.0, commit 0123456789}" in text


def test_a_duel_is_the_best_against_each_other_one() -> None:
    duel = report().duels[0]
    assert duel.best.method in ("prune_it", "widen")  # the same mean
    assert {rival.line.method for rival in duel.rivals} == {"anchor", "drift", "widen", "prune_it"} - {duel.best.method}
    assert [rival.score.mean for rival in duel.rivals] == sorted((r.score.mean for r in duel.rivals), reverse=True)


def test_not_a_number_is_shown_as_nothing() -> None:
    rows = ten_rows()
    rows[4]["avg"] = float("nan")
    made = report(rows)
    assert [answer.best.method for answer in made.answers][:2] == ["anchor", "prune_it"]
    (run,) = [run for run in made.plain()["runs"] if run[5] == rows[4]["key"]]
    assert run[6] is None
