from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from grace.losses import auxiliary_targets, effective_rank, mixing_weight, nca, pod_spatial, soft_kl

torch.set_num_threads(1)
few = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**31)
shares = st.floats(0.01, 1.0)
exponents = st.floats(0.5, 1000.0)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- distillation of logits


@few
@given(batch=st.integers(1, 9), classes=st.integers(1, 12), temperature=st.floats(0.5, 8), seed=seeds)
def test_soft_kl_is_cross_entropy_minus_entropy(batch: int, classes: int, temperature: float, seed: int) -> None:
    student, teacher = 3 * draw(batch, classes, seed=seed), 3 * draw(batch, classes, seed=seed + 1)
    soft = F.softmax(teacher / temperature, dim=1)
    entropy = torch.distributions.Categorical(probs=soft).entropy().mean()
    expected = temperature**2 * (F.cross_entropy(student / temperature, soft) - entropy)
    torch.testing.assert_close(soft_kl(student, teacher, temperature), expected, rtol=1e-9, atol=1e-9)


def test_soft_kl_by_hand() -> None:
    student = torch.tensor([[0.0, 0.0], [2 * log(3), 0.0]])  # softened by 2: (1/2, 1/2), (3/4, 1/4)
    teacher = torch.tensor([[2 * log(3), 0.0], [2 * log(3), 0.0]])  # (3/4, 1/4) twice
    first = 0.75 * log(0.75 / 0.5) + 0.25 * log(0.25 / 0.5)
    assert soft_kl(student, teacher, 2.0).item() == pytest.approx(4 * (first + 0) / 2, rel=1e-5)


@few
@given(seed=seeds, temperature=st.floats(0.5, 8))
def test_soft_kl_ignores_a_constant_per_sample(seed: int, temperature: float) -> None:
    student, teacher = draw(5, 7, seed=seed), draw(5, 7, seed=seed + 1)
    shift, other = 10 * draw(5, 1, seed=seed + 2), 10 * draw(5, 1, seed=seed + 3)
    expected = soft_kl(student, teacher, temperature)
    assert expected > 0
    torch.testing.assert_close(soft_kl(student + shift, teacher + other, temperature), expected)


@few
@given(seed=seeds)
def test_soft_kl_is_zero_with_zero_gradient_where_logits_agree(seed: int) -> None:
    teacher = draw(5, 7, seed=seed)
    student = teacher.clone().requires_grad_()
    value = soft_kl(student, teacher, 2.0)
    assert value.item() == pytest.approx(0, abs=1e-12)
    value.backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-12


def test_the_gradient_of_soft_kl_is_softmax_difference_times_the_temperature() -> None:
    student, teacher = draw(4, 6).requires_grad_(), draw(4, 6, seed=1)
    soft_kl(student, teacher, 3.0).backward()
    expected = 3.0 * (F.softmax(student.detach() / 3, 1) - F.softmax(teacher / 3, 1)) / 4
    assert student.grad is not None
    torch.testing.assert_close(student.grad, expected)


def test_soft_kl_stays_finite_for_confident_logits() -> None:
    student, teacher = torch.tensor([[1e4, 0.0, -1e4]]), torch.tensor([[-1e4, 0.0, 1e4]])
    assert soft_kl(student, teacher, 2.0).item() == pytest.approx(4 * 1e4)  # T^2 * difference of log-odds / T


# --- auxiliary targets


def test_auxiliary_targets_by_hand() -> None:
    y = torch.tensor([0, 9, 10, 11, 14, 3])
    assert auxiliary_targets(y, 10).tolist() == [0, 0, 1, 2, 5, 0]
    assert auxiliary_targets(y, 10).dtype == torch.int64
    assert auxiliary_targets(y[:0], 10).tolist() == []


