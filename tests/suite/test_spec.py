"""RunSpec: keys that records on disk go by, and labels."""

from __future__ import annotations

from typing import Any

import pytest

from suite.spec import RunSpec
from suite.sweep import resolve, sweep_of


def spec(method: str, **values: Any) -> RunSpec:
    (found,) = resolve(sweep_of({"methods": [method], "protocols": ["digits-b0i2"]} | values, "test"))
    return found


@pytest.mark.parametrize(("method", "key"), [("replay", "c1571a09a4b5a591"), ("grace", "aee8f9ae6ff214d8")])
def test_keys_are_those_of_records_that_were_written_before(method: str, key: str) -> None:
    assert spec(method).key == spec(method, precision="fp32").key == key


def test_workers_are_part_of_what_a_run_is_where_there_are_several() -> None:
    keys = {number: spec("replay", workers=number).key for number in (1, 2, 3)}
    assert keys[1] == spec("replay").key
    assert len(set(keys.values())) == 3
    assert "workers" not in spec("replay").identity()
    assert spec("replay", workers=2).identity()["workers"] == 2
    assert spec("replay", workers=2).label == "replay digits-b0i2 o1993 s0 x2"
    assert spec("replay", workers=2, precision="bf16").label == "replay digits-b0i2 o1993 s0 bf16 x2"


def test_a_label_has_the_precision_unless_it_is_the_usual_one() -> None:
    assert spec("grace", seeds=[3]).label == "grace digits-b0i2 o1993 s3"
    assert spec("grace", precision="bf16").label == "grace digits-b0i2 o1993 s0 bf16"
