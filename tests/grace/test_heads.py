from __future__ import annotations

from collections.abc import Callable
from math import exp, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from grace.nets.heads import CorrectedHead, CosineHead, Head, LinearHead, NoHead
from grace.nets.incremental import IncrementalNet
from tests.grace.streams_for_tests import tiny

torch.set_num_threads(1)
few = settings(deadline=None, max_examples=25)
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def head(features: int, classes: int, seed: int = 0) -> LinearHead:
    """A head as if trained: no value is one that a fresh head could have."""
    torch.manual_seed(seed)
    made = LinearHead(features, classes)
    with torch.no_grad():
        made.weight.normal_(mean=3.0)
        made.bias.normal_(mean=-3.0)
    return made


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- a fresh head


def test_the_head_of_a_new_net_is_where_the_net_is() -> None:
    net = IncrementalNet(tiny, torch.device("meta"))  # before any class: BEEF adds to its biases in the first task
    assert {parameter.device.type for parameter in net.head.parameters()} == {"meta"}


@pytest.mark.parametrize(("features", "bound"), [(64, 0.2165), (128, 0.1531)])
def test_weights_start_from_kaiming_uniform_with_gain_one(features: int, bound: float) -> None:
    torch.manual_seed(0)
    weight = LinearHead(features, 500).weight
    assert weight.abs().max() <= sqrt(3 / features)
    assert weight.abs().max().item() == pytest.approx(bound, abs=1e-4)
    assert abs(weight.mean()) < 5 * weight.std() / sqrt(weight.numel())
    assert weight.std().item() == pytest.approx(sqrt(1 / features), rel=0.02)


def test_biases_start_from_zero() -> None:
    assert LinearHead(4, 3).bias.tolist() == [0, 0, 0]


def test_a_head_rests_from_the_start_and_after_growth() -> None:
    for made in (LinearHead(), LinearHead(4, 3), LinearHead(4, 3).grown(8, 2)):
        assert isinstance(made, Head)
        assert not made.training
        assert not made.weight.requires_grad
        assert not made.bias.requires_grad


def test_scores_are_weight_times_features_plus_bias() -> None:
    made = LinearHead(2, 3)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[1.0, 2], [3, 4], [5, 6]]))
        made.bias.copy_(torch.tensor([0.5, -0.5, 0]))
    assert made(torch.tensor([[1.0, 10], [0, 1]])).tolist() == [[21.5, 42.5, 65], [2.5, 3.5, 6]]


def test_it_is_one_weight_and_one_bias() -> None:
    made = LinearHead(64, 10)
    assert {name: tuple(p.shape) for name, p in made.named_parameters()} == {"weight": (10, 64), "bias": (10,)}
    assert (made.in_features, made.out_features) == (64, 10)
    assert sum(p.numel() for p in made.parameters()) == 650


# --- growth


@few
@given(
    features=st.integers(0, 9), classes=st.integers(0, 6), more=st.integers(0, 9), new=st.integers(0, 6),
    seed=st.integers(0, 2**31),
)  # fmt: skip
def test_growth_preserves_the_old_block_bitwise(features: int, classes: int, more: int, new: int, seed: int) -> None:
    old = head(features, classes, seed)
    before = (old.weight.clone(), old.bias.clone())
    grown = old.grown(features + more, new)
    assert grown.weight.shape == (classes + new, features + more)
    assert (grown.in_features, grown.out_features) == (features + more, classes + new)
    assert torch.equal(grown.weight[:classes, :features], before[0])
    assert torch.equal(grown.bias[:classes], before[1])
    assert not grown.bias[classes:].any()
    with torch.no_grad():
        grown.weight.zero_()
        grown.bias.add_(1)
    assert torch.equal(old.weight, before[0])  # nothing is shared
    assert torch.equal(old.bias, before[1])


def test_everything_new_is_random_within_the_bound_of_the_larger_fan_in() -> None:
    grown = head(64, 50).grown(128, 50)
    bound = sqrt(3 / 128)
    for block in (grown.weight[:50, 64:], grown.weight[50:, :64], grown.weight[50:, 64:]):
        assert 0.95 * bound < block.abs().max() <= bound
        assert block.abs().min() < 0.05 * bound
        assert block.std().item() == pytest.approx(sqrt(1 / 128), rel=0.05)
        assert (block == 0).sum() == 0