@few
@given(known=st.integers(1, 90), new=st.integers(1, 50))
def test_auxiliary_targets_pool_old_classes_and_keep_new_ones_apart(known: int, new: int) -> None:
    targets = auxiliary_targets(torch.arange(known + new), known).tolist()
    assert targets[:known] == [0] * known
    assert targets[known:] == list(range(1, new + 1))


# --- effective rank


@pytest.mark.parametrize(
    ("points", "expected"), [(torch.eye(4), 1.0), (torch.diag(torch.tensor([4.0, 2.0, 1.0, 1.0])), 0.8409)]
)
def test_effective_rank_golden_values(points: Tensor, expected: float) -> None:
    assert effective_rank(torch.cat([points, -points])) == pytest.approx(expected, abs=5e-5)


def test_effective_rank_of_unequal_axes_is_a_power_of_two() -> None:
    points = torch.diag(torch.tensor([4.0, 2.0, 1.0, 1.0]))  # entropy 7/4 bits
    assert effective_rank(torch.cat([points, -points])) == pytest.approx(2**1.75 / 4, abs=1e-9)


@few
@given(count=st.integers(4, 40), seed=seeds)
def test_effective_rank_of_a_line_is_one_dimension(count: int, seed: int) -> None:
    assert effective_rank(draw(count, 1, seed=seed) * draw(1, 4, seed=seed + 1)) == pytest.approx(0.25, abs=1e-6)


@few
@given(count=st.integers(1, 40), width=st.integers(1, 9), value=st.floats(-1e3, 1e3))
def test_effective_rank_of_constant_features_is_zero(count: int, width: int, value: float) -> None:
    assert effective_rank(torch.full((count, width), value)) == 0.0


@pytest.mark.parametrize("shape", [(0, 8), (8, 0), (0, 0)])
def test_effective_rank_without_features_is_zero(shape: tuple[int, int]) -> None:
    assert effective_rank(torch.empty(shape)) == 0.0


def test_effective_rank_leaves_out_singular_values_up_to_the_absolute_cut() -> None:
    def axes(*lengths: float) -> Tensor:  # centred points whose singular values are sqrt(2) * lengths
        points = torch.diag(torch.tensor(lengths, dtype=torch.float64))
        return torch.cat([points, -points])

    assert effective_rank(axes(0.99e-5 / 2**0.5, 0.99e-5 / 2**0.5)) == 0.0
    assert effective_rank(axes(1.01e-5 / 2**0.5, 0.99e-5 / 2**0.5)) == pytest.approx(0.5)
    assert effective_rank(axes(1.01e-5 / 2**0.5, 1.01e-5 / 2**0.5)) == pytest.approx(1.0)


shapes = {"count": st.integers(2, 60), "width": st.integers(1, 12), "seed": seeds}


def spread(count: int, width: int, seed: int) -> Tensor:
    """Features with unequal variances, off the origin."""
    scales = torch.logspace(0, -1.5, width, dtype=torch.float64)
    return draw(count, width, seed=seed) * scales + 5 * draw(1, width, seed=seed + 1)


def rotation(width: int, seed: int) -> Tensor:
    return torch.linalg.qr(draw(width, width, seed=seed)).Q


@few
@given(**shapes)
def test_effective_rank_equals_numpys_route(count: int, width: int, seed: int) -> None:
    z = spread(count, width, seed).numpy()
    values = np.sqrt(np.clip(np.linalg.eigvalsh(np.cov(z, rowvar=False, bias=True).reshape(width, width)), 0, None))
    values = values * np.sqrt(count)
    p = values[values > 1e-5] / values[values > 1e-5].sum()
    expected = exp(-float((p * np.log(p)).sum())) / min(count, width)
    assert effective_rank(torch.from_numpy(z)) == pytest.approx(expected, rel=1e-6)


@few
@given(**shapes)
def test_effective_rank_lies_between_one_over_the_smaller_side_and_one(count: int, width: int, seed: int) -> None:
    value = effective_rank(spread(count, width, seed))
    assert 1 / min(count, width) - 1e-9 <= value <= 1 + 1e-9


