"""Exemplar memory: herding, budgets and the nearest-mean readout, against the definitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from grace.memory import Memory, class_means, herd, nearest_mean
from grace.streams.protocol import Budget
from grace.streams.samples import Dataset


def cloud(n: int, d: int, seed: int) -> Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed))


def greedy(features: Tensor, count: int) -> list[int]:
    """The definition, written out row by row in Python."""
    phi = [f.double() / (f.double().norm() + 1e-8) for f in features]
    mean = sum(phi[1:], phi[0]) / len(phi)
    chosen: list[int] = []
    for k in range(1, count + 1):
        total = sum((phi[i] for i in chosen), torch.zeros_like(mean))
        gaps = {i: float((mean - (phi[i] + total) / k).norm()) for i in range(len(phi)) if i not in chosen}
        chosen.append(min(gaps, key=lambda i: gaps[i]))
    return chosen


@given(n=st.integers(3, 14), d=st.integers(1, 6), seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_herding_is_the_greedy_definition(n: int, d: int, seed: int) -> None:
    features = cloud(n, d + 1, seed)  # of two rows the mean is equally far from both: a tie but for rounding
    assert herd(features, n).tolist() == greedy(features, n)


def test_herding_is_the_greedy_definition_on_a_class_of_real_size() -> None:
    features = cloud(300, 64, 7).square()
    assert herd(features, 60).tolist() == greedy(features, 60)


@given(n=st.integers(2, 20), seed=st.integers(0, 10**6), small=st.integers(1, 20), large=st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_herding_prefixes_permutations_and_duplicates(n: int, seed: int, small: int, large: int) -> None:
    features = cloud(n, 5, seed)
    few, many = sorted((small, large))
    assert herd(features, few).tolist() == herd(features, many).tolist()[:few]
    assert sorted(herd(features, n).tolist()) == list(range(n))  # m = class size: a permutation
    assert len(herd(features, n + 7)) == n  # capped at the class size


@given(n=st.integers(3, 16), seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_herding_does_not_depend_on_dataset_order(n: int, seed: int) -> None:
    features = cloud(n, 6, seed)
    shuffle = torch.randperm(n, generator=torch.Generator().manual_seed(seed + 1))
    assert shuffle[herd(features[shuffle], n)].tolist() == herd(features, n).tolist()


def test_herding_takes_the_first_of_equals() -> None:
    assert herd(torch.ones(4, 3), 3).tolist() == [0, 1, 2]


@given(budget=st.integers(0, 60), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6), images=st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_memory_law(budget: int, sizes: list[int], images: int) -> None:
    memory, seen, ranked = Memory(Budget(budget)), 0, {}
    source = Dataset()
    source.y = torch.arange(sum(sizes)).repeat_interleave(images)
    for size in sizes:
        new = {c: torch.arange(images).flip(0) + c * images for c in range(seen, seen + size)}
        ranked |= new
        seen += size
        memory.update(new, seen)
        share = min(budget // seen, images)
        assert {c: rows.tolist() for c, rows in memory.by_class.items()} == {
            c: rows[:share].tolist() for c, rows in ranked.items()
        }  # shrinking keeps a prefix of the old ranking
        assert len(memory) <= budget
        samples = memory.samples(source)
        assert samples.y.tolist() == sorted(samples.y.tolist())
        assert sorted(set(samples.y.tolist())) == (list(range(seen)) if share else [])


def test_a_fixed_number_per_class_does_not_shrink() -> None:
    memory = Memory(Budget(3, "class"))
    memory.update({0: torch.arange(5)}, 1)
    memory.update({1: torch.arange(10, 12)}, 2)
    assert {c: rows.tolist() for c, rows in memory.by_class.items()} == {0: [0, 1, 2], 1: [10, 11]}


@pytest.mark.parametrize(
    ("seen", "share"), [(10, 200), (20, 100), (30, 66), (40, 50), (50, 40), (60, 33), (70, 28), (80, 25), (90, 22)]
)
def test_shares_of_two_thousand(seen: int, share: int) -> None:
    assert Budget(2000).share(seen) == share


def test_nearest_mean_of_one_exemplar_per_class_is_the_nearest_exemplar() -> None:
    exemplars, test = cloud(7, 4, 1), cloud(50, 4, 2)
    scores = nearest_mean(class_means(exemplars, torch.arange(7), 7))(test)
    units = [t / t.norm() for t in exemplars]
    expected = [min(range(7), key=lambda c: float((t / t.norm() - units[c]).norm())) for t in test]
    assert scores.argmax(1).tolist() == expected


def test_class_means_by_hand() -> None:
    features = torch.tensor([[2.0, 0.0], [0.0, 5.0], [3.0, 3.0]])
    means = class_means(features, torch.tensor([0, 0, 1]), 2)
    half = 0.5**0.5
    assert torch.allclose(means, torch.tensor([[half, half], [half, half]], dtype=torch.float64), atol=1e-7)
    distance = nearest_mean(means)(torch.tensor([[4.0, 0.0]]))
    assert torch.allclose(distance, torch.tensor([[-(2 - 2 * half)] * 2], dtype=torch.float64), atol=1e-6)