@few
@given(more=st.integers(1, 64), new=st.integers(0, 10), seed=st.integers(0, 2**31))
def test_old_scores_change_at_growth_unless_the_new_columns_are_zeroed(more: int, new: int, seed: int) -> None:
    old = head(16, 5, seed)
    features, added = draw(7, 16, seed=seed), draw(7, more, seed=seed + 1)
    grown = old.grown(16 + more, new)
    together = torch.cat([features, added], dim=1)
    assert (grown(together)[:, :5] - old(features)).abs().max() > 1e-4
    with torch.no_grad():
        grown.weight[:5, 16:] = 0
    assert (grown(together)[:, :5] - old(features)).abs().max() < 1e-4


def test_a_head_grows_from_nothing() -> None:
    first = LinearHead().grown(64, 10)
    assert first.weight.shape == (10, 64)
    assert 0.2 < first.weight.abs().max() <= sqrt(3 / 64)
    assert LinearHead()(torch.empty(3, 0)).shape == (3, 0)


def test_growth_in_steps_counts_every_class() -> None:
    made = LinearHead()
    for task, new in enumerate((50, 10, 10)):
        made = made.grown(64 * (task + 1), new)
    assert sum(p.numel() for p in made.parameters()) == (64 * 3 + 1) * 70


@pytest.mark.parametrize(("features", "new"), [(3, 1), (4, -1)])
def test_growth_refuses_to_lose_anything(features: int, new: int) -> None:
    with pytest.raises(ValueError, match=r"shrink|negative"):
        LinearHead(4, 3).grown(features, new)


def test_draws_come_from_the_default_generator_of_the_cpu() -> None:
    torch.manual_seed(5)
    plain = LinearHead(8, 4).weight
    torch.manual_seed(5)
    with torch.device("meta"):  # as a default device, a stand-in for any accelerator
        elsewhere = LinearHead(8, 4).weight
    assert elsewhere.device.type == "cpu"
    assert torch.equal(plain, elsewhere)
    assert not torch.equal(plain, LinearHead(8, 4).weight)


def test_a_grown_head_is_where_and_as_precise_as_the_old_one() -> None:
    assert LinearHead(4, 3).to("meta").grown(8, 2).weight.device.type == "meta"
    exact = head(4, 3).double()
    grown = exact.grown(8, 2)
    assert grown.bias.dtype == grown.weight.dtype == torch.float64
    assert torch.equal(grown.weight[:3, :4], exact.weight)


@pytest.mark.gpu
@cuda
def test_growth_draws_the_same_on_cuda() -> None:
    grown = []
    for device in ("cpu", "cuda"):
        old = head(8, 3).to(device)
        torch.manual_seed(7)
        grown.append(old.grown(16, 2))
    assert grown[1].weight.is_cuda
    assert torch.equal(grown[0].weight, grown[1].weight.cpu())


# --- alignment


def test_alignment_by_hand() -> None:
    made = LinearHead(2, 4)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[3.0, 4], [0, 15], [6, 8], [0, 30]]))  # norms 5, 15 | 10, 30
        made.bias.copy_(torch.tensor([1.0, 2, 3, 4]))
    made.align(2)  # gamma = 10 / 20
    assert made.weight.tolist() == [[3, 4], [0, 15], [3, 4], [0, 15]]
    assert made.bias.tolist() == [1, 2, 3, 4]


def sized(test: Callable[..., None]) -> Callable[..., None]:
    sizes = given(
        features=st.integers(1, 9), old=st.integers(1, 6), new=st.integers(1, 6), seed=st.integers(0, 2**31),
        scale=st.floats(0.01, 100),
    )  # fmt: skip
    return few(sizes(test))


def aligned(features: int, old: int, new: int, seed: int, scale: float) -> tuple[LinearHead, LinearHead]:
    """A head before and after alignment, its new rows `scale` times as long as the old."""
    pair = head(features, old + new, seed), head(features, old + new, seed)
    for made in pair:
        with torch.no_grad():
            made.weight[old:] *= scale
    pair[1].align(new)
    return pair


