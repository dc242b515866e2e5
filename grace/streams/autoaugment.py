"""AutoAugment for small images: the 25 CIFAR-10 sub-policies with the reference's fills, signs and magnitudes.

torchvision's own policy holds the same pairs, but fills with black, interpolates by nearest pixel, cuts shifts down to
whole pixels and solarises from 255 (tests/grace/test_autoaugment.py compares them parameter by parameter).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grace.streams.autoaugment_ops import MOVES, operate

Step = tuple[str, float, int]  # operation, probability, level 0-9

# AutoAugment (Cubuk et al. 2019), table 7: the policy found on reduced CIFAR-10. Level 0 where it has no meaning.
POLICY: tuple[tuple[Step, Step], ...] = (
    (("invert", 0.1, 0), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate-x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear-y", 0.5, 8), ("translate-y", 0.7, 9)),
    (("autocontrast", 0.5, 0), ("equalize", 0.9, 0)),
    (("shear-y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate-x", 0.5, 8)),
    (("equalize", 0.3, 0), ("autocontrast", 0.4, 0)),
    (("translate-y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 0)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
    (("color", 0.9, 9), ("equalize", 0.6, 0)),
    (("autocontrast", 0.8, 0), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 0)),
    (("translate-y", 0.9, 9), ("translate-y", 0.7, 9)),
    (("autocontrast", 0.9, 0), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 0), ("invert", 0.1, 0)),
    (("translate-y", 0.7, 9), ("autocontrast", 0.9, 0)),
)

# Magnitude at level 0 and at level 9, equally spaced between; a shift is a fraction of the side.
RANGES: dict[str, tuple[float, float]] = {
    "shear-x": (0, 0.3), "shear-y": (0, 0.3), "translate-x": (0, 150 / 331), "translate-y": (0, 150 / 331),
    "rotate": (0, 30), "color": (0, 0.9), "contrast": (0, 0.9), "sharpness": (0, 0.9), "brightness": (0, 0.9),
    "posterize": (8, 4), "solarize": (256, 0),
}  # fmt: skip
UNSIGNED = {"posterize", "solarize"}
POLICY_DRAWS = 5  # which sub-policy, whether each of its steps is applied, the sign of each


def magnitude(operation: str, level: int, negative: bool = False) -> float:
    """Return what a level 0-9 means: distance of a factor from 1, degrees, fraction of the side, bits or threshold."""
    low, high = RANGES.get(operation, (0, 0))
    value = low + (high - low) * level / 9
    if operation == "posterize":
        return round(value)
    return -value if negative and operation not in UNSIGNED else value


def chosen(u: Sequence[float]) -> list[tuple[str, float]]:
    """Return the operations, with signed magnitudes, that five uniform draws in [0, 1) select."""
    steps = POLICY[int(u[0] * len(POLICY))]
    return [
        (operation, magnitude(operation, level, negative=u[3 + i] < 0.5))
        for i, (operation, probability, level) in enumerate(steps)
        if u[1 + i] < probability
    ]


# One tensor operation is for all images that share it; where pixels move, they share the magnitude as well.
Group = tuple[str, float | None]


def _group(operation: str, level: int, negative: bool) -> Group:
    return operation, float(magnitude(operation, level, negative)) if operation in MOVES else None


# POLICY by index: [sub-policy, step], and [sub-policy, step, whether the sign is negative].
_PROBABILITIES = np.array([[probability for _, probability, _ in steps] for steps in POLICY])
_SIGNED = [[[(name, level, sign) for sign in (False, True)] for name, _, level in steps] for steps in POLICY]
_VALUES = np.array([[[float(magnitude(*s)) for s in step] for step in steps] for steps in _SIGNED])
GROUPS: tuple[Group, ...] = tuple(dict.fromkeys(_group(*s) for steps in _SIGNED for step in steps for s in step))
_GROUPS = np.array([[[GROUPS.index(_group(*s)) for s in step] for step in steps] for steps in _SIGNED])


def selected(u: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return what `chosen` does, for all rows of u [B, 5]: positions in GROUPS and signed magnitudes, both [2, B].

    The position of a step that is not applied is len(GROUPS).
    """
    row, step = (u[:, :1] * len(POLICY)).astype(np.int64), np.arange(2)
    negative = (u[:, 3:5] < 0.5).astype(np.int64)
    groups = np.where(u[:, 1:3] < _PROBABILITIES[row, step], _GROUPS[row, step, negative], len(GROUPS))
    return groups.T, _VALUES[row, step, negative].T


def cifar_policy(x: Tensor, u: Tensor) -> Tensor:
    """Return x uint8 [B, C, H, W] after the sub-policy that each image's draws u float64 [B, 5] select.

    u belongs on the CPU, where images are sorted into groups: x's device learns of them by one copy and is not waited
    for. The result is Pillow's, bit for bit.
    """
    groups, values = selected(u.to("cpu", torch.float64).numpy())
    order = np.argsort(groups, axis=1, kind="stable")
    back = np.argsort(order, axis=1)
    # The images are gathered by the groups of the first step, from there by those of the second, and from there home.
    gathers = (order[0], back[0][order[1]], back[1])
    table = torch.from_numpy(np.stack([*gathers, *np.take_along_axis(values, order, axis=1).view(np.int64)]))
    table = table.pin_memory().to(x.device, non_blocking=True) if x.is_cuda else table.to(x.device)
    magnitudes = table[3:].view(torch.float64)
    for step in range(2):
        x = x.index_select(0, table[step])  # a copy, in which the groups are changed in place
        counts = np.bincount(groups[step], minlength=len(GROUPS))
        start = 0
        for (operation, value), count in zip(GROUPS, counts.tolist(), strict=False):  # the last count: not applied
            if count:
                part = slice(start, start + count)
                operate(x[part], operation, magnitudes[step, part] if value is None else value)
                start += count
    return x.index_select(0, table[2])


def imagenet_policy(x: Tensor, seeds: Sequence[int]) -> Tensor:
    """Return x uint8 [B, C, H, W] after torchvision's ImageNet policy, each image by its own seed."""
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy

    policy = AutoAugment(AutoAugmentPolicy.IMAGENET)
    before = torch.random.get_rng_state()
    images = []
    for image, seed in zip(x.cpu(), seeds, strict=True):
        torch.default_generator.manual_seed(seed)
        images.append(policy(image))
    torch.random.set_rng_state(before)
    return torch.stack(images).to(x.device)
