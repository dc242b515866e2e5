"""Terms and measures that methods share: pure functions of tensors or numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from grace.checks import require


def soft_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(softmax(teacher / T) || softmax(student / T)), logits [B, classes] each, averaged over the batch.

    T^2 keeps the size of the gradient independent of T (Hinton et al. 2015, section 2).
    """
    soft = F.log_softmax(teacher / temperature, dim=1)
    own = F.log_softmax(student / temperature, dim=1)
    return temperature**2 * F.kl_div(own, soft, reduction="batchmean", log_target=True)


def distil(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return -sum_c softmax(teacher / T)_c log softmax(student / T)_c, logits [B, classes], averaged over the batch.

    Knowledge distillation as LwF, iCaRL, BiC, WA and FOSTER have it in PyCIL: cross-entropy, without a factor T^2.
    """
    soft = F.softmax(teacher / temperature, dim=1)
    return F.cross_entropy(student / temperature, soft)


def retained(logits: Tensor, y: Tensor, old: Tensor | None, share: float, temperature: float) -> dict[str, Tensor]:
    """Return (1 - share) cross-entropy and share * distillation of the `old` logits [B, known], by name (BiC, WA).

    `share` is the part of the classes that are old, lambda; without a teacher there is the first term alone.
    """
    terms = {"ce": (1 - share) * F.cross_entropy(logits, y)}
    if old is not None:
        terms["distil"] = share * distil(logits[:, : old.shape[1]], old, temperature)
    return terms


def auxiliary_targets(y: Tensor, known: int) -> Tensor:
    """Return targets int64 [B] of labels y int64 [B]: 0 for each of the `known` old classes, 1, 2, ... for the new.

    They let the newest branch tell new classes from each other and from the old (DER, Yan et al. 2021, section 3.2).
    """
    return (y - known + 1).clamp(min=0)


def info_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Return the InfoNCE loss of two views side by side, [2B, d] each: row i and row i + B are views of one image.

    Mean over i of -log softmax over j != i of cos(query_i, key_j) / temperature, taken at the other view of i's image
    (NT-Xent, Chen et al. 2020). Queries and keys may be the same; i's own key is left out either way.
    """
    similar = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T / temperature
    places = torch.arange(len(queries), device=queries.device)
    similar = similar.masked_fill(places[:, None] == places, -torch.inf)
    return F.cross_entropy(similar, places.roll(len(places) // 2))


def mean_where(chosen: Tensor, values: Tensor) -> Tensor:
    """Return the mean of values [B] where chosen bool [B] holds, 0 if nowhere, without asking the device."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def effective_rank(features: Tensor) -> float:
    """Return the effective rank of features [N, d] as a fraction of min(N, d): exp(H(p)) / min(N, d).

    p_i = s_i / sum s over the singular values s > 1e-5 of the centred features (not squared) and
    H(p) = -sum p_i ln(p_i + 1e-12) (Roy and Vetterli 2007); GRACE's saturation. 0 without features or spread.
    Computed in float64 where the features are.
    """
    if features.numel() == 0:
        return 0.0
    exact = features.detach().double()
    values = torch.linalg.svdvals(exact - exact.mean(dim=0))
    values = values[values > 1e-5]
    if len(values) == 0:
        return 0.0
    p = values / values.sum()
    entropy = -(p * (p + 1e-12).log()).sum()
    return float(entropy.exp()) / min(features.shape)


def mixing_weight(old_share: float, imbalance: float, exponent: float) -> float:
    """Return the weight of the older of two branches that are merged: the power mean ((a^p + b^p) / 2)^(1/p) (GRACE).

    a = old_share, the part of the merged classes that the older branch absorbed; b = imbalance, N_new / (N_new + N_old)
    with images per new and exemplars per old class; both in [0, 1]. p = exponent: 1 is the mean, large ones tend to the
    maximum. Raises ValueError for values out of range.
    """
    shares = 0 <= old_share <= 1 and 0 <= imbalance <= 1
    require(shares, f"old_share and imbalance must lie in [0, 1], not {old_share} and {imbalance}")
    require(exponent > 0, f"exponent must be above 0, not {exponent}")
    low, high = sorted((old_share, imbalance))
    if high == 0:
        return 0.0
    ratio = low / high  # powers of what is at most 1 cannot overflow, and the larger share cannot underflow
    return float(high * ((1 + ratio**exponent) / 2) ** (1 / exponent))


def balanced_weights(counts: Tensor, beta: float) -> Tensor:
    """Return per class (1 - beta) / (1 - beta^n), rescaled to sum to the number of classes; counts n int64 [classes].

    (1 - beta^n) / (1 - beta) is the effective number of n images (Cui et al. 2019), so rare classes weigh more. A class
    without images counts as one of a single image. Raises ValueError unless beta lies in [0, 1).
    """
    require(0 <= beta < 1, f"beta must lie in [0, 1), not {beta}")
    weights = (1 - beta) / (1 - beta ** counts.clamp(min=1).double())
    return (weights * (len(weights) / weights.sum())).float()


def balanced_distil(student: Tensor, teacher: Tensor, weights: Tensor, temperature: float) -> Tensor:
    """Return `distil` towards softmax(teacher / T) times `weights` [classes], rescaled to sum to 1 for each image.

    Logits are [B, classes] each. FOSTER's balanced distillation (Wang et al. 2022): rare classes weigh more.
    """
    soft = F.softmax(teacher / temperature, dim=1) * weights
    return F.cross_entropy(student / temperature, soft / soft.sum(dim=1, keepdim=True))


def nca(scores: Tensor, y: Tensor, margin: Tensor | float = 0.0, whole: bool = False) -> Tensor:
    """Return the batch mean of max(0, log sum_{c != y} exp(s_c) - (s_y - margin)): scores s [B, classes], y int64 [B].

    Neighbourhood component analysis on class scores (PODNet, Douillard et al. 2020: local similarity classifier): the
    true class is left out of the sum and the margin taken off its score alone; the hinge keeps what is won from being
    pressed further. With `whole` the true class counts in the sum too, as if it had the largest score of all. That is
    what public code computes, by shifting scores to a maximum of zero and then setting the true one to zero.
    """
    true = y[:, None] == torch.arange(scores.shape[1], device=scores.device)
    standing = scores.amax(1, keepdim=True) if whole else torch.full_like(scores, -torch.inf)
    others = torch.where(true, standing, scores).logsumexp(1)
    own = torch.where(true, scores, 0.0).sum(1)
    return (others - own + margin).clamp(min=0).mean()


def pod_spatial(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Return how far apart the maps [B, C, H, W] of two nets are, one pair per stage; averaged over batch and stages.

    Squared maps are summed over their width and over their height, the two sums joined in one vector of unit length
    per image, and compared by Euclidean distance (POD-spatial, Douillard et al. 2020, section 3.1, as PyCIL has it).
    """
    apart = [
        (_outlines(one) - _outlines(other)).norm(dim=1).mean() for one, other in zip(student, teacher, strict=True)
    ]
    return torch.stack(apart).mean()


def _outlines(maps: Tensor) -> Tensor:
    """Return [B, C * (H + W)] of maps [B, C, H, W]; not in bfloat16."""
    energy = (maps.float() if maps.dtype is torch.bfloat16 else maps).square()
    return F.normalize(torch.cat([energy.sum(3).flatten(1), energy.sum(2).flatten(1)], dim=1), dim=1)
