"""`verify` over made-up runs of registered methods on real protocols; what is published is the shipped file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suite.errors import Exit
from suite.record import RunRecord
from suite.store import Store
from tests.suite.cli.conftest import Call
from tests.suite.cli.test_bad_input import one_line
from tests.suite.published_for_tests import finished

# Replay on CIFAR-100 B0I10: 40.9 last, read off a figure to 0.2 points, and about 59.3 on average, to 0.7 points.
LAST, AVG, ERROR = 40.9, 59.3, 0.2


def kept(folder: Path, *records: RunRecord) -> None:
    store = Store.open(folder / "results", write=True)
    for each in records:
        store.write(each)


def told(call: Call, *args: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = call("verify", *args, "--json").json
    return rows


def one(call: Call, metric: str, source: str = "", *args: str) -> dict[str, Any]:
    """The comparison with one published number."""
    (row,) = [r for r in told(call, *args) if r["metric"] == metric and source in r["published"]["source"]]
    return row


@pytest.fixture
def near(tmp_path: Path) -> None:
    """Two runs that end at 41.0 and 40.2 %, and average 59.0 and 60.0 %."""
    kept(
        tmp_path,
        finished(1, "replay", "cifar100-b0i10", 41.0, avg=59.0),
        finished(2, "replay", "cifar100-b0i10", 40.2, avg=60.0, seed=1),
    )


@pytest.mark.usefixtures("near")
def test_our_mean_beside_the_published_value(call: Call) -> None:
    row = one(call, "last")
    assert (row["method"], row["protocol"], row["n"], row["verdict"]) == ("replay", "cifar100-b0i10", 2, "agrees")
    assert row["mean"] == pytest.approx(40.6, abs=0.01)
    assert row["std"] == pytest.approx(0.8 / 2**0.5, abs=0.01)
    assert row["difference"] == pytest.approx(40.6 - LAST, abs=0.01)
    assert (row["published"]["value"], row["published"]["error"], row["published"]["tag"]) == (LAST, ERROR, "G")
    said = call("verify")
    assert said.code == Exit.DONE
    assert [line.split()[:2] for line in said.out.splitlines()[2:]] == [["avg", "2"], ["last", "2"]]
    for words in ("replay on cifar100-b0i10", "40.60 +- 0.57", "40.9 +- 0.2", "-0.30", "agrees; PyCIL figure"):
        assert words in said.out
    assert "2 agrees" in said.err
    assert "1.5 points" in said.err
    assert call("verify", "-q").err == ""


@pytest.mark.parametrize(
    ("last", "tolerance", "code"),
    [
        (LAST - 1.68, (), Exit.DONE),  # within 1.5 and the reading error of 0.2
        (LAST - 1.72, (), Exit.DIFFERS),
        (LAST + 1.72, (), Exit.DIFFERS),
        (LAST + 1.72, ("--tolerance", "2"), Exit.DONE),
        (LAST - 0.18, ("--tolerance", "0"), Exit.DONE),
        (LAST - 0.22, ("--tolerance", "0"), Exit.DIFFERS),
    ],
)
def test_the_tolerance_and_the_exit_code(
    call: Call, tmp_path: Path, last: float, tolerance: tuple[str, ...], code: int
) -> None:
    kept(tmp_path, finished(1, "replay", "cifar100-b0i10", last, avg=AVG))
    assert call("verify", *tolerance).code == code
    assert one(call, "last", "", *tolerance)["verdict"] == ("differs" if code else "agrees")
    assert one(call, "avg", "", *tolerance)["verdict"] == "agrees"


@pytest.mark.parametrize(
    ("protocol", "setting", "why"),
    [
        ("cifar100-b0i10+net=resnet8", "backbone", "resnet8, published resnet32"),
        ("cifar100-b0i10+aa", "augmentation", "AutoAugment and Cutout, published crop and flip"),
        ("cifar100-b0i10+m=20/class", "exemplars", "20/class, published 2000"),
        ("cifar100-b0i25", "increments", "4x25, published 5x20"),
        ("imagenet100-first-b0i10", "dataset", "imagenet100-first, published imagenet100-ucir"),
        ("imagenet100-b0i10+cache256", "dataset", "imagenet100-ucir cache=256, published imagenet100-ucir"),
    ],
)
def test_a_protocol_one_setting_away_is_named_by_that_setting(
    call: Call, tmp_path: Path, protocol: str, setting: str, why: str
) -> None:
    kept(tmp_path, finished(1, "replay", protocol, 10.0))
    rows = told(call)
    assert {row["verdict"] for row in rows} == {"not comparable"}
    assert (setting, why) in {(row["setting"], row["why"]) for row in rows}
    assert {row["setting"] for row in rows} == {setting}
    assert all(row["difference"] < -20 for row in rows)
    said = call("verify")
    assert said.code == Exit.DONE
    assert f"not comparable: {setting} (" in said.out


def test_of_several_protocols_one_setting_away_the_nearest_is_taken(call: Call, tmp_path: Path) -> None:
    """DER with ResNet-18 and 20 exemplars a class on B50I10: published so, but not by ResNet-32."""
    kept(tmp_path, finished(1, "der", "cifar100-b50i10+net=resnet20+m=20/class", 60.0))
    assert {row["published"]["protocol"] for row in told(call)} == {"cifar100-b50i10+net=resnet18-3x3+m=20/class"}
    kept(tmp_path, finished(2, "der", "cifar100-b50i10+m=20/class", 60.0))
    rows = told(call, "--where", "protocol=cifar100-b50i10+m=20/class")
    assert {(row["setting"], row["published"]["protocol"]) for row in rows} == {("exemplars", "cifar100-b50i10")}


def test_two_settings_away_is_too_far(call: Call, tmp_path: Path) -> None:
    kept(tmp_path, finished(1, "replay", "cifar100-b0i10+net=resnet8+m=500", 20.0))
    one_line(call("verify"), Exit.NOTHING, "within one setting of 1 finished run", "show METHOD")
    assert call("verify", "--json").code == Exit.NOTHING


def test_a_recipe_of_ones_own_is_named_by_its_first_key(call: Call, tmp_path: Path) -> None:
    later = finished(1, "replay", "cifar100-b0i10", 20.0).spec["config"]["later"]
    kept(tmp_path, finished(1, "replay", "cifar100-b0i10", 20.0, config={"later": {**later, "lr": 0.5, "epochs": 3}}))
    row = one(call, "last")
    assert (row["verdict"], row["setting"]) == ("not comparable", "recipe")
    assert row["why"] == f"later.lr 0.5, usual {later['lr']:g}"
    assert call("verify").code == Exit.DONE


def test_fewer_epochs_come_last(call: Call, tmp_path: Path) -> None:
    later = finished(1, "replay", "cifar100-b0i10", 20.0).spec["config"]["later"]
    short = {"later": {**later, "epochs": 3, "milestones": []}}
    kept(tmp_path, finished(1, "replay", "cifar100-b0i10", 20.0, config=short))
    row = one(call, "last")
    assert (row["setting"], row["why"]) == ("epochs", f"later.epochs 3, usual {later['epochs']}")
    kept(tmp_path, finished(2, "replay", "cifar100-b0i10", 20.0, smoke=True))
    row = one(call, "last", "", "--where", "smoke=true")
    assert (row["setting"], row["why"]) == ("epochs", "cut short by --limit-epochs")


def test_settings_are_those_of_the_preset(call: Call, tmp_path: Path) -> None:
    """GRACE's preset on ImageNet-100 is not its default: a run with it is compared, one with the defaults is not."""
    kept(tmp_path, finished(1, "grace", "imagenet100-b0i10", 66.0))
    assert one(call, "last")["verdict"] == "agrees"
    kept(tmp_path, finished(2, "grace", "imagenet100-b0i10", 66.0, config={"threshold": 0.6}))
    by_key = {row["variant"]: row for row in told(call)}
    assert by_key["threshold=0.6"]["why"] == "threshold 0.6, usual 0.4"
    assert by_key["threshold=0.4"]["verdict"] == "agrees"


