"""The file of published numbers: every entry can be read, and some were compared with their sources by hand."""

from __future__ import annotations

import tomllib
from collections import Counter
from typing import Any

import pytest

import protocols
from grace.nets import BACKBONES
from suite.published import FILE, HEADS, Published, of, on, published

PYCIL, SURVEY, AVERAGED = "PyCIL figure", "survey figure", "PyCIL figure, averaged"
UP = "survey figure 10, memory aligned"
DYTOX, CURVES = "DER and DyTox READMEs", "DER README, released curves"


def tables() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads(FILE.read_text())["table"]
    return found


def test_every_number_of_the_file_becomes_an_entry() -> None:
    written = 0
    for table in tables():
        curve = table["columns"][0].startswith("curve ")
        for row in table["rows"]:
            numbers = row["values"].split()
            written += 1 if curve else len([number for number in numbers if number != "-"])
    assert len(published()) == written > 300


@pytest.mark.parametrize("entry", published(), ids=lambda e: f"{e.method}-{e.protocol.name}-{e.metric}-{e.source}")
def test_every_entry_can_be_run_here_and_says_what_it_is(entry: Published) -> None:
    assert protocols.get(entry.protocol.name) == entry.protocol  # its name is canonical
    assert entry.protocol.backbone in BACKBONES
    assert entry.head in HEADS
    assert entry.source
    assert all(0 < value < 100 for value in entry.values)
    assert all(0 <= error <= 1 for error in entry.errors)
    assert (min(entry.errors) > 0) == (
        entry.tag == "G"
    )  # what was read off a figure may have been misread, the rest not
    assert len(entry.values) == (len(entry.protocol.increments) if entry.metric == "curve" else 1)


def test_nothing_recalled_and_nothing_inferred_is_there() -> None:
    assert {table["tag"] for table in tables()} == {"R", "G", "A"}
    assert {row.get("tag", "G") for table in tables() for row in table["rows"]} <= {"R", "G", "A"}


def test_what_an_aggregator_says_is_unverified_and_nothing_else_is() -> None:
    for table in tables():
        assert table.get("verified", True) == (table["tag"] != "A"), table["source"]
    unverified = Counter((e.method, e.metric) for e in published() if not e.verified)
    assert unverified == {("grace", "last"): 5, ("tagfex", "avg"): 1}
    assert {e.source for e in published() if not e.verified} == {"aggregator (wizwand)"}
    assert [e for e in of("grace") if e.verified] == []


