"""Which runs a table takes, what it lacks, and what it says where there is nothing."""

from __future__ import annotations

from typing import Any

import pytest

from suite.errors import Exit, SuiteError
from suite.grouping import Wanted
from suite.record import Failure
from suite.table import Table
from suite.tables import table
from suite.tables.choice import tried
from tests.suite.test_table import cell, line, made


def at(number: int, alignment: str, budget: float = 7.0, **changes: Any) -> dict[str, Any]:
    """A row of an aligned protocol."""
    name = f"toy-b0i2+{alignment}"
    return made(number, protocol=name, alignment=alignment, base_protocol="toy-b0i2", budget_mb=budget, **changes)


def names(found: Table) -> list[str]:
    return [heading.protocol for heading in found.headings]


def failure(label: str, reason: str = "out of memory") -> Failure:
    return Failure("f" * 16, label, "oom", reason, "", "", "", "")


def test_each_table_takes_the_runs_that_it_is_about() -> None:
    rows = [made(1), at(2, "mb=7"), at(3, "align=widen"), at(4, "auc=1", 7.0), at(5, "auc=2", 9.0)]
    assert names(table("benchmark", rows)) == ["toy-b0i2"]
    assert names(table("aligned", rows)) == ["toy-b0i2+align=widen", "toy-b0i2+mb=7"]
    assert names(table("auc", rows)) == ["toy-b0i2"]
    assert len(names(table("pertask", rows))) == len(names(table("params", rows))) == 5


def test_a_table_of_other_runs_says_which_there_are() -> None:
    rows = [at(1, "mb=7"), at(2, "auc=1"), at(3, "auc=2", 9.0)]
    with pytest.raises(
        SuiteError, match="no finished run without alignment; there are 1 for table aligned, 2 for table auc"
    ):
        table("benchmark", rows)
    with pytest.raises(SuiteError, match="of a protocol with aligned memory") as caught:
        table("aligned", [made(1)])
    assert caught.value.code is Exit.NOTHING


def test_an_unknown_table_is_refused_with_the_nearest() -> None:
    with pytest.raises(SuiteError, match='unknown table "bench"'):
        table("bench", [made(1)])


def test_runs_that_did_not_settle_are_left_out_and_counted() -> None:
    rows = [at(1, "mb=7"), at(2, "mb=7", seed=1, settled=False), at(3, "mb=7", seed=2, settled=True)]
    found = table("aligned", rows)
    assert line(found, "Widen").entries[0].n == 2
    assert any("1 run left out: they kept another number of backbones" in warning for warning in found.warnings)
    with pytest.raises(SuiteError, match="another number of backbones"):
        table("aligned", [at(1, "mb=7", settled=False)])


def test_a_cell_whose_runs_all_failed_says_so() -> None:
    wanted = [Wanted(f"{n:016x}", "widen", "toy-b0i2", "Widen") for n in (1, 2)]
    wanted += [Wanted(f"{n:016x}", "new", "toy-b0i2", "New", "expansion") for n in (3, 4)]
    reasons = {f"{n:016x}": failure("new toy-b0i2 o1993 s0") for n in (3, 4)}
    found = table("benchmark", [made(1)], wanted, failures=reasons)
    widen, new = line(found, "Widen").entries[0], line(found, "New").entries[0]
    assert (widen.count, widen.failed, widen.empty) == ("1/2", 0, "\N{EN DASH}")
    assert (new.count, new.failed, new.empty) == ("0/2", 2, "fail")
    assert "2 runs of New on toy-b0i2 failed: out of memory" in found.warnings
    some = table("benchmark", [made(1)], wanted, failures={f"{3:016x}": failure("new toy-b0i2 o1993 s0")})
    assert line(some, "New").entries[0].empty == "\N{EN DASH}"  # the other is only missing


def test_without_a_sweep_failures_are_what_is_wanted() -> None:
    reasons = {"a" * 16: failure("prune_it toy-b0i2 o1993 s0"), "b" * 16: failure("widen toy-b0i2 o1993 s7 bf16"),
               "c" * 16: failure("widen toy-b0i2+mb=7 o1993 s0"), "d" * 16: failure("what is this?")}  # fmt: skip
    found = table("benchmark", [made(1)], failures=reasons)
    assert line(found, "prune_it").entries[0].empty == "fail"
    assert line(found, "Widen").entries[0].count == "1/2"
    assert names(found) == ["toy-b0i2"]


