"""Presets: the seven published settings as published, and the nearest one elsewhere, said in words."""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace

import pytest

import protocols
from grace.methods import METHODS, method
from suite.configure import build
from suite.presets import FOLDER, preset

# methods.md 1.15: t_base, t_decay, c_kd, c_pred; the exponent is 5 throughout
PUBLISHED = {
    "cifar100-b0i10": (0.60, 0.96, 0.4, 1.6),
    "cifar100-b0i5": (0.50, 0.90, 0.2, 0.8),
    "cifar100-b50i10": (0.60, 0.96, 0.2, 0.8),
    "cifar100-b50i2": (0.50, 0.90, 0.2, 0.8),
    "imagenet100-b0i10": (0.40, 0.96, 0.8, 0.2),
    "imagenet100-b0i5": (0.35, 0.90, 1.2, 0.6),
    "imagenet100-b50i10": (0.34, 0.92, 0.5, 0.5),
}
NEAREST = {
    "digits-b0i2": "cifar100-b0i10",
    "cifar100-b0i20": "cifar100-b0i10",
    "cifar100-b0i4": "cifar100-b0i5",
    "cifar100-b50i5": "cifar100-b50i10",
    "cifar100-b40i3": "cifar100-b50i2",
    "cifar100-b0i5+aa": "cifar100-b0i5",
    "cifar100-b50i10+m=20/class": "cifar100-b50i10",
    "imagenet100-b50i5": "imagenet100-b50i10",
    "imagenet100-first-b0i5": "imagenet100-b0i5",
    "imagenet1000-b0i100": "imagenet100-b0i10",
    "imagenet1000-b500i100": "imagenet100-b50i10",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_protocol_gets_its_own_settings(name: str) -> None:
    values, source, exact = preset("grace", protocols.get(name))
    threshold, decay, logits, features = PUBLISHED[name]
    assert values == {
        "threshold": threshold,
        "decay": decay,
        "preservation": 5.0,
        "logit_weight": logits,
        "feature_weight": features,
    }
    assert exact
    assert "configuration" in source


@pytest.mark.parametrize(("name", "nearest"), NEAREST.items())
def test_any_other_protocol_gets_the_nearest_and_says_so(name: str, nearest: str) -> None:
    protocol = protocols.get(name)
    values, source, exact = preset("grace", protocol)
    assert source == f"nearest preset: {nearest} (no published setting for {name})"
    assert not exact
    assert values == preset("grace", protocols.get(nearest)).values


def test_size_goes_before_start_and_start_before_the_number_of_tasks() -> None:
    own = protocols.get("cifar100-b50i25")
    large = replace(own, name="large", dataset=replace(own.dataset, name="large", size=65))
    assert "imagenet100-b50i10" in preset("grace", large).source
    assert "cifar100-b50i10" in preset("grace", replace(own, name="own")).source


def test_another_name_for_a_published_stream_is_that_stream() -> None:
    assert preset("grace", replace(protocols.get("cifar100-b0i10"), name="mine")).exact


def test_a_method_without_presets_keeps_its_defaults() -> None:
    assert preset("finetune", protocols.get("cifar100-b0i10")) == ({}, "", True)


def test_a_caller_may_change_what_it_is_given() -> None:
    protocol = protocols.get("cifar100-b0i10")
    preset("grace", protocol).values["threshold"] = 9.0
    assert preset("grace", protocol).values["threshold"] == 0.6


@pytest.mark.parametrize(
    ("method", "protocol", "nearest"),
    [
        ("foster", "cifar100-b50i5", "cifar100-b50i10"),  # not one of the tables for +aa
        ("foster", "digits-b0i2+aa", "cifar100-b0i20+aa"),
        ("memo", "imagenet1000-b500i100", "imagenet1000-b500i100+net=resnet18"),  # not ImageNet-100's
    ],
)
def test_the_nearest_preset_has_the_same_views_and_dataset_where_it_can(
    method: str, protocol: str, nearest: str
) -> None:
    found = preset(method, protocols.get(protocol))
    assert not found.exact
    assert found.source.startswith(f"nearest preset: {nearest} (")


@pytest.mark.parametrize("path", [p for p in FOLDER.glob("*.toml") if p.stem != "importing"], ids=lambda p: p.stem)
def test_preset_files_set_fields_that_their_method_has_to_values_it_takes(path: object) -> None:
    name = path.stem  # type: ignore[attr-defined]
    assert name in METHODS
    config = method(name)[1]
    for protocol, table in tomllib.loads(path.read_text()).items():  # type: ignore[attr-defined]
        assert protocols.get(protocol).name == protocol
        assert table.pop("source")
        assert set(table) <= {field.name for field in fields(config)}
        made = build(config, table)
        assert all(type(getattr(made, key)) is type(getattr(config(), key)) for key in table)
