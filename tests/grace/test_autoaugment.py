"""AutoAugment: the policy table against torchvision's, and where torchvision's application of it differs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, InterpolationMode
from torchvision.transforms import functional as V
from torchvision.transforms.autoaugment import _apply_op

from grace.streams import autoaugment as ours

torch.set_num_threads(1)
THEIR_NAMES = {
    "shear-x": "ShearX", "shear-y": "ShearY", "translate-x": "TranslateX", "translate-y": "TranslateY",
    "rotate": "Rotate", "color": "Color", "contrast": "Contrast", "sharpness": "Sharpness",
    "brightness": "Brightness", "posterize": "Posterize", "solarize": "Solarize", "autocontrast": "AutoContrast",
    "equalize": "Equalize", "invert": "Invert",
}  # fmt: skip
THEIRS = AutoAugment(AutoAugmentPolicy.CIFAR10)
SPACE = THEIRS._augmentation_space(10, (32, 32))


def photo(mode: str = "RGB") -> Image.Image:
    noise = np.random.RandomState(3).randint(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((32, 32), Image.Resampling.BICUBIC).convert(mode)


def same(a: Image.Image, b: Image.Image) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b))


def test_the_policy_has_torchvisions_pairs_probabilities_and_levels() -> None:
    table = [
        tuple((THEIR_NAMES[name], probability, level) for name, probability, level in steps) for steps in ours.POLICY
    ]
    theirs = [tuple((name, probability, level or 0) for name, probability, level in steps) for steps in THEIRS.policies]
    assert table == theirs
    assert len(table) == 25


@pytest.mark.parametrize("name", ["shear-x", "shear-y", "rotate", "color", "contrast", "sharpness", "brightness"])
def test_magnitudes_that_torchvision_shares(name: str) -> None:
    theirs, signed = SPACE[THEIR_NAMES[name]]
    assert signed
    for level in range(10):
        assert ours.magnitude(name, level) == pytest.approx(float(theirs[level]), rel=1e-6)
        assert ours.magnitude(name, level, negative=True) == -ours.magnitude(name, level)


def test_posterize_keeps_the_same_bits_as_torchvision() -> None:
    bits = [8, 8, 7, 7, 6, 6, 5, 5, 4, 4]
    assert [ours.magnitude("posterize", level, negative=True) for level in range(10)] == bits
    assert SPACE["Posterize"][0].tolist() == bits


def test_solarize_starts_from_256_and_torchvision_from_255() -> None:
    assert ours.magnitude("solarize", 0) == 256
    assert float(SPACE["Solarize"][0][0]) == 255
    assert ours.magnitude("solarize", 3, negative=True) == pytest.approx(256 * 6 / 9)
    # Levels 2, 3 of the policy invert one grey value less than torchvision's, 5 and 8 the same ones.
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    inverted = {}
    for level in (2, 3, 5, 8):
        mine = np.asarray(ours.operate(ramp, "solarize", ours.magnitude("solarize", level)))
        theirs = np.asarray(
            _apply_op(ramp, "Solarize", float(SPACE["Solarize"][0][level]), InterpolationMode.NEAREST, None)
        )
        inverted[level] = (int((mine != np.asarray(ramp)).sum()), int((theirs != np.asarray(ramp)).sum()))
    assert inverted == {2: (56, 57), 3: (85, 86), 5: (142, 142), 8: (227, 227)}


def test_shifts_are_rounded_and_torchvision_cuts_them_down() -> None:
    theirs = SPACE["TranslateX"][0]
    assert [ours.magnitude("translate-x", level) * 32 for level in (3, 8, 9)] == pytest.approx(
        theirs[[3, 8, 9]].tolist()
    )
    # A ramp of columns shows by how many pixels the content moved.
    ramp = Image.fromarray(np.tile(np.arange(1, 33, dtype=np.uint8), (32, 1)))
    moved = {}
    for level in (3, 8, 9):
        mine = np.asarray(ours.operate(ramp, "translate-x", ours.magnitude("translate-x", level)))[0]
        torchvisions = np.asarray(
            _apply_op(ramp, "TranslateX", -float(theirs[level]), InterpolationMode.NEAREST, None)
        )[0]
        moved[level] = (int(mine[0]) - 1, int(torchvisions[0]) - 1)
    assert moved == {3: (5, 4), 8: (13, 12), 9: (15, 14)}
    up = np.asarray(
        ours.operate(ramp.transpose(Image.Transpose.TRANSPOSE), "translate-y", -ours.magnitude("translate-y", 9))
    )
    assert up[:15].tolist() == [[128] * 32] * 15
    assert up[15:, 0].tolist() == list(range(1, 18))


def test_fill_is_grey_and_torchvisions_is_black() -> None:
    assert THEIRS.fill is None
    assert THEIRS.interpolation is InterpolationMode.NEAREST
    white = Image.new("RGB", (32, 32), (255, 255, 255))
    for name in ("shear-x", "shear-y", "translate-x", "translate-y", "rotate"):
        value = ours.magnitude(name, 9)
        mine = np.asarray(ours.operate(white, name, value))
        assert (mine == 128).all(-1).sum() > 50
        assert not (mine == 0).any()
        theirs = value * (32 if "translate" in name else 1)
        assert (np.asarray(_apply_op(white, THEIR_NAMES[name], theirs, InterpolationMode.NEAREST, None)) == 0).any()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("name", ["shear-x", "shear-y"])
def test_shear_is_torchvisions_once_it_is_bicubic_and_grey(name: str, mode: str) -> None:
    fill = [128] * (3 if mode == "RGB" else 1)
    for level in (7, 8):  # the levels of the policy
        for negative in (False, True):
            value = ours.magnitude(name, level, negative)
            theirs = _apply_op(photo(mode), THEIR_NAMES[name], value, InterpolationMode.BICUBIC, fill)
            assert same(ours.operate(photo(mode), name, value), theirs)
            nearest = _apply_op(photo(mode), THEIR_NAMES[name], value, InterpolationMode.NEAREST, fill)
            assert not same(ours.operate(photo(mode), name, value), nearest)


def test_rotation_is_that_of_a_transparent_layer_on_grey() -> None:
    for value in (ours.magnitude("rotate", 2), -ours.magnitude("rotate", 2), 30.0):
        layer = photo().convert("RGBA").rotate(value)
        on_grey = Image.composite(layer, Image.new("RGBA", layer.size, (128,) * 4), layer).convert("RGB")
        assert same(ours.operate(photo(), "rotate", value), on_grey)
        assert same(ours.operate(photo(), "rotate", value), V.rotate(photo(), value, fill=[128] * 3))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "name", ["color", "contrast", "sharpness", "brightness", "posterize", "autocontrast", "equalize", "invert"]
)
def test_other_operations_are_torchvisions(name: str, mode: str) -> None:
    for level in range(10):
        for negative in (False, True):
            value = ours.magnitude(name, level, negative)
            theirs = _apply_op(photo(mode), THEIR_NAMES[name], value, InterpolationMode.NEAREST, None)
            assert same(ours.operate(photo(mode), name, value), theirs), level


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(ValueError, match='"blur"'):
        ours.operate(photo(), "blur", 1)


def test_draws_select_one_policy_and_each_step_by_its_probability() -> None:
    assert ours.chosen([0.0, 0.05, 0.1, 0.9, 0.4]) == [("invert", 0), ("contrast", pytest.approx(-0.6))]
    assert ours.chosen([0.0, 0.1, 0.2, 0.9, 0.4]) == []
    assert ours.chosen([0.999, 0.69, 0.9, 0.7, 0.1]) == [("translate-y", pytest.approx(150 / 331))]
    assert ours.chosen([14.5 / 25, 0.6, 0.0, 0, 0]) == []  # probability 0 is never
    u = torch.rand(50_000, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).tolist()
    taken = [[name for name, _ in ours.chosen(row)] for row in u]
    expected = sum(p for steps in ours.POLICY for name, p, _ in steps if name == "equalize") / 25
    assert abs(sum(row.count("equalize") for row in taken) / 50_000 - expected) < 0.01
    signs = [value > 0 for row in u for name, value in ours.chosen(row) if name == "rotate"]
    assert abs(np.mean(signs) - 0.5) < 0.05


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_takes_the_path_of_its_own_draws(channels: int) -> None:
    x = torch.stack([V.pil_to_tensor(photo("RGB" if channels == 3 else "L"))] * 200)
    u = torch.rand(200, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    got = ours.cifar_policy(x, u)
    assert got.shape == x.shape
    assert got.dtype == torch.uint8
    for image, row in zip(got, u.tolist(), strict=True):
        expected = photo("RGB" if channels == 3 else "L")
        for name, value in ours.chosen(row):
            expected = ours.operate(expected, name, value)
        assert torch.equal(image, V.pil_to_tensor(expected))


def test_the_imagenet_policy_is_torchvisions_seeded_per_image() -> None:
    x = torch.stack([V.pil_to_tensor(photo())] * 30)
    before = torch.random.get_rng_state()
    got = ours.imagenet_policy(x, range(30))
    assert torch.equal(torch.random.get_rng_state(), before)
    for seed in (0, 17):
        torch.manual_seed(seed)
        assert torch.equal(got[seed], AutoAugment(AutoAugmentPolicy.IMAGENET)(x[seed]))
    assert torch.equal(ours.imagenet_policy(x[5:7], [5, 6]), got[5:7])
    assert len({image.numpy().tobytes() for image in got}) > 10
