"""Terms and measures that methods share: pure functions of tensors or numbers."""

from __future__ import annotations

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


def auxiliary_targets(y: Tensor, known: int) -> Tensor:
    """Return targets int64 [B] of labels y int64 [B]: 0 for each of the `known` old classes, 1, 2, ... for the new.

    They let the newest branch tell new classes from each other and from the old (DER, Yan et al. 2021, section 3.2).
    """
    return (y - known + 1).clamp(min=0)


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