@few
@given(**shapes)
def test_effective_rank_ignores_shift_order_rotation_and_scale(count: int, width: int, seed: int) -> None:
    z = spread(count, width, seed)
    expected = pytest.approx(effective_rank(z), rel=1e-6)
    assert effective_rank(z + 100 * draw(1, width, seed=seed + 2)) == expected
    assert effective_rank(z[torch.randperm(count, generator=torch.Generator().manual_seed(seed))]) == expected
    assert effective_rank(z @ rotation(width, seed)) == expected
    assert effective_rank(37.5 * z) == expected


@few
@given(width=st.integers(1, 12), more=st.integers(1, 40), copies=st.integers(2, 4), seed=seeds)
def test_effective_rank_ignores_duplication_where_samples_outnumber_features(
    width: int, more: int, copies: int, seed: int
) -> None:
    z = spread(width + more, width, seed)
    assert effective_rank(z.repeat(copies, 1)) == pytest.approx(effective_rank(z), rel=1e-6)


@few
@given(count=st.integers(2, 12), more=st.integers(0, 20), seed=seeds)
def test_effective_rank_of_few_samples_is_below_one_because_of_centring(count: int, more: int, seed: int) -> None:
    assert effective_rank(draw(count, count + more, seed=seed)) <= (count - 1) / count + 1e-6