def test_a_failure_that_was_made_good_counts_no_more() -> None:
    """A smoke run that failed and the run itself have one label."""
    found = table("benchmark", [made(1)], failures={"a" * 16: failure("widen toy-b0i2 o1993 s0")})
    assert line(found, "Widen").entries[0].count == "1"


def test_all_failed_is_one_line() -> None:
    reasons = {"a" * 16: failure("widen toy-b0i2 o1993 s0", "out\nof memory")}
    with pytest.raises(SuiteError, match=r"no finished run .*; 1 run of widen on toy-b0i2 failed: out of memory"):
        table("benchmark", [], failures=reasons)


def test_all_failed_of_a_sweep_is_a_table() -> None:
    wanted = [Wanted("a" * 16, "widen", "toy-b0i2", "Widen", "expansion")]
    found = table("benchmark", [], wanted, failures={"a" * 16: failure("widen toy-b0i2 o1993 s0")})
    assert line(found, "Widen").entries[0].empty == "fail"


def test_a_run_that_cannot_be_is_explained() -> None:
    wanted = [Wanted(f"{1:016x}", "anchor", "toy-b0i2+mb=7"),
              *(Wanted(f"none {n}", "widen", "toy-b0i2+mb=7", "Widen", "expansion", "", "its model takes 12 MiB.")
                for n in range(3))]  # fmt: skip
    found = table("aligned", [at(1, "mb=7", method="anchor")], wanted)
    entry = line(found, "Widen").entries[0]
    assert (entry.count, entry.missing, entry.reason, entry.empty) == ("0", 0, "its model takes 12 MiB.", "\N{EN DASH}")
    assert "No Widen on toy-b0i2+mb=7: its model takes 12 MiB." in found.notes


def test_without_a_sweep_it_is_found_out_what_cannot_be() -> None:
    """DER keeps a backbone per task: ten of 463,504 parameters are 17.68 MiB."""
    name = "cifar100-b0i10+mb=12"
    there = [{**made(1, protocol=name, budget_mb=12.0, title="WA"), "method": "wa"}]
    der = {**made(2, protocol="cifar100-b0i10", title="DER"), "method": "der"}
    found = table("aligned", [*there, der])
    assert line(found, "DER").entries[0].reason == "its 10 backbones take 17.68 MiB, the budget is 12.00"
    assert sorted(each.name for block in found.blocks for each in block.lines) == ["DER", "WA"]
    wide = table("aligned", [{**there[0], "protocol": "cifar100-b0i10+mb=24", "budget_mb": 24.0}, der])
    assert [each.name for block in wide.blocks for each in block.lines] == ["WA"]  # it could, it just was not run


def test_labels_are_read_back() -> None:
    assert tried("grace cifar100-b50i10+mb=23.5 o1993 s0") == {
        "method": "grace",
        "protocol": "cifar100-b50i10+mb=23.5",
        "order_seed": 1993,
        "train_seed": 0,
        "precision": "fp32",
        "workers": 1,
    }
    for label, facts in (("s2 x12", ("fp32", 12)), ("s2 bf16 x2", ("bf16", 2)), ("s2 tf32", ("tf32", 1))):
        found = tried(f"widen toy o1 {label}")
        assert found is not None
        assert (found["precision"], found["workers"]) == facts
    assert tried("widen toy o1 s2 bf16")["precision"] == "bf16"  # type: ignore[index]
    assert tried("nothing of the kind") is None


def test_no_number_is_a_dash_with_a_warning_and_never_the_best() -> None:
    rows = [made(1, avg=float("nan")), made(2, seed=1, avg=0.9), made(3, method="anchor", avg=0.5),
            made(4, method="drift", avg=float("inf"))]  # fmt: skip
    found = table("benchmark", rows)
    assert cell(found, "Widen", "avg").mean == cell(found, "Drift", "avg").mean == ""
    assert cell(found, "Widen", "last").mean == "100.0"
    assert cell(found, "Anchor", "avg").mark == ""  # alone, there is nobody to be better than
    assert "Widen on toy-b0i2: Avg of 1 run not a number, a dash is shown" in found.warnings


def test_records_of_an_earlier_version_are_told() -> None:
    old = {key: value for key, value in made(1).items() if key not in ("params_peak", "flops_eval")}
    found = table("params", [old, made(2, seed=1)])
    assert cell(found, "Widen", "flops_eval").mean != ""  # of the one that has it
    assert any("the record of 1 run does not hold #P peak, MFLOPs" in warning for warning in found.warnings)