def test_unverified_numbers_never_differ(call: Call, tmp_path: Path) -> None:
    kept(tmp_path, finished(1, "grace", "imagenet100-b0i10", 30.0))
    assert one(call, "last")["verdict"] == "unverified"
    said = call("verify")
    assert said.code == Exit.DONE
    assert "unverified; aggregator" in said.out
    kept(tmp_path, finished(2, "grace", "imagenet100-b0i5", 64.86))
    assert "agrees; aggregator (wizwand); unverified" in call("verify", "--where", "protocol=imagenet100-b0i5").out


def test_another_class_order_is_not_the_published_one(call: Call, tmp_path: Path) -> None:
    kept(tmp_path, finished(1, "replay", "cifar100-b0i10", 41.0, avg=AVG, order=7))
    row = one(call, "last")
    assert (row["verdict"], row["setting"], row["why"]) == ("not comparable", "class orders", "7, published 1993")
    kept(tmp_path, finished(2, "replay", "cifar100-b0i10", 30.0, avg=AVG))
    row = one(call, "last")
    assert (row["verdict"], row["n"], row["remarks"]) == ("differs", 1, ["1 of other class orders left out"])
    assert row["mean"] == pytest.approx(30.0, abs=0.01)


def test_an_average_over_three_orders_takes_three(call: Call, tmp_path: Path) -> None:
    name = "cifar100-b0i10+net=resnet18-3x3"
    kept(tmp_path, *(finished(i, "der", name, 65.0, order=i) for i in (3, 4)))
    assert {(row["setting"], row["why"]) for row in told(call)} == {("class orders", "3, 4, published 3 orders")}
    kept(tmp_path, finished(5, "der", name, 65.0, order=5))
    rows = told(call)
    assert {(row["setting"], row["why"]) for row in rows} == {
        ("recipe", "published: rebalanced"),
        ("recipe", "published: pruned, rebalanced"),
    }
    assert {tuple(row["remarks"]) for row in rows} == {("other class orders",)}


