"""Views: draws by address, and each transform against torchvision's on the same parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms import functional as V

from grace.streams import images as held
from grace.streams import views
from grace.streams.catalogue import Augmentation, DatasetSpec
from grace.streams.images import TensorImages
from tests.grace.devices_for_tests import OnCuda

torch.set_num_threads(1)
MASK = (1 << 64) - 1


def spec(channels: int = 3, **augmentation: object) -> DatasetSpec:
    return DatasetSpec(
        name="some",
        kind="cifar10",
        classes=10,
        size=32,
        channels=channels,
        mean=(0.5071, 0.4867, 0.4408)[:channels],
        std=(0.2675, 0.2565, 0.2761)[:channels],
        augmentation=Augmentation(**augmentation),  # type: ignore[arg-type]
    )


def images(count: int, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.randint(
        0, 256, (count, channels, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def splitmix(z: int) -> int:
    """The finaliser of SplitMix64 as published, in arithmetic modulo 2^64."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1, 7_345_982_345_345])
def test_draws_are_splitmix_of_seed_row_and_column(seed: int) -> None:
    rows = [0, 1, 2, 49_999, 1_281_166]
    expected = []
    for row in rows:
        state = splitmix((splitmix((seed + 0x9E3779B97F4A7C15) & MASK) + row * 0x9E3779B97F4A7C15) & MASK)
        expected.append([(splitmix((state + c * 0x9E3779B97F4A7C15) & MASK) >> 11) / 2**53 for c in (1, 2, 3)])
    assert views.draws(seed, torch.tensor(rows), 3).tolist() == expected


def test_splitmix_has_the_published_values() -> None:
    # The first outputs of SplitMix64 from state 0, as its reference implementation prints them.
    golden = 0x9E3779B97F4A7C15
    assert splitmix(golden) == 0xE220A8397B1DCDAF
    assert splitmix(2 * golden & MASK) == 0x6E789E6AA1B965F4


def test_draws_depend_on_the_address_alone() -> None:
    rows = torch.tensor([5, 900, 17, 5])
    u = views.draws(3, rows, views.COUNT)
    assert torch.equal(u[0], u[3])
    assert torch.equal(u[[2, 1]], views.draws(3, rows[[2, 1]], views.COUNT))
    assert torch.equal(u[:, :4], views.draws(3, rows, 4))
    assert not (u == views.draws(4, rows, views.COUNT)).any()


def test_draws_are_uniform_and_independent() -> None:
    u = views.draws(11, torch.arange(20_000), views.COUNT)
    assert u.min() >= 0
    assert u.max() < 1
    for column in u.T:  # chi-squared of 20 bins: 43.8 is exceeded once in a thousand
        counts = torch.histc(column, 20, 0, 1)
        assert ((counts - 1000) ** 2 / 1000).sum() < 43.8
    neighbours = views.draws(12, torch.arange(20_000), views.COUNT)
    stacked = torch.cat([u[:-1], u[1:], neighbours[:-1]], dim=1).T  # columns, next rows, next seed
    correlation = torch.corrcoef(stacked) - torch.eye(len(stacked))
    assert correlation.abs().max() < 4.5 / 20_000**0.5


def test_crop_equals_torchvision() -> None:
    x = images(81)
    top, left = torch.arange(81) // 9, torch.arange(81) % 9
    mirrored = torch.arange(81) % 2 == 0
    got = views.crop(x, 4, top, left, mirrored)
    for i in range(81):
        expected = V.crop(V.pad(x[i], [4]), int(top[i]), int(left[i]), 32, 32)
        assert torch.equal(got[i], V.hflip(expected) if mirrored[i] else expected)


def test_brightness_equals_pil_for_every_pixel_value() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    factors = [*np.linspace(0.75, 1.25, 101), 0.1, 1.9]
    got = views.brighten(ramp.expand(len(factors), 1, 16, 16), torch.tensor(factors).float())
    for factor, result in zip(factors, got, strict=True):
        pil = ImageEnhance.Brightness(Image.fromarray(ramp[0, 0].numpy())).enhance(float(np.float32(factor)))
        assert np.array_equal(result[0].numpy(), np.asarray(pil)), factor
        assert torch.equal(result[0], V.adjust_brightness(ramp[0], float(np.float32(factor)))[0]), factor


