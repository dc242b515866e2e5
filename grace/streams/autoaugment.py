"""AutoAugment for small images: the 25 CIFAR-10 sub-policies with the reference's fills, signs and magnitudes.

torchvision's own policy holds the same pairs, but fills with black, interpolates by nearest pixel, cuts shifts down to
whole pixels and solarises from 255 (tests/grace/test_autoaugment.py compares them parameter by parameter).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

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
GREY = 128
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


def operate(image: Image, operation: str, value: float) -> Image:
    """Apply one operation to an "RGB" or "L" image. Shears are bicubic, shifts and rotations take the nearest pixel."""
    from PIL import Image as P
    from PIL import ImageEnhance, ImageOps

    fill = GREY if image.mode == "L" else (GREY, GREY, GREY)
    affine, (width, height) = P.Transform.AFFINE, image.size
    match operation:
        case "shear-x":
            return image.transform(image.size, affine, (1, value, 0, 0, 1, 0), P.Resampling.BICUBIC, fillcolor=fill)
        case "shear-y":
            return image.transform(image.size, affine, (1, 0, 0, value, 1, 0), P.Resampling.BICUBIC, fillcolor=fill)
        case "translate-x":
            return image.transform(image.size, affine, (1, 0, value * width, 0, 1, 0), fillcolor=fill)
        case "translate-y":
            return image.transform(image.size, affine, (1, 0, 0, 0, 1, value * height), fillcolor=fill)
        case "rotate":
            return image.rotate(value, fillcolor=fill)
        case "color":
            return ImageEnhance.Color(image).enhance(1 + value)
        case "contrast":
            return ImageEnhance.Contrast(image).enhance(1 + value)
        case "sharpness":
            return ImageEnhance.Sharpness(image).enhance(1 + value)
        case "brightness":
            return ImageEnhance.Brightness(image).enhance(1 + value)
        case "posterize":
            return ImageOps.posterize(image, int(value))
        case "solarize":
            return ImageOps.solarize(image, value)  # type: ignore[arg-type]  # it compares with any number
        case "autocontrast":
            return ImageOps.autocontrast(image)
        case "equalize":
            return ImageOps.equalize(image)
        case "invert":
            return ImageOps.invert(image)
    raise ValueError(f'no AutoAugment operation is called "{operation}"')


def cifar_policy(x: Tensor, u: Tensor) -> Tensor:
    """Return x uint8 [B, C, H, W] after the sub-policy that each image's draws u float64 [B, 5] select."""
    from PIL import Image as P

    pixels = x.permute(0, 2, 3, 1).cpu().numpy().copy()
    for index, row in enumerate(u.tolist()):
        steps = chosen(row)
        if steps:
            image = P.fromarray(pixels[index].squeeze(-1) if x.shape[1] == 1 else pixels[index])
            for operation, value in steps:
                image = operate(image, operation, value)
            pixels[index] = np.asarray(image).reshape(pixels[index].shape)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(x.device)


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
