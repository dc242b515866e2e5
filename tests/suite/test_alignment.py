"""Equal memory: the survey's tables image by image, and that no method ever holds more than its budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import protocols
from grace.conformance.stream import PROTOCOL, TINY_PARAMETERS, data
from grace.conformance.subject import Subject
from grace.methods import METHODS, method
from grace.nets import BACKBONES, Entry
from grace.run import TaskRecord, run_stream
from grace.streams.protocol import Budget
from protocols.alignment import ladder, points
from suite.account import survey_bytes
from suite.alignment import MIB, TRIES, Measured, allocate, bare, budget, parameters, pilot
from suite.declared import declared
from suite.errors import SuiteError
from suite.resolver import Resolution
from suite.spec import Allocation, RunSpec
from suite.sweep import find_protocols, resolution, sweep_of


def share(name: str, protocol: str, branches: int | None = None) -> Allocation | str:
    aligned = protocols.get(protocol)
    return allocate(declared(name), aligned, budget(aligned), branches)


def exemplars(name: str, protocol: str, branches: int | None = None) -> int:
    found = share(name, protocol, branches)
    assert isinstance(found, Allocation), found
    assert found.exemplars is not None
    return found.exemplars


# --- the published tables


@pytest.mark.parametrize(
    ("stream", "mib", "single", "split"),
    [
        ("cifar100-b0i5", 41.22, 13_466, 4_771),
        ("cifar100-b0i10", 23.54, 7_431, 3_312),
        ("cifar100-b0i20", 14.70, 4_414, 2_583),
        ("cifar100-b50i10", 16.47, 5_017, 2_729),
        ("cifar100-b50i5", 25.31, 8_035, 3_458),
        ("cifar100-b50i2", 51.83, 17_088, 5_646),
        ("cifar100-b50i25", 11.16, 3_207, 2_291),
        ("imagenet100-b0i5", 1139.8, 7_642, 3_404),
        ("imagenet100-b0i10", 713.5, 4_672, 2_665),
        ("imagenet100-b0i20", 500.3, 3_187, 2_295),
        # the survey counts ResNet-18 with its 7x7 stem where larger first tasks have another one
        ("imagenet100-b50i10+net=resnet18", 542.9, 3_484, 2_369),
        ("imagenet100-b50i5+net=resnet18", 756.1, 4_969, 2_739),
    ],
)
def test_aligned_to_one_backbone_per_task(stream: str, mib: float, single: int, split: int) -> None:
    aligned = f"{stream}+align=der"
    assert budget(protocols.get(aligned)) / MIB == pytest.approx(mib, abs=0.005 if mib < 100 else 0.05)
    for name in ("replay", "icarl", "wa", "bic", "podnet", "foster"):
        assert exemplars(name, aligned) == single
    assert exemplars("memo", aligned) == split
    assert exemplars("der", aligned) == 2_000


CIFAR = [
    (7.6, "convnet2", 2_096, 2_118, 2_000),
    (12.4, "resnet14", 2_000, 2_495, 3_634),
    (16.1, "resnet20", 2_000, 2_768, 4_900),
    (19.8, "resnet26", 2_000, 3_040, 6_165),
    (23.5, "resnet32", 2_000, 3_312, 7_431),
]
IMAGENET = [
    (329, "convnet4", 2_032, 2_115, 2_000),
    (493, "resnet10", 2_000, 2_327, 3_136),
    (755, "resnet18", 2_000, 2_739, 4_969),
    (872, "resnet26-bottleneck", 2_000, 2_915, 5_779),
    (1180, "resnet34", 2_000, 4_171, 7_924),
    (1273, "resnet50", 2_000, 4_270, 8_574),
]
LADDER = [("cifar100-b0i10", k, *row) for k, row in enumerate(CIFAR, 1)]
LADDER += [("imagenet100-b50i5+net=resnet18", k, *row) for k, row in enumerate(IMAGENET, 1)]


@pytest.mark.parametrize(("stream", "point", "mib", "backbone", "grown", "split", "single"), LADDER)
def test_points_of_the_ladders(
    stream: str, point: int, mib: float, backbone: str, grown: int, split: int, single: int
) -> None:
    name = f"{stream}+auc={point}"
    assert budget(protocols.get(name)) / MIB == pytest.approx(mib, abs=0.06 if mib < 100 else 1.5)
    assert (exemplars("der", name), exemplars("memo", name), exemplars("wa", name)) == (grown, split, single)
    found = share("der", name)
    assert isinstance(found, Allocation)
    assert found.backbone == backbone
    own = share("wa", name)
    assert isinstance(own, Allocation)
    assert own.backbone == stream.partition("=")[2] or own.backbone == "resnet32"


def test_grace_gets_ders_memory_by_how_many_backbones_it_keeps() -> None:
    found = [exemplars("grace", "cifar100-b0i10+align=der", n) for n in (1, 2, 3, 4, 5, 7)]
    assert found == [7_431, 6_828, 6_224, 5_621, 5_017, 3_810]


def test_a_ladder_is_all_its_points() -> None:
    assert [p.name for p in find_protocols("cifar100 B0I10 +auc")] == [f"cifar100-b0i10+auc={k}" for k in range(1, 6)]
    assert points("cifar100-b0i10+auc=2") == ["cifar100-b0i10+auc=2"]
    assert ladder("resnet18-3x3-maxpool") == ("convnet4", "resnet10-3x3-maxpool", "resnet18-3x3-maxpool",
                                              "resnet26-bottleneck-3x3-maxpool", "resnet34-3x3-maxpool",
                                              "resnet50-3x3-maxpool")  # fmt: skip
    with pytest.raises(SuiteError, match=r"no ladder for resnet8; there is one for resnet32 and resnet18"):
        find_protocols("digits-b0i2+auc")


# --- the solver


def test_what_a_budget_cannot_buy_is_explained() -> None:
    assert share("der", "cifar100-b0i10+mb=9") == "its 10 backbones take 17.68 MiB, the budget is 9.00"
    assert share("wa", "cifar100-b0i10+mb=1") == "its backbone takes 1.77 MiB, the budget is 1.00"
    found = share("wa", "cifar100-b0i10+mb=2")
    assert found == "79 exemplars are left beside the network for 100 classes, the budget is 2.00 MiB"


def test_exemplars_are_no_more_than_the_images() -> None:
    assert exemplars("wa", "cifar100-b0i10+mb=999") == 50_000
    assert exemplars("wa", "cifar100-b0i10+shots=20+mb=999") == 2_000


def test_a_method_without_exemplars_keeps_none() -> None:
    found = share("lwf", "cifar100-b0i10+mb=23.5")
    assert found == Allocation("resnet32", None, int(23.5 * MIB))


def test_exemplars_per_class_count_for_all_classes() -> None:
    assert budget(protocols.get("cifar100-b0i10+m=20/class+align=der")) == budget(
        protocols.get("cifar100-b0i10+align=der")
    )
    assert exemplars("der", "cifar100-b0i10+m=20/class+align=der") == 2_000


def test_names_go_there_and_back() -> None:
    for name in ("cifar100-b0i10+aa+m=500+align=der", "digits-b0i2+mb=0.35", "cifar100-b0i10+net=resnet18+auc=2"):
        aligned = protocols.get(name)
        assert aligned.name == name
        assert protocols.get(bare(aligned).name).identity() == bare(aligned).identity()
        assert aligned.identity() != bare(aligned).identity()
    assert protocols.get("cifar100-b0i10+mb=023.50").name == "cifar100-b0i10+mb=23.5"
    assert pilot(declared("grace"), protocols.get("cifar100-b0i10+auc=2")).name == "cifar100-b0i10+net=resnet14"
    assert pilot(declared("grace"), protocols.get("cifar100-b0i10+mb=9")).name == "cifar100-b0i10"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cifar100-b0i10+mb=", '+mb is a budget in MiB such as +mb=23.5, not ""'),
        ("cifar100-b0i10+mb=-3", "+mb is a budget in MiB"),
        ("cifar100-b0i10+mb=0", "+mb is a budget in MiB"),
        ("cifar100-b0i10+auc=6", "a point from 1 to 5 of the ladder for resnet32"),
        ("cifar100-b0i10+mb=9+align=der", "memory is aligned twice, by +mb=9 and +align=der; leave one out"),
        ("cifar100-b0i10+align=dr", 'did you mean "der"'),
        ("cifar100-b0i10+align=", "+align names the method whose memory all get, as in +align=der"),
    ],
)
def test_bad_alignments_get_one_line(name: str, words: str) -> None:
    with pytest.raises(SuiteError) as error:
        find_protocols(name)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


# --- runs that others wait for


def sweep(*methods: str, on: str) -> Any:
    return sweep_of({"methods": list(methods), "protocols": [on]}, "test")


def found(*methods: str, on: str, **held: Measured) -> Resolution:
    """The resolution where runs, as `method` or `method_exemplars`, are known to hold something."""
    specs: dict[str, Measured] = {}

    def look(key: str) -> Measured | None:
        return specs.get(key)

    for _ in range(5):
        seen = resolution(sweep(*methods, on=on), look)
        for spec, _ in seen.runs:
            of = f"{spec.method}_{spec.allocation.exemplars}" if spec.allocation else spec.method
            if of in held:
                specs[spec.key] = held[of]
    return resolution(sweep(*methods, on=on), look)


def keys(seen: Resolution) -> list[str]:
    return [spec.label for spec, _ in seen.runs]


def test_all_wait_for_the_method_whose_memory_they_get() -> None:
    seen = found("wa", "der", on="cifar100-b0i10+align=grace")
    assert keys(seen) == ["grace cifar100-b0i10 o1993 s0"]
    assert [(w.method, w.waits_for) for w in seen.wishes] == [
        ("wa", "grace cifar100-b0i10 o1993 s0"),
        ("der", "grace cifar100-b0i10 o1993 s0"),
    ]
    size = 4 * 3 * 463_504 + 2_000 * 3_072
    seen = found("wa", "der", "grace", on="cifar100-b0i10+align=grace", grace=Measured(3, size))
    runs = {spec.method: spec for spec, _ in seen.runs if spec.allocation}
    assert runs["wa"].allocation == Allocation("resnet32", 2_000 + 4 * 2 * 463_504 // 3_072, size)
    assert runs["grace"].allocation == Allocation("resnet32", 2_000, size, 3)
    assert runs["grace"].twin == next(spec.key for spec, _ in seen.runs if not spec.allocation)
    assert [(w.method, w.reason, w.waits_for) for w in seen.wishes] == [
        ("der", "its 10 backbones take 17.68 MiB, the budget is 11.16", "")
    ]


def test_where_images_decide_the_run_with_the_protocols_own_memory_comes_first() -> None:
    on = "cifar100-b0i10+align=der"
    seen = found("grace", on=on)
    assert keys(seen) == ["grace cifar100-b0i10 o1993 s0"]
    seen = found("grace", on=on, grace=Measured(3, 1))
    assert [spec.allocation.exemplars for spec, _ in seen.runs if spec.allocation] == [6_224]


def test_a_changed_decision_is_solved_anew_three_times_at_most() -> None:
    on = "cifar100-b0i10+align=der"
    settled = found("grace", on=on, grace=Measured(3, 1), grace_6224=Measured(4, 1), grace_5621=Measured(4, 1))
    assert [spec.allocation.exemplars for spec, _ in settled.runs if spec.allocation] == [5_621]
    assert settled.wishes == []
    never = found("grace", on=on, grace=Measured(3, 1), grace_6224=Measured(4, 1), grace_5621=Measured(3, 1))
    assert [spec.allocation for spec, _ in never.runs if spec.allocation] == []
    assert [w.reason for w in never.wishes] == ["how many backbones it keeps did not settle in 3 tries: 3, 4, 3, 4"]


def test_runs_of_the_same_content_are_trained_once() -> None:
    on = "cifar100-b0i10+align=der"
    seen = found("der", "finetune", on=on)
    assert keys(seen) == ["der cifar100-b0i10 o1993 s0", "finetune cifar100-b0i10 o1993 s0"]
    assert {w.waits_for for w in seen.wishes} == set(keys(seen))
    ((plain, _),) = resolution(sweep("der", on="cifar100-b0i10")).runs
    seen = found("der", on=on, der=Measured(10, 1))
    aligned = next(spec for spec, _ in seen.runs if spec.allocation)
    assert aligned.twin == plain.key != aligned.key
    assert aligned.stream.identity() == plain.protocol.identity()


def test_keys_of_runs_without_alignment_are_what_they_were() -> None:
    ((spec, _),) = resolution(sweep("der", on="cifar100-b0i10")).runs
    assert "allocation" not in spec.identity()
    assert "alignment" not in spec.identity()["protocol"]
    assert spec.twin == spec.key
    assert spec.stream is spec.protocol


# --- no method ever holds more


ENTRY = Entry("grace.conformance.stream:tiny", 8, TINY_PARAMETERS, 592, "for tests")


@pytest.mark.parametrize("name", METHODS)
def test_no_method_holds_more_than_its_budget_after_any_task(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the tiny stream of the conformance checks, every method, budgets from too small to more than enough."""
    monkeypatch.setitem(BACKBONES, "tiny", ENTRY)
    own, about = replace(PROTOCOL, backbone="tiny"), declared(name)
    image, least = own.dataset.bytes_per_image, 4 * parameters(about, "tiny", 1, 1)
    assert parameters(about, "tiny", 1, 1) == TINY_PARAMETERS
    fields: dict[str, Any] = {"width": 64} if name == "acil" else {}
    train, test = data(own)

    def run(memory: Budget) -> list[TaskRecord]:
        learner = Subject(*method(name)).build(1, memory, **fields)
        return run_stream(learner, replace(own, budget=memory), train, test, seed=0)

    branches = run(own.budget)[-1].footprint.backbone_parameters // TINY_PARAMETERS if about.growth == "data" else None
    met = 0
    for size in (least - 1, least + 7 * image, 2 * least, 4 * least + 50 * image, 40 * least):
        aligned = replace(own, name=f"{own.name}+mb={size / MIB}", alignment=f"mb={size / MIB}")
        assert budget(aligned) in (size, size - 1)  # a fraction of a MiB, rounded
        solved = branches
        for _ in range(TRIES if branches else 1):
            share = allocate(about, aligned, size, solved)
            if isinstance(share, str):
                assert "the budget is" in share
                break
            spec = RunSpec(method=name, config={}, protocol=aligned, order_seed=0, train_seed=0, allocation=share)
            records = run(spec.stream.budget)
            grown = records[-1].footprint.backbone_parameters
            if solved in (None, grown // TINY_PARAMETERS):
                assert grown == parameters(about, "tiny", len(own.increments), solved)
                assert all(survey_bytes(vars(record.footprint)) <= size for record in records)
                met += 1
                break
            solved = grown // TINY_PARAMETERS
    assert met >= 1
