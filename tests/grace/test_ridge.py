"""Recursive ridge regression equals the joint solution, whatever the split into tasks and batches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grace.ridge import RecursiveRidge


@given(
    seed=st.integers(0, 10**6),
    gamma=st.floats(0.01, 10.0),
    tasks=st.lists(st.tuples(st.integers(1, 3), st.lists(st.integers(1, 25), min_size=1, max_size=4)), min_size=1),
)
@settings(max_examples=40, deadline=None)
def test_recursive_equals_joint(seed: int, gamma: float, tasks: list[tuple[int, list[int]]]) -> None:
    generator = torch.Generator().manual_seed(seed)
    ridge, seen = RecursiveRidge(12, gamma), 0
    xs, ys = [], []
    for classes, batches in tasks:
        ridge.add_classes(classes)
        for size in batches:
            x = torch.randn(size, 12, generator=generator, dtype=torch.float64).relu()
            y = torch.randint(seen, seen + classes, (size,), generator=generator)
            ridge.update(x, y)
            xs.append(x)
            ys.append(y)
        seen += classes
    x, y = torch.cat(xs), torch.cat(ys)
    targets = torch.eye(seen, dtype=torch.float64)[y]
    joint = torch.linalg.inv(x.T @ x + gamma * torch.eye(12, dtype=torch.float64)) @ x.T @ targets
    assert torch.allclose(ridge.weight, joint, atol=1e-8, rtol=0)
    assert torch.allclose(ridge.scores(x), x @ joint, atol=1e-7, rtol=0)


def test_a_negative_regulariser_is_refused() -> None:
    with pytest.raises(ValueError, match="gamma must be above 0"):
        RecursiveRidge(3, 0.0)


def test_going_on_leaves_what_was_given_and_ends_where_one_that_never_stopped_does() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(2, (30,), generator=generator)
    whole, first = RecursiveRidge(5), RecursiveRidge(5)
    for ridge in (whole, first):
        ridge.add_classes(2)
        ridge.update(x[:20], y[:20])
    held = first.inverse.clone(), first.weight.clone()
    second = RecursiveRidge.resumed(first.inverse, first.weight)
    for ridge in (whole, second):
        ridge.update(x[20:], y[20:])
    assert torch.equal(whole.weight, second.weight)
    assert torch.equal(first.inverse, held[0])
    assert torch.equal(first.weight, held[1])