@sized
def test_alignment_makes_mean_norms_equal(features: int, old: int, new: int, seed: int, scale: float) -> None:
    before, after = aligned(features, old, new, seed, scale)
    norms = after.weight.double().square().sum(1).sqrt()
    assert norms[old:].mean().item() == pytest.approx(norms[:old].mean().item(), rel=1e-5)
    ratio = norms[old:] / before.weight.double().square().sum(1).sqrt()[old:]
    torch.testing.assert_close(ratio, ratio[:1].expand(new), rtol=1e-5, atol=0)  # one factor for all


@sized
def test_alignment_leaves_old_rows_and_biases(features: int, old: int, new: int, seed: int, scale: float) -> None:
    before, after = aligned(features, old, new, seed, scale)
    assert torch.equal(after.weight[:old], before.weight[:old])
    assert torch.equal(after.bias, before.bias)


@sized
def test_alignment_is_idempotent(features: int, old: int, new: int, seed: int, scale: float) -> None:
    _, after = aligned(features, old, new, seed, scale)
    once = after.weight.clone()
    after.align(new)
    torch.testing.assert_close(after.weight, once, rtol=1e-6, atol=0)


@sized
def test_alignment_keeps_the_winner_of_either_side(features: int, old: int, new: int, seed: int, scale: float) -> None:
    before, after = aligned(features, old, new, seed, scale)
    x = draw(20, features, seed=seed).double()
    for part in (slice(0, old), slice(old, None)):
        scores, scaled = x @ before.weight[part].double().T, x @ after.weight[part].double().T
        winner = scaled.argmax(1, keepdim=True)
        lost = scores.max(1).values - scores.gather(1, winner)[:, 0]
        assert bool((lost <= 1e-5 * scores.abs().max()).all())  # rounding may decide between equals


@pytest.mark.parametrize("new", [0, 3, 4, -1])
def test_alignment_needs_old_and_new_rows(new: int) -> None:
    made = head(2, 3)
    before = made.weight.clone()
    with pytest.raises(ValueError, match="cannot align"):
        made.align(new)
    assert torch.equal(made.weight, before)


# --- cosine similarity to proxies