def test_effective_rank_takes_any_precision_and_leaves_its_input() -> None:
    z = draw(50, 8).float().requires_grad_()
    before = z.detach().clone()
    value = effective_rank(z)
    assert isinstance(value, float)
    assert torch.equal(z.detach(), before)
    assert z.grad is None
    assert effective_rank(z.double()) == value
    assert effective_rank(z.bfloat16()) == pytest.approx(value, rel=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_effective_rank_is_the_same_on_cuda() -> None:
    z = spread(2000, 64, 0)
    assert effective_rank(z.cuda()) == pytest.approx(effective_rank(z), rel=1e-9)


# --- mixing weight


@few
@given(a=shares, b=shares, p=exponents)
def test_mixing_weight_is_symmetric_and_between_its_shares(a: float, b: float, p: float) -> None:
    weight = mixing_weight(a, b, p)
    assert weight == mixing_weight(b, a, p)
    assert min(a, b) - 1e-12 <= weight <= max(a, b)


@few
@given(a=shares, b=shares, more=st.floats(0.01, 0.5), p=st.floats(0.5, 20))
def test_mixing_weight_rises_with_each_share(a: float, b: float, more: float, p: float) -> None:
    a, b = a / 2, b / 2
    assert mixing_weight(a + more, b, p) >= mixing_weight(a, b, p)
    assert mixing_weight(a + more, b + more, p) > mixing_weight(a, b, p)
    assert mixing_weight(0.3 + more, 0.4, p) > mixing_weight(0.3, 0.4, p)


@few
@given(a=shares, b=shares, p=st.floats(0.5, 40))
def test_mixing_weight_is_the_power_mean(a: float, b: float, p: float) -> None:
    assert mixing_weight(a, b, p) == pytest.approx(((a**p + b**p) / 2) ** (1 / p), rel=1e-9)


@few
@given(a=shares, b=shares)
def test_mixing_weight_with_exponent_one_is_the_mean(a: float, b: float) -> None:
    assert mixing_weight(a, b, 1.0) == pytest.approx((a + b) / 2)


@few
@given(a=shares, b=shares, p=st.sampled_from([1e2, 1e3, 1e4]))
def test_mixing_weight_tends_to_the_maximum(a: float, b: float, p: float) -> None:
    assert mixing_weight(a, b, p) == pytest.approx(max(a, b), rel=log(2) / p)


def test_mixing_weight_is_exact_where_plain_powers_underflow() -> None:
    assert 0.4**1000 == 0.0  # so ((a^p + b^p) / 2)^(1/p) would be 0
    assert mixing_weight(0.4, 0.4, 1000) == 0.4
    assert mixing_weight(0.3, 0.4, 1000) == pytest.approx(0.4 * 2**-0.001, rel=1e-12)


@pytest.mark.parametrize(("a", "b", "expected"), [(0, 0, 0), (1, 1, 1), (0, 1, 0.5), (1, 0, 0.5)])
def test_mixing_weight_at_the_ends(a: float, b: float, expected: float) -> None:
    assert mixing_weight(a, b, 1.0) == expected


@pytest.mark.parametrize(("a", "b", "p"), [(-0.1, 0.5, 5), (0.5, 1.1, 5), (0.5, 0.5, 0), (0.5, 0.5, -1)])
def test_mixing_weight_refuses_what_is_no_share_or_exponent(a: float, b: float, p: float) -> None:
    with pytest.raises(ValueError, match="must"):
        mixing_weight(a, b, p)


# (a, b, w) of the first four incremental tasks on CIFAR-100 with 2,000 exemplars, each merging into one branch.
TABLE = {
    (10, 10): [(0.500, 0.714, 0.641), (0.667, 0.833, 0.768), (0.750, 0.883, 0.827), (0.800, 0.909, 0.861)],
    (5, 5): [(0.500, 0.556, 0.531), (0.667, 0.714, 0.692), (0.750, 0.790, 0.771), (0.800, 0.833, 0.817)],
    (50, 10): [(0.833, 0.926, 0.884), (0.857, 0.938, 0.901), (0.875, 0.947, 0.914), (0.889, 0.952, 0.923)],
    (50, 2): [(0.962, 0.926, 0.944), (0.963, 0.929, 0.947), (0.964, 0.931, 0.948), (0.966, 0.935, 0.951)],
}


@pytest.mark.parametrize(("first", "increment"), TABLE)
def test_mixing_weight_matches_the_table_of_cifar_protocols(first: int, increment: int) -> None:
    for task, expected in enumerate(TABLE[first, increment]):
        known = first + task * increment
        a = known / (known + increment)
        b = 500 / (500 + 2000 // known)
        assert (a, b, mixing_weight(a, b, 5)) == pytest.approx(expected, abs=5.01e-4)


# --- classification by neighbourhood components


def test_nca_by_hand() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.0], [0.5, 1.0, 3.0]], dtype=torch.float64)
    y = torch.tensor([0, 1])
    first, second = log(exp(1) + exp(0)) - 2, log(exp(0.5) + exp(3)) - 1  # the true class is not in the sum
    assert first < 0 < second
    assert nca(scores, y).item() == pytest.approx((0 + second) / 2)  # what is won by far costs nothing
    assert nca(scores, y, margin=0.6).item() == pytest.approx((0 + second + 0.6) / 2)
    assert nca(scores, y, margin=1.6).item() == pytest.approx((first + second) / 2 + 1.6)


def test_nca_has_no_gradient_where_a_class_has_won() -> None:
    scores = torch.tensor([[9.0, 1.0, 0.0], [0.5, 1.0, 3.0]]).requires_grad_()
    nca(scores, torch.tensor([0, 1]), margin=0.6).backward()
    assert scores.grad is not None
    assert scores.grad[0].tolist() == [0, 0, 0]
    share = exp(0.5) / (exp(0.5) + exp(3))
    assert scores.grad[1].tolist() == pytest.approx([share / 2, -0.5, (1 - share) / 2])


