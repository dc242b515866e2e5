"""Training and test views of batches; every draw is addressed by (seed, row), whatever the batch, device or worker."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from grace.seeds import derive
from grace.streams.autoaugment import POLICY_DRAWS, cifar_policy, imagenet_policy
from grace.streams.catalogue import Augmentation, DatasetSpec
from grace.streams.samples import View

if TYPE_CHECKING:
    from PIL.Image import Image

# Columns of a row's draws. A new use of chance is appended, so that the older ones keep their values.
TOP, LEFT, FLIP, BRIGHTNESS, POLICY = range(5)
HOLE_Y = POLICY + POLICY_DRAWS
HOLE_X = HOLE_Y + 1
COUNT = HOLE_X + 1

GOLDEN = -0x61C8864680B583EB  # 2^64 / golden ratio, as int64: the increment of SplitMix64
ROUNDS = ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15))  # shifts and multipliers of its finaliser


def _mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser (Steele et al. 2014) in int64, whose products wrap as those of uint64 do."""
    for shift, factor in ROUNDS:
        z = (z ^ _shifted(z, shift)) * factor
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Shift right logically: int64's own shift would drag the sign along."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def draws(seed: int, rows: Tensor, count: int) -> Tensor:
    """Return uniform numbers in [0, 1), float64 [B, count], that depend on (seed, row, column) alone.

    Counter-based: nothing is consumed, and CPU and CUDA agree bit for bit. `rows` int64 [B].
    """
    key = _mix(torch.full((1,), seed, dtype=torch.int64, device=rows.device) + GOLDEN)
    state = _mix(key + rows * GOLDEN)
    columns = torch.arange(1, count + 1, device=rows.device) * GOLDEN
    return _shifted(_mix(state[:, None] + columns), 11).double() * 2.0**-53


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Return `values` on the device; a GPU is not waited for, as it would be for memory that is not pinned."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def augment(x: Tensor, rows: Tensor, seed: int, augmentation: Augmentation) -> Tensor:
    """Return the training view of x uint8 [B, C, H, W], still uint8; transforms in the field's order.

    Crop, flip, brightness, AutoAugment, cutout. A random resized crop happens where an image is decoded (`fit`).
    """
    u = draws(seed, sent(rows, x.device), COUNT)
    mirrored = u[:, FLIP] < 0.5 if augmentation.flip else torch.zeros_like(u[:, FLIP], dtype=torch.bool)
    if augmentation.crop == "pad" and augmentation.padding:
        # a slice: a list of columns would be copied to a GPU, which waits for all that it has been given to do
        offsets = (u[:, TOP : LEFT + 1] * (2 * augmentation.padding + 1)).long()
        x = crop(x, augmentation.padding, offsets[:, 0], offsets[:, 1], mirrored)
    elif augmentation.flip:
        x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
    if augmentation.brightness:
        x = brighten(x, (1 - augmentation.brightness + 2 * augmentation.brightness * u[:, BRIGHTNESS]).float())
    if augmentation.autoaugment and augmentation.crop == "resized":
        x = imagenet_policy(x, [derive(seed, "policy", row) for row in rows.tolist()])
    elif augmentation.autoaugment:
        x = cifar_policy(x, draws(seed, rows.cpu(), COUNT)[:, POLICY : POLICY + POLICY_DRAWS])  # grouped on the CPU
    if augmentation.cutout:
        height, width = x.shape[-2:]
        x = cut_out(x, (u[:, HOLE_Y] * height).long(), (u[:, HOLE_X] * width).long(), augmentation.cutout)
    return x


def crop(x: Tensor, padding: int, top: Tensor, left: Tensor, mirrored: Tensor) -> Tensor:
    """Cut [H, W] out of x uint8 [B, C, H, W] padded with zeros, at (top, left) int64 [B]; then mirror where asked."""
    batch, channels, height, width = x.shape
    padded = F.pad(x, (padding,) * 4)
    ahead = torch.arange(width, device=x.device)
    y = top[:, None] + torch.arange(height, device=x.device)
    x_ = left[:, None] + torch.where(mirrored[:, None], ahead.flip(0), ahead)
    pixels = (y[:, :, None] * padded.shape[-1] + x_[:, None, :]).view(batch, 1, -1)
    return padded.flatten(2).gather(2, pixels.expand(-1, channels, -1)).view_as(x)


def brighten(x: Tensor, factor: Tensor) -> Tensor:
    """Scale x uint8 [B, C, H, W] by factor float32 [B], clamped and truncated to uint8 as PIL does."""
    return (x * factor[:, None, None, None]).clamp_(0, 255).to(torch.uint8)


def cut_out(x: Tensor, centre_y: Tensor, centre_x: Tensor, side: int) -> Tensor:
    """Blacken a square of `side` pixels around (centre_y, centre_x) int64 [B], clipped at the border (Cutout, 2017)."""
    y = torch.arange(x.shape[-2], device=x.device) - (centre_y - side // 2)[:, None]
    x_ = torch.arange(x.shape[-1], device=x.device) - (centre_x - side // 2)[:, None]
    hole = ((y >= 0) & (y < side))[:, None, :, None] & ((x_ >= 0) & (x_ < side))[:, None, None, :]
    return x * ~hole


def normalise(x: Tensor, spec: DatasetSpec) -> Tensor:
    """Return inputs float32 [B, 3, H, W] of x uint8 [B, C, H, W]: (x / 255 - mean) / std, grey as equal channels."""
    mean, std = _constants(spec.mean, spec.std, x.device)
    scaled = x.float().div_(255).sub_(mean).div_(std)
    return scaled if spec.channels == 3 else scaled.expand(-1, 3, -1, -1).contiguous()


@lru_cache(maxsize=64)  # a copy to a device for every batch would stall it
def _constants(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and std as float32 [1, C, 1, 1] on `device`."""
    return tuple(torch.tensor(v, device=device).view(1, -1, 1, 1) for v in (mean, std))  # type: ignore[return-value]


def fit(image: Image, row: int, view: View, seed: int, spec: DatasetSpec) -> Tensor:
    """Bring one decoded image to uint8 [C, size, size], by torchvision's per-image transforms.

    crop = "resized": a random resized crop (train), or the shorter side to size * 256 / 224 and the centre (test).
    Otherwise the whole image is resized, and what is random happens in `augment`.
    """
    from torchvision.transforms import RandomResizedCrop
    from torchvision.transforms import functional as V

    if spec.augmentation.crop != "resized":
        image = V.resize(image, [spec.size, spec.size])
    elif view == "train":
        before = torch.random.get_rng_state()
        torch.default_generator.manual_seed(derive(seed, "crop", row))
        box = RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3])
        torch.random.set_rng_state(before)
        image = V.resized_crop(image, *box, [spec.size, spec.size])
    else:
        image = V.center_crop(V.resize(image, round(spec.size * 256 / 224)), [spec.size, spec.size])
    fitted: Tensor = V.pil_to_tensor(image)
    return fitted
