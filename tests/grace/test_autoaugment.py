"""AutoAugment: the table against torchvision's, the operations against Pillow's, and where torchvision's differ."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, InterpolationMode
from torchvision.transforms import functional as V
from torchvision.transforms.autoaugment import _apply_op

from grace.streams import autoaugment as ours
from grace.streams import autoaugment_ops as ops
from tests.grace.devices_for_tests import OnCuda

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


def pillow(image: Image.Image, operation: str, value: float) -> Image.Image:
    """The operation as Pillow does it to one image, with AutoAugment's grey where something comes from outside."""
    fill = 128 if image.mode == "L" else (128, 128, 128)
    affine, (width, height) = Image.Transform.AFFINE, image.size
    match operation:
        case "shear-x":
            return image.transform(image.size, affine, (1, value, 0, 0, 1, 0), Image.Resampling.BICUBIC, fillcolor=fill)
        case "shear-y":
            return image.transform(image.size, affine, (1, 0, 0, value, 1, 0), Image.Resampling.BICUBIC, fillcolor=fill)
        case "translate-x":
            return image.transform(image.size, affine, (1, 0, value * width, 0, 1, 0), fillcolor=fill)
        case "translate-y":
            return image.transform(image.size, affine, (1, 0, 0, 0, 1, value * height), fillcolor=fill)
        case "rotate":
            return image.rotate(value, fillcolor=fill)
        case "color" | "contrast" | "sharpness" | "brightness":
            enhancer: ImageEnhance._Enhance = getattr(ImageEnhance, operation.capitalize())(image)
            return enhancer.enhance(1 + value)
        case "posterize":
            return ImageOps.posterize(image, int(value))
        case "solarize":
            return ImageOps.solarize(image, value)  # type: ignore[arg-type]  # it compares with any number
    result: Image.Image = getattr(ImageOps, operation)(image)  # autocontrast, equalize, invert
    return result


def operate(image: Image.Image, operation: str, value: float) -> Image.Image:
    """The tensor operation on one Pillow image."""
    x = V.pil_to_tensor(image)[None]
    each = torch.tensor([value], dtype=torch.float64) if operation in ops.TONES else float(value)
    return V.to_pil_image(ops.operate(x, operation, each)[0])


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
        mine = np.asarray(operate(ramp, "solarize", ours.magnitude("solarize", level)))
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
        mine = np.asarray(operate(ramp, "translate-x", ours.magnitude("translate-x", level)))[0]
        torchvisions = np.asarray(
            _apply_op(ramp, "TranslateX", -float(theirs[level]), InterpolationMode.NEAREST, None)
        )[0]
        moved[level] = (int(mine[0]) - 1, int(torchvisions[0]) - 1)
    assert moved == {3: (5, 4), 8: (13, 12), 9: (15, 14)}
    up = np.asarray(
        operate(ramp.transpose(Image.Transpose.TRANSPOSE), "translate-y", -ours.magnitude("translate-y", 9))
    )
    assert up[:15].tolist() == [[128] * 32] * 15
    assert up[15:, 0].tolist() == list(range(1, 18))


def test_fill_is_grey_and_torchvisions_is_black() -> None:
    assert THEIRS.fill is None
    assert THEIRS.interpolation is InterpolationMode.NEAREST
    white = Image.new("RGB", (32, 32), (255, 255, 255))
    for name in ("shear-x", "shear-y", "translate-x", "translate-y", "rotate"):
        value = ours.magnitude(name, 9)
        mine = np.asarray(operate(white, name, value))
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
            assert same(operate(photo(mode), name, value), theirs)
            nearest = _apply_op(photo(mode), THEIR_NAMES[name], value, InterpolationMode.NEAREST, fill)
            assert not same(operate(photo(mode), name, value), nearest)


