"""Sweeps with equal memory, run to their end: the runs that others wait for come first, the same command goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from suite.errors import Exit
from suite.store import Store
from tests.suite.cli.conftest import Call

ALIGNED = ("-m", "grace,der,replay,finetune", "-p", "toy-b0i5+align=grace")
RUN = ("run", *ALIGNED, "--address", "none", "--limit-epochs", "1")
# every task compressed, so that one backbone is left, whose memory is not enough for one per task
ONE = ("--set", "method.grace.threshold=1.0", "--set", "method.grace.decay=1.0")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_sweep_is_run_in_the_order_that_it_needs(call: Call) -> None:
    before = call("plan", *ALIGNED, "--limit-epochs", "1", *ONE, "--json").json
    assert [(run["method"], run["protocol"]) for run in before["runs"]] == [("grace", "toy-b0i5")]
    assert {each["for"] for each in before["waiting"]} == {"grace toy-b0i5 o1993 s0"}
    first = call(*RUN, *ONE)
    assert first.code == Exit.DONE, first.err
    assert first.err.count(" later: ") == 2  # once per stage, whatever waits
    assert "4 runs later: what they are follows from grace toy-b0i5 o1993 s0" in first.err
    assert "not run: der toy-b0i5+align=grace: its 2 backbones take" in first.err
    rows = {(row["method"], row["protocol"]): row for row in call("results", "--json").json}
    assert set(rows) == {
        ("grace", "toy-b0i5"), ("grace", "toy-b0i5+align=grace"), ("replay", "toy-b0i5+align=grace"),
        ("finetune", "toy-b0i5"), ("finetune", "toy-b0i5+align=grace"), ("replay", "toy-b0i5"),
    }  # fmt: skip
    own = rows["grace", "toy-b0i5"]
    for (_, protocol), row in rows.items():
        if protocol != "toy-b0i5":
            assert row["budget_mb"] == own["survey_mb_max"]
            assert row["survey_mb_max"] <= own["survey_mb_max"]
            assert row["settled"]
            assert row["base_protocol"] == "toy-b0i5"
            assert row["alignment"] == "align=grace"
    for method in ("grace", "finetune", "replay"):  # one backbone each: trained once, under two names
        copy, source = rows[method, "toy-b0i5+align=grace"], rows[method, "toy-b0i5"]
        assert copy["copied_from"] == source["key"] != copy["key"]
        assert copy["matrix"] == source["matrix"]
        assert Store.open(Path("results")).read(copy["key"]).method == method
    again = call(*RUN, *ONE)
    assert again.code == Exit.DONE
    assert "nothing to do" in again.err


def test_what_waits_for_a_failed_run_is_left(call: Call) -> None:
    said = call(*RUN, *ONE, "--set", "method.grace.initial.lr=1e30")
    assert said.code == Exit.FAILED
    assert "1 failed" in said.err
    assert "4 left" in said.err
    assert [path.name for path in Path("results/records").iterdir()] == []
    assert "next:" in said.err
