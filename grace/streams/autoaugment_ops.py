"""AutoAugment's operations on groups of images, on any device, equal to Pillow's bit for bit.

No step waits for a device, and none adds up floats in an order of its own. Whatever decides a pixel is either exact
(integers, also where float32 holds them) or computed in the precision and order that Pillow computes it in: products
and sums are therefore separate calls, never a fused one, and no scalar is divided by a tensor, which torch takes for a
product with the reciprocal.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

GREY = 128
LUMA = (19595, 38470, 7471)  # ITU-R 601 in units of 2^-16, as Pillow's conversion to "L" has it


def operate(x: Tensor, operation: str, value: Tensor | float) -> Tensor:
    """Apply one operation to x uint8 [N, C, H, W], in place, C being 1 or 3; return x.

    `value`: signed magnitudes float64 [N] on x's device; for those in `MOVES` one number for all images. Shears are
    bicubic, shifts and rotations take the nearest pixel, what comes from outside is grey.
    """
    if operation in MOVES and isinstance(value, float):
        return x.copy_(MOVES[operation](x, operation, value))
    if operation in TONES and isinstance(value, Tensor):
        return x.copy_(TONES[operation](x, value))
    raise ValueError(f'no AutoAugment operation is called "{operation}" and takes {type(value).__name__}')


def _luma(x: Tensor) -> Tensor:
    """Return the integers float32 [N, 1, H, W] that x becomes in mode "L"."""
    if x.shape[1] == 1:
        return x.float()
    y = x.float()
    # Exact, since the sum is an integer below 2^24.
    total: Tensor = (y[:, :1] * LUMA[0]).add_(y[:, 1:2], alpha=LUMA[1]).add_(y[:, 2:], alpha=LUMA[2])
    return total.add_(1 << 15).mul_(2.0**-16).floor_()


def _blend(x: Tensor, base: Tensor, value: Tensor) -> Tensor:
    """Return base + (1 + value) * (x - base) in float32, clamped; `base` broadcasts to x."""
    factor = (1 + value).float().view(-1, 1, 1, 1)
    return x.float().sub_(base).mul_(factor).add_(base).clamp_(0, 255)


def _color(x: Tensor, value: Tensor) -> Tensor:
    return x if x.shape[1] == 1 else _blend(x, _luma(x), value)


def _contrast(x: Tensor, value: Tensor) -> Tensor:
    pixels = x.shape[2] * x.shape[3]
    doubled = _luma(x).to(torch.int32).sum((1, 2, 3), keepdim=True).mul_(2)  # int64
    mean = doubled.add_(pixels).div_(2 * pixels, rounding_mode="floor")  # a half is rounded up
    return _blend(x, mean.float(), value)


def _sharpness(x: Tensor, value: Tensor) -> Tensor:
    result = x.float()
    centre = result[:, :, 1:-1, 1:-1]
    rows = result[..., :-2] + result[..., 1:-1] + result[..., 2:]
    total = (rows[..., :-2, :] + rows[..., 1:-1, :]).add_(rows[..., 2:, :]).add_(centre, alpha=4)
    # Rounded thirteenths of an integer: none is nearer than 1/26 to where rounding turns, so any division will do.
    smooth = total.add_(6.5).div_(13).floor_()
    centre.copy_(_blend(centre, smooth, value))
    return result


def _brightness(x: Tensor, value: Tensor) -> Tensor:
    return x.float().mul_((1 + value).float().view(-1, 1, 1, 1)).clamp_(0, 255)


def _posterize(x: Tensor, value: Tensor) -> Tensor:
    dropped = (8 - value).to(torch.uint8).view(-1, 1, 1, 1)
    return (x >> dropped) << dropped


def _solarize(x: Tensor, value: Tensor) -> Tensor:
    least = value.ceil().to(torch.int16).view(-1, 1, 1, 1)  # the first grey value that is not below the threshold
    return (x >= least).to(torch.uint8).mul_(255).bitwise_xor_(x)


def _autocontrast(x: Tensor, value: Tensor) -> Tensor:
    low, high = (extreme(x, dim=(2, 3), keepdim=True).double() for extreme in (torch.amin, torch.amax))
    span = high - low
    scale = torch.full_like(span, 255) / span.clamp(min=1)
    offset = (-low * scale).masked_fill_(span == 0, 0)
    scale.masked_fill_(span == 0, 1)
    return x.double().mul_(scale).add_(offset).clamp_(0, 255)


def _equalize(x: Tensor, value: Tensor) -> Tensor:
    channels = x.reshape(-1, x.shape[2] * x.shape[3])
    below = (below_sorted if x.is_cuda else below_counted)(channels)
    # The pixels below the largest value: the most that some value has below it, short of all.
    step = (below * (below < channels.shape[1])).amax(1, keepdim=True).div_(255, rounding_mode="floor")
    spread = below.add_(step.div(2, rounding_mode="floor")).double().div_(step.clamp(min=1)).clamp_(max=255)
    levels = torch.arange(256, dtype=torch.float64, device=x.device)
    table = torch.where(step > 0, spread, levels).to(torch.uint8)
    return table.gather(1, channels.long()).view_as(x)


def below_counted(channels: Tensor) -> Tensor:
    """Return how many pixels of each row of `channels` uint8 [N, P] are below each grey value, int32 [N, 256]."""
    counts = torch.zeros(len(channels), 256, dtype=torch.int32, device=channels.device)
    counts.scatter_add_(1, channels.long(), torch.ones_like(channels, dtype=torch.int32))
    return counts.cumsum(1, dtype=torch.int32).sub_(counts)


def below_sorted(channels: Tensor) -> Tensor:
    """Return what `below_counted` does: far slower on a CPU, and for CUDA, where deterministic counting may wait."""
    levels = torch.arange(256, dtype=torch.uint8, device=channels.device).expand(len(channels), 256).contiguous()
    return torch.searchsorted(channels.sort(1).values, levels, out_int32=True)


def _invert(x: Tensor, value: Tensor) -> Tensor:
    return 255 - x


def _nearest(x: Tensor, operation: str, value: float) -> Tensor:
    source, outside = _sources(operation, value, x.shape[2], x.shape[3], x.device)
    channels = x.reshape(-1, len(source))
    return channels.gather(1, source.expand(channels.shape)).masked_fill_(outside, GREY).view_as(x)


@lru_cache(maxsize=128)  # a policy has few values; copies that wait are made once, and are then there for every stream
def _sources(operation: str, value: float, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return which pixel each one shows, int64 [H * W], and whether it shows none, bool: as Pillow moves numbers."""
    from PIL import Image as P

    image = P.fromarray(np.arange(height * width, dtype=np.int32).reshape(height, width))
    if operation == "rotate":
        moved = image.rotate(value, fillcolor=-1)
    else:
        shift = (value * width, 0) if operation == "translate-x" else (0, value * height)
        moved = image.transform(image.size, P.Transform.AFFINE, (1, 0, shift[0], 0, 1, shift[1]), fillcolor=-1)
    source = torch.from_numpy(np.asarray(moved).reshape(-1).astype(np.int64))
    return source.clamp(min=0).to(device), (source < 0).to(device)