def test_another_precision_is_a_remark(call: Call, tmp_path: Path) -> None:
    kept(tmp_path, finished(1, "replay", "cifar100-b0i10", 41.0, avg=AVG, precision="bf16"))
    row = one(call, "last")
    assert (row["verdict"], row["remarks"]) == ("agrees", ["bf16"])
    assert "agrees; PyCIL figure; bf16" in call("verify").out


def test_runs_with_several_settings_are_told_apart(call: Call, tmp_path: Path, near: None) -> None:
    kept(tmp_path, finished(3, "replay", "cifar100-b0i10", 44.0, avg=AVG, precision="bf16"))
    said = call("verify")
    assert said.code == Exit.DIFFERS
    assert 'replay on cifar100-b0i10 (precision="bf16")' in said.out
    assert 'replay on cifar100-b0i10 (precision="fp32")' in said.out
    assert call("verify", "--where", "precision=fp32").code == Exit.DONE


def test_a_head_that_a_run_does_not_have(call: Call, tmp_path: Path) -> None:
    kept(tmp_path, finished(1, "replay", "cifar100-b0i10", 41.0, avg=AVG, readouts=("nme",)))
    row = one(call, "last")
    assert (row["setting"], row["why"], row["readout"]) == ("head", "nme, published linear", "nme")


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize("columns", [80, 100])
def test_it_fits_the_terminal(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    kept(tmp_path, finished(9, "replay", "imagenet100-b50i10+net=resnet34-3x3-maxpool", 10.0))
    monkeypatch.setenv("COLUMNS", str(columns))
    said = call("verify").out
    assert max(map(len, said.splitlines())) <= columns
    for words in ("40.60 +- 0.57", "43.4 +- 0.2", "-33.40", "not comparable:"):
        assert words in said


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--tolerance", "-1"), Exit.USAGE, ["--tolerance", "from 0 to 100", "-1"]),
        (("--tolerance", "nan"), Exit.USAGE, ["--tolerance", "nan"]),
        (("--tolerance", "much"), Exit.USAGE, ["--tolerance", "much"]),
        (("--tolerence", "1"), Exit.USAGE, ["unknown option", '"--tolerance"']),
        (("--where", "metod=replay"), Exit.SPEC, ["unknown field", '"method"']),
        (("--where", "method=der"), Exit.NOTHING, ["none of 0 finished runs", "method=der"]),
        ((), Exit.NOTHING, ["no finished run under results"]),
        (("replay",), Exit.USAGE, ["replay"]),
    ],
)
def test_bad_input_is_one_line(call: Call, args: tuple[str, ...], code: Exit, words: list[str]) -> None:
    one_line(call("verify", *args), code, *words)


def test_help_says_the_tolerance_the_order_and_the_exit_code(call: Call) -> None:
    said = " ".join(call("verify", "--help").out.split())
    for words in ("default 1.5", "Exit code 7", "backbone, augmentation, exemplars, class orders, head, recipe"):
        assert words in said
    assert "7 a published number differs" in call("--help").out