# method, protocol, metric, source, head, value, error: read off the sources' tables by hand
CHECKED = [
    ("replay", "cifar100-b0i10", "last", PYCIL, "linear", 40.9, 0.2),
    ("icarl", "cifar100-b0i10", "last", PYCIL, "unknown", 49.4, 0.2),
    ("der", "cifar100-b50i10", "last", PYCIL, "linear", 61.9, 0.2),
    ("wa", "cifar100-b0i20", "last", PYCIL, "linear", 57.9, 0.2),
    ("foster", "cifar100-b0i10+aa", "last", PYCIL, "student", 61.5, 0.2),
    ("foster", "cifar100-b0i10+aa", "last", PYCIL, "teacher", 62.7, 0.2),
    ("foster", "cifar100-b50i10+aa+m=20/class", "last", PYCIL, "teacher", 64.5, 0.7),
    ("foster", "cifar100-b0i10", "last", SURVEY, "unknown", 53.1, 0.5),
    ("finetune", "cifar100-b0i5", "last", SURVEY, "linear", 4.6, 0.5),
    ("lwf", "cifar100-b50i10", "last", SURVEY, "linear", 25.1, 0.5),
    ("memo", "cifar100-b0i10", "last", SURVEY, "linear", 58.5, 1.0),
    ("memo", "cifar100-b0i5", "last", SURVEY, "linear", 54.0, 0.5),
    ("dytox", "cifar100-b50i10", "last", SURVEY, "unknown", 60.1, 0.5),
    ("replay", "cifar100-b50i10", "avg", AVERAGED, "linear", 52.3, 0.7),
    ("podnet", "cifar100-b0i10", "avg", AVERAGED, "unknown", 55.1, 0.2),
    ("foster", "cifar100-b50i10+aa+m=20/class", "avg", AVERAGED, "student", 70.1, 0.2),
    ("podnet", "cifar100-b50i5", "avg", "PyCIL notes, reproduced", "nme", 62.81, 0.0),
    ("podnet", "cifar100-b50i2+m=20/class", "avg", "PyCIL notes, paper", "unknown", 62.71, 0.0),
    ("der", "cifar100-b50i5+m=20/class", "avg", "FOSTER table 1, quoted in its issue 5", "linear", 66.36, 0.0),
    ("foster", "cifar100-b0i20+aa", "avg", "FOSTER README, paper", "unknown", 72.54, 0.0),
    ("foster", "cifar100-b50i2+aa+m=20/class", "avg", "FOSTER README, reproduced", "unknown", 64.95, 0.0),
    ("foster", "cifar100-b50i1+aa+m=20/class", "avg", "FOSTER README, reproduced", "unknown", 59.96, 0.0),
    ("foster", "cifar100-b0i10+m=20/class", "last", "a user's run of PyCIL", "teacher", 51.59, 0.0),
    ("foster", "cifar100-b0i10+aa+m=20/class", "avg", "a user's run of FOSTER", "unknown", 70.85, 0.0),
    ("beef", "cifar100-b50i10+aa+m=20/class", "avg", "BEEF README, paper", "unknown", 71.7, 0.0),
    ("beef", "imagenet100-b50i10+aa+m=20/class", "avg", "BEEF README, reproduced", "unknown", 78.48, 0.0),
    ("acil", "cifar100-b50i2", "last", "ACIL README", "linear", 63.38, 0.0),
    ("bic", "imagenet100-b0i10", "last", PYCIL, "unknown", 42.6, 0.2),
    ("der", "imagenet100-b0i20", "last", PYCIL, "linear", 70.0, 0.7),
    ("der", "imagenet100-b0i20", "avg", AVERAGED, "linear", 78.0, 0.8),
    ("foster", "imagenet100-b0i10+aa", "avg", AVERAGED, "unknown", 78.7, 0.3),
    ("memo", "imagenet100-b50i10+net=resnet18", "last", SURVEY, "linear", 70.4, 0.5),
    ("der", "imagenet100-b0i5", "last", SURVEY, "linear", 63.9, 0.5),
    ("memo", "imagenet100-b50i5+net=resnet18+m=2739", "avg", "survey figure, at 755 MiB", "linear", 77.4, 1.0),
    ("joint", "cifar100-b0i5+net=resnet18-3x3", "last", DYTOX, "linear", 81.49, 0.0),
    ("wa", "cifar100-b0i2+net=resnet18-3x3", "avg", DYTOX, "linear", 64.32, 0.0),
    ("ucir", "cifar100-b0i10+net=resnet18-3x3", "last", DYTOX, "unknown", 43.39, 0.0),
    ("bic", "cifar100-b0i2+net=resnet18-3x3", "last", DYTOX, "unknown", 41.04, 0.0),
    ("icarl", "cifar100-b0i50", "last", "LibContinual, reproduced", "unknown", 62.4, 0.0),
    ("wa", "cifar100-b0i10+m=7431", "last", UP, "linear", 59.4, 1.0),
    ("gem", "cifar100-b0i5+m=13466", "last", UP, "unknown", 8.0, 0.5),
    ("memo", "cifar100-b0i10+m=3312", "last", UP, "linear", 62.1, 0.5),
    ("podnet", "imagenet100-b50i5+m=4969", "last", UP, "unknown", 68.5, 0.5),
    ("tagfex", "imagenet100-b50i10+aa", "avg", "aggregator (wizwand)", "unknown", 80.64, 0.0),
    ("grace", "cifar100-b50i10+aa", "last", "aggregator (wizwand)", "unknown", 69.42, 0.0),
    ("grace", "imagenet100-b0i5", "last", "aggregator (wizwand)", "unknown", 64.86, 0.0),
]