def _shear(x: Tensor, operation: str, value: float) -> Tensor:
    sources, d, outside = _neighbours(operation, value, x.shape[2], x.shape[3], x.device)
    channels = x.reshape(-1, len(d))
    taps = channels.gather(1, sources.expand(len(channels), -1)).to(torch.int16)
    v1, v2, v3, v4 = taps.view(len(channels), 4, -1).unbind(1)
    p3 = (v1 - v2).mul_(2).add_(v3).sub_(v4)
    p4 = (v2 - v1).sub_(v3).add_(v4)
    bicubic = p4.double().mul_(d).add_(p3).mul_(d).add_(v3 - v1).mul_(d).add_(v2)
    return bicubic.clamp_(0, 255).masked_fill_(outside, GREY).view_as(x)


@lru_cache(maxsize=128)
def _neighbours(
    operation: str, value: float, height: int, width: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each pixel's four sources, int64 [4 * H * W], how far the point is past the second, float64, and outside.

    Along the sheared axis only: across it, points fall on the middle of pixels, where bicubic weights are 0 and 1.
    """
    y, x = np.mgrid[0:height, 0:width]
    if operation == "shear-x":
        point, across, side, stride = (x + 0.5) + value * (y + 0.5), y * width, width, 1
    else:
        point, across, side, stride = value * (x + 0.5) + (y + 0.5), x, height, width
    outside = (point < 0) | (point >= side)
    first = np.floor(point - 0.5)
    taps = (first + np.array([-1, 0, 1, 2])[:, None, None]).clip(0, side - 1).astype(np.int64) * stride + across
    maps = (taps.reshape(-1), (point - 0.5 - first).reshape(-1), outside.reshape(-1))
    sources, fraction, beyond = (torch.from_numpy(values).to(device) for values in maps)
    return sources, fraction, beyond


TONES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "color": _color, "contrast": _contrast, "sharpness": _sharpness, "brightness": _brightness,
    "posterize": _posterize, "solarize": _solarize, "autocontrast": _autocontrast, "equalize": _equalize,
    "invert": _invert,
}  # fmt: skip
MOVES: dict[str, Callable[[Tensor, str, float], Tensor]] = {
    "shear-x": _shear, "shear-y": _shear, "translate-x": _nearest, "translate-y": _nearest, "rotate": _nearest,
}  # fmt: skip