@pytest.mark.parametrize("side", [16, 5, 1, 64])
def test_cut_out_blackens_a_clipped_square(side: int) -> None:
    x = images(40).clamp(1)
    y, x_ = torch.randint(0, 32, (2, 40), generator=torch.Generator().manual_seed(1))
    y[:4], x_[:4] = torch.tensor([0, 31, 0, 31]), torch.tensor([0, 0, 31, 31])
    got = views.cut_out(x, y, x_, side)
    for i in range(40):
        expected = x[i].clone()
        top, left = int(y[i]) - side // 2, int(x_[i]) - side // 2
        expected[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
        assert torch.equal(got[i], expected)
    if side == 16:  # in a corner only the quarter that is inside
        assert int((got[0, 0] == 0).sum()) == 64


@pytest.mark.parametrize("channels", [1, 3])
def test_normalise_equals_torchvision(channels: int) -> None:
    x, some = images(6, channels), spec(channels)
    got = views.normalise(x, some)
    assert got.shape == (6, 3, 32, 32)
    assert got.dtype == torch.float32
    assert got.is_contiguous()
    for i in range(6):
        picture = Image.fromarray(x[i].permute(1, 2, 0).squeeze(-1).numpy())
        expected = V.normalize(V.to_tensor(picture), list(some.mean), list(some.std))
        assert torch.equal(got[i], expected.expand(3, -1, -1))


def test_augment_draws_what_torchvision_would() -> None:
    # One lit pixel tells where the crop was taken and whether it was mirrored: 9 x 9 offsets, either way.
    count = 16_200
    x = torch.zeros(count, 1, 32, 32, dtype=torch.uint8)
    x[:, :, 16, 10] = 100
    got = views.augment(x, torch.arange(count), 5, Augmentation(brightness=0.25))
    assert (got.flatten(1) > 0).sum(1).eq(1).all()
    value, place = got.flatten(1).max(1)
    row, column = place // 32, place % 32
    mirrored = column > 15  # unmirrored columns are 6..14, mirrored ones 17..25
    offset_y, offset_x = 20 - row, 14 - torch.where(mirrored, 31 - column, column)
    assert {int(offset_y.min()), int(offset_y.max()), int(offset_x.min()), int(offset_x.max())} == {0, 8}
    cells = torch.bincount(offset_y * 18 + offset_x * 2 + mirrored, minlength=162)
    assert ((cells - 100) ** 2 / 100).sum() < 224  # chi-squared, 161 degrees of freedom, one in a thousand
    counts = torch.bincount(value.long() - 75, minlength=51)  # truncated 100 * U(0.75, 1.25): 75..124, equally often
    assert int(counts[:50].min()) > 250
    assert int(counts[:50].max()) < 400
    assert (
        abs(torch.corrcoef(torch.stack([value.double(), offset_x.double(), mirrored.double()])) - torch.eye(3)).max()
        < 0.04
    )


def test_augment_without_chance_returns_the_image() -> None:
    x = images(4)
    assert torch.equal(views.augment(x, torch.arange(4), 1, Augmentation(crop="none", flip=False)), x)
    assert torch.equal(views.augment(x, torch.arange(4), 1, Augmentation(padding=0, flip=False)), x)
    flipped = views.augment(x, torch.arange(4), 1, Augmentation(crop="none"))
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(-1)) for a, b in zip(flipped, x, strict=True))


def test_cutout_centres_are_uniform_over_pixels() -> None:
    count = 16_384
    x = torch.ones(count, 1, 32, 32, dtype=torch.uint8)
    got = views.augment(x, torch.arange(count), 2, Augmentation(crop="none", flip=False, cutout=1))
    centres = (got.flatten(1) == 0).int().argmax(1)
    assert (got == 0).flatten(1).sum(1).eq(1).all()
    counts = torch.bincount(centres, minlength=1024)
    assert ((counts - 16) ** 2 / 16).sum() < 1168  # chi-squared, 1023 degrees of freedom, one in a thousand