def test_rotation_is_that_of_a_transparent_layer_on_grey() -> None:
    for value in (ours.magnitude("rotate", 2), -ours.magnitude("rotate", 2), 30.0):
        layer = photo().convert("RGBA").rotate(value)
        on_grey = Image.composite(layer, Image.new("RGBA", layer.size, (128,) * 4), layer).convert("RGB")
        assert same(operate(photo(), "rotate", value), on_grey)
        assert same(operate(photo(), "rotate", value), V.rotate(photo(), value, fill=[128] * 3))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "name", ["color", "contrast", "sharpness", "brightness", "posterize", "autocontrast", "equalize", "invert"]
)
def test_other_operations_are_torchvisions(name: str, mode: str) -> None:
    for level in range(10):
        for negative in (False, True):
            value = ours.magnitude(name, level, negative)
            theirs = _apply_op(photo(mode), THEIR_NAMES[name], value, InterpolationMode.NEAREST, None)
            assert same(operate(photo(mode), name, value), theirs), level


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(ValueError, match='"blur"'):
        operate(photo(), "blur", 1)
    with pytest.raises(ValueError, match='"rotate" and takes Tensor'):
        ops.operate(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), "rotate", torch.zeros(1))


def pictures(height: int, width: int, channels: int) -> Tensor:
    """Images [N, C, H, W] that are noise, smooth, constant, of two or few values, or mostly of one value."""
    random = np.random.RandomState(height * width)
    pixels = height * width * channels
    low = random.randint(0, 256, (4, 4, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(low).resize((width, height), Image.Resampling.BICUBIC))[..., :channels]
    kinds = [
        *(random.randint(0, 256, pixels) for _ in range(3)),
        smooth.reshape(-1),
        np.sort(random.randint(0, 256, pixels)),
        *(np.full(pixels, grey) for grey in (0, 77, 255)),
        np.tile([10, 200, 30], pixels)[:pixels],  # each channel constant, where there are three
        *(np.where(random.rand(pixels) < share, a, b) for a, b, share in ((0, 255, 0.5), (10, 200, 0.62))),
        np.where(np.arange(pixels) < pixels // 2, 100, 101),
        random.choice([3, 90, 91, 160, 254], pixels),
        np.where(np.arange(pixels) < 0.53 * pixels, 255, random.randint(0, 256, pixels)),
        np.where(random.rand(pixels) < 0.53, 250, random.randint(0, 256, pixels)),
        random.randint(120, 136, pixels),
    ]
    images = np.stack(kinds).astype(np.uint8).reshape(-1, height, width, channels)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def of_pillow(x: Tensor, name: str, value: float) -> Tensor:
    return torch.stack([V.pil_to_tensor(pillow(V.to_pil_image(image), name, value)) for image in x])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(THEIR_NAMES))
def test_every_operation_is_pillows_bit_for_bit(name: str, channels: int) -> None:
    values = sorted({float(ours.magnitude(name, level, sign)) for level in range(10) for sign in (False, True)})
    for height, width in ((32, 32), (8, 8), (28, 28), (20, 33), (3, 2), (1, 1)):
        x = pictures(height, width, channels)
        expected = torch.cat([of_pillow(x, name, value) for value in values])
        if name in ops.TONES:  # all magnitudes in one group
            each = torch.tensor(values, dtype=torch.float64).repeat_interleave(len(x))
            got = ops.operate(x.repeat(len(values), 1, 1, 1), name, each)
        else:
            got = torch.cat([ops.operate(x.clone(), name, value) for value in values])
        assert torch.equal(got, expected), (height, width)


@pytest.mark.parametrize("name", sorted(set(ops.TONES) - {"equalize", "autocontrast", "invert"}))
def test_tones_are_pillows_for_every_pair_of_values_in_two_channels(name: str) -> None:
    ramp = np.arange(256, dtype=np.uint8)
    third = np.random.RandomState(5).randint(0, 256, (256, 256), dtype=np.uint8)
    grid = Image.fromarray(np.stack([np.tile(ramp, (256, 1)), np.tile(ramp, (256, 1)).T, third], axis=-1))
    for level in range(10):
        for negative in (False, True):
            value = ours.magnitude(name, level, negative)
            assert same(operate(grid, name, value), pillow(grid, name, value)), value


def test_equalize_of_counts_worked_out_by_hand() -> None:
    # 784 pixels: the step is (784 - 300) // 255 = 1, so 200, with 484 pixels below, would become 484: clipped.
    x = torch.full((2, 1, 28, 28), 10, dtype=torch.uint8)
    x[0].view(-1)[:300] = 200
    # 254 pixels below the largest: the step is 0 and nothing changes.
    x[1].view(-1)[254:] = 200
    got = ops.operate(x.clone(), "equalize", torch.zeros(2, dtype=torch.float64))
    assert got[0].unique(return_counts=True)[0].tolist() == [0, 255]
    assert int((got[0] == 255).sum()) == 300
    assert torch.equal(got[1], x[1])


def test_both_ways_of_counting_the_pixels_below_agree_with_a_count() -> None:
    rows = pictures(20, 33, 3).flatten(2).flatten(0, 1)
    expected = (rows[:, :, None] < torch.arange(256)).sum(1)
    assert torch.equal(ops.below_counted(rows).long(), expected)
    assert torch.equal(ops.below_sorted(rows).long(), expected)


def uniforms(count: int, seed: int) -> Tensor:
    return torch.rand(count, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def named(u: Tensor) -> list[list[tuple[str, float]]]:
    """The operations with their magnitudes that the library groups each row of draws under."""
    rows: list[list[tuple[str, float]]] = [[] for _ in u]
    for groups, values in zip(*ours.selected(u.numpy()), strict=True):
        for row, group, value in zip(rows, groups.tolist(), values.tolist(), strict=True):
            if group < len(ours.GROUPS):
                name, shared = ours.GROUPS[group]
                assert shared in (None, value)
                row.append((name, value))
    return rows


def test_draws_select_one_policy_and_each_step_by_its_probability() -> None:
    rows = {
        (0.0, 0.05, 0.1, 0.9, 0.4): [("invert", 0), ("contrast", pytest.approx(-0.6))],
        (0.0, 0.1, 0.2, 0.9, 0.4): [],
        (0.999, 0.69, 0.9, 0.7, 0.1): [("translate-y", pytest.approx(150 / 331))],
        (14.5 / 25, 0.6, 0.0, 0, 0): [],  # probability 0 is never
    }
    for row, expected in rows.items():
        assert ours.chosen(row) == expected
    assert named(torch.tensor(list(rows), dtype=torch.float64)) == list(rows.values())
    u = uniforms(5_000, 1)
    assert named(u) == [ours.chosen(row) for row in u.tolist()]


def test_pairs_of_operations_are_selected_as_often_as_published() -> None:
    count = 200_000
    expected: dict[tuple[object, ...], float] = {}
    for first, second in THEIRS.policies:  # each of the 25 equally often, each step by its probability and own sign
        for (one, p), (two, q) in itertools.product(outcomes(*first), outcomes(*second)):
            if p * q:
                expected[one, two] = expected.get((one, two), 0) + count / 25 * p * q
    groups = ours.selected(uniforms(count, 3).numpy())
    seen = Counter(zip(*(list(map(outcome, *step)) for step in zip(*groups, strict=True)), strict=True))
    assert set(seen) == set(expected)
    assert min(expected.values()) > 5
    statistic = sum((seen[pair] - n) ** 2 / n for pair, n in expected.items())
    freedom, normal = len(expected) - 1, 3.09  # exceeded once in a thousand, by Wilson and Hilferty's approximation
    assert statistic < freedom * (1 - 2 / (9 * freedom) + normal * (2 / (9 * freedom)) ** 0.5) ** 3


def outcomes(name: str, probability: float, level: int | None) -> Iterator[tuple[object, float]]:
    """What a step of torchvision's table may come to, each with its probability."""
    yield None, 1 - probability
    signs = (1, -1) if SPACE[name][1] and level else (1,)  # at level 0 there is nothing to sign
    for sign in signs:
        yield (name, sign, level or 0), probability / len(signs)


def outcome(group: int, value: float) -> object:
    """The same of a step that the library selected."""
    if group == len(ours.GROUPS):
        return None
    name = ours.GROUPS[group][0]
    levels = [level for level in range(10) if ours.magnitude(name, level) == abs(value)]
    used = {level for steps in ours.POLICY for operation, _, level in steps if operation == name}
    (level,) = used.intersection(levels)
    return THEIR_NAMES[name], -1 if value < 0 else 1, level


def one_by_one(x: Tensor, u: Tensor) -> Tensor:
    """Each image by Pillow, as the plain statement of the selection has it."""
    images = [V.to_pil_image(image) for image in x]
    for index, row in enumerate(u.tolist()):
        for name, value in ours.chosen(row):
            images[index] = pillow(images[index], name, value)
    return torch.stack([V.pil_to_tensor(image) for image in images])


def noise(count: int, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, channels, 32, 32), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_takes_the_path_of_its_own_draws(channels: int) -> None:
    rows = []  # every sub-policy with every way of applying and signing its steps
    for policy, ((_, p, _), (_, q, _)) in enumerate(ours.POLICY):
        for one, two, *signs in itertools.product((False, True), (False, True), (0.2, 0.7), (0.2, 0.7)):
            rows.append([(policy + 0.5) / 25, p / 2 if one else (1 + p) / 2, q / 2 if two else (1 + q) / 2, *signs])
    u = torch.tensor(rows, dtype=torch.float64)[torch.randperm(400, generator=torch.Generator().manual_seed(4))]
    x = noise(400, channels)
    before = x.clone()
    got = ours.cifar_policy(x, u)
    assert got.dtype == torch.uint8
    assert torch.equal(got, one_by_one(x, u))
    assert torch.equal(x, before)
    strided = x.to(memory_format=torch.channels_last)
    assert torch.equal(ours.cifar_policy(strided, u), got)


def test_an_image_does_not_depend_on_its_batch_or_its_place_in_it() -> None:
    x, u = noise(96), uniforms(96, 6)
    got = ours.cifar_policy(x, u)
    alone = [ours.cifar_policy(x[i : i + 1], u[i : i + 1]) for i in range(len(x))]
    assert torch.equal(torch.cat(alone), got)
    order = torch.randperm(96, generator=torch.Generator().manual_seed(7))
    for some in (order, order[:17], order[[5, 5, 5]], order[:0]):
        assert torch.equal(ours.cifar_policy(x[some], u[some]), got[some])


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic")
def test_deterministic_algorithms_change_nothing() -> None:
    x, u = noise(300), uniforms(300, 8)
    assert torch.equal(ours.cifar_policy(x, u), one_by_one(x, u))


@pytest.fixture
def no_maps() -> Iterator[None]:
    """Maps of tensors without data are not left to the tests that follow."""
    maps = (ops._sources, ops._neighbours)
    for cache in maps:
        cache.cache_clear()
    yield
    for cache in maps:
        cache.cache_clear()


@pytest.mark.usefixtures("no_maps")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(THEIR_NAMES))
def test_no_operation_waits_for_a_gpu(name: str, channels: int) -> None:
    # Without a GPU: fake tensors have a device and no data, so that reading a value or a shape from one raises.
    with FakeTensorMode():
        x = torch.empty(4, channels, 32, 32, dtype=torch.uint8, device="cuda")
        value = torch.empty(4, dtype=torch.float64, device="cuda") if name in ops.TONES else 0.1
        ops.operate(x, name, value)  # makes its maps, which is waited for once
        with OnCuda() as seen:
            assert ops.operate(x, name, value) is x
    assert not seen.elsewhere


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strict", [False, True])
def test_cuda_equals_the_cpu_and_is_not_waited_for(strict: bool, channels: int) -> None:
    x, u = noise(2688, channels), uniforms(2688, 9)
    expected, there = ours.cifar_policy(x, u), x.cuda()
    torch.use_deterministic_algorithms(strict)
    try:
        assert torch.equal(ours.cifar_policy(there, u).cpu(), expected)  # makes the maps
        torch.cuda.set_sync_debug_mode("error")
        again = ours.cifar_policy(there, u)
    finally:
        torch.cuda.set_sync_debug_mode("default")
        torch.use_deterministic_algorithms(False)
    assert torch.equal(again.cpu(), expected)


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