def cosine(proxies: int, *blocks: list[list[float]], scale: float = 1.0) -> CosineHead:
    """A head with the given proxies, a block per increment."""
    made = CosineHead(proxies)
    for block in blocks:
        made = made.grown(len(block[0]), len(block) // proxies)
    with torch.no_grad():
        made.scale.fill_(scale)
        for own, block in zip(made.blocks, blocks, strict=True):
            own.copy_(torch.tensor(block))
    return made


def test_one_proxy_scores_by_the_scaled_cosine() -> None:
    made = cosine(1, [[1.0, 0], [0, 7]], [[-3.0, 0]], scale=2.0)
    assert made(torch.tensor([[3.0, 4], [0, 5]])).flatten().tolist() == pytest.approx([1.2, 1.6, -1.2, 0, 2, 0])


def test_several_proxies_score_by_their_softmax_weighted_mean() -> None:
    made = cosine(2, [[1.0, 0], [0, 1], [0, -2], [0, -1]], scale=3.0)  # two classes
    first = (0.6 * exp(0.6) + 0.8 * exp(0.8)) / (exp(0.6) + exp(0.8))
    assert made(torch.tensor([[3.0, 4]])).flatten().tolist() == pytest.approx([3 * first, 3 * -0.8])


def test_cosine_scores_ignore_lengths() -> None:
    made, x = CosineHead(4).grown(6, 3), draw(5, 6)
    expected = made(x)
    with torch.no_grad():
        made.blocks[0].mul_(draw(12, 1).abs() + 0.1)
    torch.testing.assert_close(made(100 * x), expected)


def test_a_cosine_head_grows_by_a_block_and_keeps_the_others() -> None:
    first = CosineHead(10).grown(64, 5)
    with torch.no_grad():
        first.scale.fill_(2.5)
    second = first.grown(64, 3)
    assert [tuple(block.shape) for block in second.blocks] == [(50, 64), (30, 64)]
    assert (second.in_features, second.out_features) == (64, 8)
    assert torch.equal(second.blocks[0], first.blocks[0])
    assert float(second.scale) == 2.5
    assert sum(p.numel() for p in second.parameters()) == 10 * 8 * 64 + 1
    for block in second.blocks:
        assert 0.95 / 8 < block.abs().max() <= 1 / 8  # 1 / sqrt(64)
        assert block.std().item() == pytest.approx(1 / 8 / sqrt(3), rel=0.05)
    assert not any(p.requires_grad for p in second.parameters())
    assert not second.training
    x = draw(4, 64)
    torch.testing.assert_close(second(x)[:, :5], first(x))
    with torch.no_grad():
        second.blocks[0].zero_()
    assert first.blocks[0].abs().min() > 0  # nothing is shared


def test_a_grown_cosine_head_is_where_and_as_precise_as_the_old_one() -> None:
    assert CosineHead(2).grown(4, 3).to("meta").grown(4, 2).blocks[1].device.type == "meta"
    exact = CosineHead(2).grown(4, 3).double()
    assert {p.dtype for p in exact.grown(4, 2).parameters()} == {torch.float64}
    torch.manual_seed(5)
    plain = CosineHead(2).grown(4, 3)
    torch.manual_seed(5)
    with torch.device("meta"):
        elsewhere = CosineHead(2).grown(4, 3)
    assert torch.equal(plain.blocks[0], elsewhere.blocks[0])


def test_cosine_heads_refuse_what_they_cannot_compare() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        CosineHead().grown(4, 3).grown(8, 2)
    with pytest.raises(ValueError, match="negative"):
        CosineHead().grown(4, -1)
    with pytest.raises(ValueError, match="at least 1"):
        CosineHead(0)
    with pytest.raises(ValueError, match="no weights to align"):
        CosineHead().grown(4, 3).align(1)


# --- corrected scores


def test_corrections_act_on_their_own_increment() -> None:
    made = CorrectedHead().grown(1, 2).grown(1, 1).grown(1, 2)
    with torch.no_grad():
        made.linear.weight.copy_(torch.tensor([[1.0], [2], [3], [4], [5]]))
        made.linear.bias.copy_(torch.tensor([0.0, 0, 1, 0, 0]))
        for pair, values in zip(made.corrections, ([1.0, 0.0], [0.5, -1.0], [2.0, 10.0]), strict=True):
            pair.copy_(torch.tensor(values))
    assert made(torch.tensor([[1.0], [10]])).tolist() == [[1, 2, 1, 18, 20], [10, 20, 14.5, 90, 110]]


def test_a_corrected_head_grows_by_a_pair_that_corrects_nothing() -> None:
    first = CorrectedHead().grown(64, 5)
    with torch.no_grad():
        first.corrections[0].copy_(torch.tensor([1.5, -2.0]))
    second = first.grown(64, 3)
    assert [pair.tolist() for pair in second.corrections] == [[1.5, -2.0], [1.0, 0.0]]
    assert (second.in_features, second.out_features) == (64, 8)
    assert sum(p.numel() for p in second.parameters()) == 65 * 8 + 2 * 2
    x = draw(4, 64)
    torch.testing.assert_close(second(x)[:, :5], first(x))
    assert torch.equal(second(x)[:, 5:], second.linear(x)[:, 5:])
    assert not any(p.requires_grad for p in second.parameters())
    assert not second.training
    with torch.no_grad():
        second.corrections[0].zero_()
    assert first.corrections[0].tolist() == [1.5, -2.0]  # nothing is shared
    assert {p.dtype for p in first.double().grown(64, 1).parameters()} == {torch.float64}
    with pytest.raises(ValueError, match="shrink"):
        first.grown(32, 1)


# --- no scores


def test_no_head_scores_nothing_and_costs_nothing() -> None:
    made = NoHead().grown(4, 3).grown(8, 2)
    assert made(draw(5, 8)).shape == (5, 0)
    assert (made.in_features, made.out_features) == (8, 0)
    assert not list(made.parameters())
    assert not made.training
