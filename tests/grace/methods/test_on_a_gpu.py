"""Every method on a GPU: replaying its steps from graphs gives what taking them one by one gives, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from grace.methods import METHODS
from grace.training import steps
from grace.training.engine import Engine
from tests.grace.streams_for_tests import build, lasting, run, weights

WARM = steps.WARM
EPOCHS = WARM + 1  # batches of every size come more often than the steps before one is captured
FIELDS: dict[str, dict[str, Any]] = {"acil": {"width": 64}, "grace": {"threshold": 0.5, "decay": 1.0}}


@pytest.fixture
def exactly() -> Iterator[None]:
    """Sets torch up as runs in fp32 have it."""
    before = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    yield
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    torch.backends.cudnn.conv.fp32_precision = before  # type: ignore[attr-defined]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", METHODS)
def test_replayed_steps_give_what_single_ones_do(name: str, exactly: None, monkeypatch: pytest.MonkeyPatch) -> None:
    where = torch.device("cuda")

    def done(warm: int) -> tuple[list[dict[str, Any]], list[Tensor]]:
        monkeypatch.setattr(steps, "WARM", warm)
        learner = build(name, EPOCHS, device=where, **FIELDS.get(name, {}))
        return [lasting(r) for r in run(learner, engine=Engine("fp32", "eager"), device=where)], weights(learner)

    single, expected = done(10**9)
    replayed, found = done(WARM)
    ways = {phase["name"]: phase["way"] for result in replayed for phase in result["phases"]}
    assert {phase["way"] for result in single for phase in result["phases"]} <= {"eager"}
    assert set(ways.values()) <= {"eager+graph"}
    for one, two in zip(single, replayed, strict=True):
        assert [p["losses"] for p in one["phases"]] == [p["losses"] for p in two["phases"]]
        assert one["predictions"] == two["predictions"]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