@pytest.mark.parametrize(("method", "protocol", "metric", "source", "head", "value", "error"), CHECKED)
def test_numbers_are_as_their_sources_have_them(
    method: str, protocol: str, metric: str, source: str, head: str, value: float, error: float
) -> None:
    here = [e for e in on(protocols.get(protocol), method) if (e.metric, e.source, e.head) == (metric, source, head)]
    assert [(e.values, e.errors) for e in here] == [((value,), (error,))]


def test_der_is_there_with_its_pruning_and_without() -> None:
    here = {(e.metric, e.source, e.recipe): e.values[0] for e in of("der") if "rebalanced" in e.recipe}
    assert here["top5_last", CURVES, "rebalanced"] == 88.72
    assert here["top5_avg", CURVES, "pruned, rebalanced"] == 92.79
    wide = {(e.metric, e.recipe): e.values[0] for e in on(protocols.get("cifar100-b50i25+net=resnet18-3x3+m=20/class"))}
    assert wide == {
        ("avg", "rebalanced"): 74.61,
        ("last", "rebalanced"): 68.44,
        ("avg", "pruned, rebalanced"): 74.57,
        ("last", "pruned, rebalanced"): 68.50,
    }


def test_curves_end_in_the_last_accuracy_and_average_to_the_average() -> None:
    """Within the reading error of both, which catches a value that slipped by a column."""
    checked = 0
    for curve in (e for e in published() if e.metric == "curve" and e.source == PYCIL):
        same = [e for e in on(curve.protocol, curve.method) if e.head == curve.head and e.source.startswith(PYCIL)]
        for other in same:
            if other.metric == "last":
                assert curve.values[-1] == other.values[0]
                checked += 1
            if other.metric == "avg":
                mean = sum(curve.values) / len(curve.values)
                assert abs(mean - other.values[0]) <= curve.error + other.error, (curve.method, curve.protocol.name)
                checked += 1
    assert checked == 37
    own = next(e for e in of("foster") if e.metric == "curve" and e.tag == "R")
    assert sum(own.values) / 6 == pytest.approx(80.22, abs=0.01)


def test_what_makes_numbers_incomparable_is_in_the_settings() -> None:
    """Augmentation, backbone, exemplars on B50, the ImageNet-100 subset and class orders: section by section."""
    assert {e.augmentation for e in of("beef")} == {"AutoAugment and Cutout", "AutoAugment"}
    assert {e.augmentation for e in of("acil")} == {"TrivialAugment"}
    assert {e.augmentation for e in of("foster") if e.source == SURVEY} == {"crop and flip"}
    assert {e.exemplars for e in of("foster") if "README" in e.source and e.protocol.base == 50} == {"20/class"}
    assert {e.exemplars for e in of("foster") if "README" in e.source and e.protocol.base == 0} == {"2000"}
    assert {e.exemplars for m in ("finetune", "lwf", "ewc", "acil") for e in of(m)} == {"none"}
    assert {e.orders for e in published() if e.source == DYTOX} == {"3 orders"}
    assert {e.orders for e in published() if e.source == PYCIL} == {"1993"}
    images = {e.dataset for e in of("der") if e.source in (CURVES, "DyTox README, table") and e.orders == "unknown"}
    assert images == {"imagenet100-first"}
    assert {e.dataset for e in published() if e.source in (PYCIL, SURVEY)} == {"cifar100", "imagenet100-ucir"}
    assert {e.backbone for e in of("grace") if e.dataset == "cifar100"} == {"unknown"}