@few
@given(batch=st.integers(1, 9), classes=st.integers(2, 12), seed=seeds)
def test_nca_over_the_whole_is_what_shifting_to_a_maximum_of_zero_gives(batch: int, classes: int, seed: int) -> None:
    scores = 3 * draw(batch, classes, seed=seed)
    y = torch.randint(classes, (batch,), generator=torch.Generator().manual_seed(seed))
    total = 0.0
    for row, label in zip(scores.tolist(), y.tolist(), strict=True):
        shifted = [s - max(row) for s in row]
        terms = [exp(0 if c == label else s) for c, s in enumerate(shifted)]
        total -= shifted[label] - log(sum(terms))
    value = nca(scores, y, whole=True)
    assert value.item() == pytest.approx(total / batch, rel=1e-9)
    assert nca(scores - 0.6, y, whole=True).item() == pytest.approx(value.item())  # a margin off all scores cancels


@few
@given(seed=seeds)
def test_nca_over_the_whole_is_cross_entropy_where_the_true_class_wins(seed: int) -> None:
    scores = draw(6, 5, seed=seed)
    assert nca(scores, scores.argmax(1), whole=True).item() == pytest.approx(
        F.cross_entropy(scores, scores.argmax(1)).item()
    )
    worst = nca(scores, scores.argmin(1), whole=True)
    assert worst > F.cross_entropy(scores, scores.argmin(1))


def test_nca_of_a_single_class_is_nothing() -> None:
    scores = torch.tensor([[2.0], [-3.0]]).requires_grad_()
    value = nca(scores, torch.tensor([0, 0]), margin=0.6)
    value.backward()
    assert value.item() == 0
    assert scores.grad is not None
    assert scores.grad.tolist() == [[0], [0]]


# --- distillation of maps


def test_pod_spatial_by_hand() -> None:
    one = torch.tensor([[[[1.0, 2.0]]]])  # squares 1, 4: 5 along the width, (1, 4) along the height
    other = torch.tensor([[[[2.0, -1.0]]]])  # (5, 4, 1)
    distance = (9 + 9) ** 0.5 / 42**0.5
    assert pod_spatial([one], [other]).item() == pytest.approx(distance)
    assert pod_spatial([one, one], [other, one]).item() == pytest.approx(distance / 2)  # the mean over stages
    assert pod_spatial([torch.cat([one, one, one])], [torch.cat([other, one, one])]).item() == pytest.approx(
        distance / 3
    )
    assert pod_spatial([10 * one], [-one]).item() == pytest.approx(0, abs=1e-6)  # neither size nor sign counts


def test_pod_spatial_keeps_rows_columns_and_channels_apart() -> None:
    maps, other = draw(1, 2, 2, 3), draw(1, 2, 2, 3, seed=1)

    def vector(m: Tensor) -> list[float]:
        square = (m[0] ** 2).tolist()  # [channel][row][column]
        rows = [sum(row) for channel in square for row in channel]
        columns = [sum(row[w] for row in channel) for channel in square for w in range(3)]
        length = sum(v * v for v in rows + columns) ** 0.5
        return [v / length for v in rows + columns]

    expected = sum((a - b) ** 2 for a, b in zip(vector(maps), vector(other), strict=True)) ** 0.5
    assert pod_spatial([maps], [other]).item() == pytest.approx(expected)
    assert pod_spatial([maps.flip(2)], [maps]) > 0.01
    assert pod_spatial([maps.flip(3)], [maps]) > 0.01
    assert pod_spatial([maps.flip(1)], [maps]) > 0.01


def test_pod_spatial_has_a_finite_gradient_where_maps_agree_or_are_empty() -> None:
    for start in (draw(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)):
        maps = start.clone().requires_grad_()
        value = pod_spatial([maps], [start])
        value.backward()
        assert value.item() == 0
        assert maps.grad is not None
        assert not maps.grad.any()


def test_pod_spatial_is_exact_on_bfloat16_maps() -> None:
    maps, other = draw(2, 3, 8, 8).bfloat16(), draw(2, 3, 8, 8, seed=1).bfloat16()
    value = pod_spatial([maps], [other])
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(pod_spatial([maps.double()], [other.double()]).item(), rel=1e-5)