@pytest.mark.parametrize(
    "augmentation",
    [{"brightness": 63 / 255}, {"brightness": 63 / 255, "autoaugment": True, "cutout": 16}],
    ids=["plain", "aa"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_is_a_function_of_seed_and_row(channels: int, augmentation: dict[str, float]) -> None:
    source = TensorImages(images(60, channels), torch.zeros(60, dtype=torch.int64), spec(channels, **augmentation))
    rows = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    whole = source.batch(rows, "train", 9)
    before = torch.random.get_rng_state()
    assert torch.equal(torch.cat([source.batch(r, "train", 9) for r in rows.split(7)]), whole)
    assert torch.equal(torch.cat(list(source.stream(rows, 13, "train", 9))), whole)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(source.batch(rows, "train", 10), whole)
    assert torch.equal(source.batch(rows, "test", 1), source.batch(rows, "test", 2))
    assert torch.equal(source.batch(rows, "test", 1), views.normalise(source.x[rows], source.spec))


def photo(width: int = 90, height: int = 60) -> Image.Image:
    smooth = images(1)[0].permute(1, 2, 0).numpy()
    return Image.fromarray(smooth).resize((width, height), Image.Resampling.BICUBIC)


def test_fit_cuts_the_test_view_as_torchvision_does() -> None:
    some = spec(crop="resized")
    expected = V.center_crop(V.resize(photo(), 37), [32, 32])  # 32 * 256 / 224 = 36.57
    assert torch.equal(views.fit(photo(), 0, "test", 1, some), V.pil_to_tensor(expected))
    for crop in ("pad", "none"):
        whole = V.pil_to_tensor(V.resize(photo(), [32, 32]))
        assert torch.equal(views.fit(photo(), 0, "test", 1, spec(crop=crop)), whole)
        assert torch.equal(views.fit(photo(), 0, "train", 1, spec(crop=crop)), whole)


def test_fit_draws_a_resized_crop_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = []
    real = V.resized_crop
    monkeypatch.setattr(V, "resized_crop", lambda image, *box: boxes.append(box[:4]) or real(image, *box))
    before = torch.random.get_rng_state()
    some = spec(crop="resized")
    got = [views.fit(photo(70, 70), row, "train", 3, some) for row in range(400)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(got[7], views.fit(photo(70, 70), 7, "train", 3, some))
    assert not torch.equal(got[7], got[8])
    area = np.array([h * w for _, _, h, w in boxes[:400]]) / 4900
    ratio = np.array([w / h for _, _, h, w in boxes[:400]])
    assert 0.07 < area.min() < 0.12
    assert area.max() > 0.9
    assert 0.42 < area.mean() < 0.54  # of 0.08..1, less the largest crops, which fit in few shapes
    assert 0.7 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.4


@pytest.mark.parametrize("ahead", [0, 3 * 32 * 32 * 4 * 10, 2**30])
def test_a_stream_is_the_batches_however_many_are_made_at_a_time(ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = TensorImages(images(50), torch.zeros(50, dtype=torch.int64), spec(brightness=0.2, autoaugment=True))
    rows = torch.randperm(50, generator=torch.Generator().manual_seed(2))
    monkeypatch.setitem(held.AHEAD, "cpu", ahead)
    for view in ("train", "test"):
        pieces = list(source.stream(rows, 7, view, 9))  # type: ignore[arg-type]
        assert [len(x) for x in pieces] == [7] * 7 + [1]
        for piece, x in zip(torch.split(rows, 7), pieces, strict=True):
            assert torch.equal(x, source.batch(piece, view, 9))  # type: ignore[arg-type]


def test_views_do_not_wait_for_a_gpu() -> None:
    augmentation = Augmentation(padding=4, flip=True, brightness=0.25, cutout=16)
    with FakeTensorMode():  # no GPU is needed for this
        x = torch.empty(6, 3, 32, 32, dtype=torch.uint8, device="cuda")
        rows = torch.arange(6, device="cuda")
        with OnCuda() as seen:
            assert views.augment(x, rows, 5, augmentation).device.type == "cuda"
    assert not seen.elsewhere


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_sees_the_same_draws_and_pixels() -> None:
    rows = torch.arange(0, 600, 3)
    x = images(200)
    cuda = rows.cuda()
    assert torch.equal(views.draws(2**62 + 1, cuda, 11).cpu(), views.draws(2**62 + 1, rows, 11))
    augmentation = Augmentation(brightness=0.25, autoaugment=True, cutout=16)
    got = views.augment(x.cuda(), cuda, 5, augmentation)
    assert got.is_cuda
    assert torch.equal(got.cpu(), views.augment(x, rows, 5, augmentation))
    source = TensorImages(x, torch.zeros(200, dtype=torch.int64), spec())
    there = source.to(torch.device("cuda"))
    there.batch(torch.arange(50), "train", 4)  # constants are copied once
    torch.cuda.set_sync_debug_mode("error")
    try:
        moved = there.batch(torch.arange(50), "train", 4)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.allclose(moved.cpu(), source.batch(torch.arange(50), "train", 4), atol=1e-6)
