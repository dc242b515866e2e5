from __future__ import annotations

import subprocess
import sys
from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grace.nets import BACKBONES, backbone_factory
from grace.nets.backbone import Backbone, freeze
from grace.nets.resnet import Residual
from grace.nets.resnet_cifar import Subsample

torch.set_num_threads(1)

# Written out from the published accounts, not computed: width, parameters, parameters before the last stage, of it.
COUNTS = {
    "convnet2": (64, 38_976, 1_920, 37_056),
    "resnet14": (64, 171_856, 42_320, 129_536),
    "resnet20": (64, 269_072, 65_552, 203_520),
    "resnet26": (64, 366_288, 88_784, 277_504),
    "resnet32": (64, 463_504, 112_016, 351_488),
    "convnet4": (512, 906_240, 314_880, 591_360),
    "resnet10": (512, 4_905_792, 1_232_704, 3_673_088),
    "resnet18": (512, 11_176_512, 2_782_784, 8_393_728),
    "resnet26-bottleneck": (2048, 13_946_176, 3_444_032, 10_502_144),
    "resnet34": (512, 21_284_672, 8_170_304, 13_114_368),
    "resnet50": (2048, 23_508_032, 8_543_296, 14_964_736),
}
SMALL = ["resnet8", "resnet14", "resnet20", "resnet26", "resnet32"]
LARGE = ["resnet10", "resnet18", "resnet26-bottleneck", "resnet34", "resnet50"]


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def on_meta(name: str) -> Backbone:
    """The backbone without memory or arithmetic: enough for counts and shapes."""
    with torch.device("meta"):
        return backbone_factory(name)()


def sides(name: str, size: int) -> list[int]:
    """The side of the map after each stage of a square image."""
    maps = on_meta(name).eval()(torch.empty(1, 3, size, size, device="meta"))
    assert all(m.shape[2] == m.shape[3] for m in maps)
    return [m.shape[2] for m in maps]


def seeded(name: str, seed: int = 0) -> Backbone:
    torch.manual_seed(seed)
    return backbone_factory(name)()


def images(count: int, size: int) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


# --- names and counts


def test_the_registry_needs_no_torch() -> None:
    code = "import sys, grace.nets; assert grace.nets.BACKBONES and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_registry_has_every_architecture_with_every_stem() -> None:
    stems = [name + suffix for name in LARGE for suffix in ("", "-3x3", "-3x3-maxpool")]
    assert set(BACKBONES) == {"convnet2", "convnet4", *SMALL, *stems}
    assert len({entry.about for entry in BACKBONES.values()}) == len(BACKBONES)


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="resnet19"):
        backbone_factory("resnet19")


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_is_as_declared(name: str) -> None:
    entry, net = BACKBONES[name], on_meta(name)
    assert parameters(net) == entry.parameters
    assert net.width == entry.width
    maps = net.eval()(torch.empty(2, 3, 64, 64, device="meta"))
    assert len(maps) == len(net.stages)
    assert net.pool(maps[-1]).shape == (2, entry.width)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_and_splits_are_the_published_ones(name: str) -> None:
    width, whole, shared, own = COUNTS[name]
    net = on_meta(name)
    *early, last = net.stages
    assert (net.width, parameters(net)) == (width, whole)
    assert parameters(net.stem) + sum(parameters(stage) for stage in early) == shared
    assert parameters(last) == own == BACKBONES[name].last_stage


@pytest.mark.parametrize("name", ["resnet18-3x3", "resnet18-3x3-maxpool"])
def test_resnet18_with_a_small_stem_has_the_published_parameters(name: str) -> None:
    assert parameters(on_meta(name)) == 11_168_832
    assert parameters(on_meta(name).stem) == 27 * 64 + 128  # 9,408 + 128 with the 7x7 stem


def test_resnet32_in_detail() -> None:
    net = on_meta("resnet32")
    assert parameters(net.stem) == 432 + 32
    assert [parameters(stage) for stage in net.stages] == [23_360, 88_192, 351_488]
    assert [len(list(stage.children())) for stage in net.stages] == [5, 5, 5]
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 31
    assert sum(b.numel() for b in net.buffers()) == 2_303
    assert {(m.eps, m.momentum, m.affine, m.track_running_stats) for m in norms} == {(1e-5, 0.1, True, True)}
    assert not any(isinstance(m, nn.Linear) for m in net.modules())  # the paper's 64 -> 10 layer is no part of it


@pytest.mark.parametrize(("name", "depth"), [(name, int(name.removeprefix("resnet"))) for name in SMALL])
def test_small_resnets_are_as_deep_as_they_are_called(name: str, depth: int) -> None:
    convolutions = [m for m in on_meta(name).modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) + 1 == depth  # and a head
    assert all(m.bias is None and m.kernel_size == (3, 3) for m in convolutions)


@pytest.mark.parametrize(("name", "depth"), [(name, int(name.split("-")[0].removeprefix("resnet"))) for name in LARGE])
def test_large_resnets_are_as_deep_as_they_are_called(name: str, depth: int) -> None:
    net = on_meta(name)
    shortcuts = {id(m) for r in net.modules() if isinstance(r, Residual) for m in r.shortcut.modules()}
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d) and id(m) not in shortcuts]
    assert len(convolutions) + 1 == depth
    assert all(m.bias is None for m in convolutions)


# --- shapes


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("size", "expected"), [(8, [8, 4, 2]), (28, [28, 14, 7]), (32, [32, 16, 8]), (9, [9, 5, 3])])
def test_small_resnets_take_small_images(name: str, size: int, expected: list[int]) -> None:
    assert sides(name, size) == expected


@pytest.mark.parametrize(
    ("suffix", "size", "expected"),
    [
        ("", 224, [56, 28, 14, 7]),
        ("", 32, [8, 4, 2, 1]),
        ("-3x3", 32, [32, 16, 8, 4]),
        ("-3x3-maxpool", 224, [112, 56, 28, 14]),
        ("-3x3-maxpool", 32, [16, 8, 4, 2]),
    ],
)
@pytest.mark.parametrize("name", LARGE)
def test_stems_set_the_resolution(name: str, suffix: str, size: int, expected: list[int]) -> None:
    assert sides(name + suffix, size) == expected


def test_convnets_halve_after_every_block() -> None:
    assert sides("convnet2", 32) == [8]
    assert sides("convnet4", 224) == [28, 14, 7]


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_takes_its_smallest_images(name: str) -> None:
    smallest = BACKBONES[name].smallest
    assert smallest <= 32
    assert sides(name, smallest)[-1] >= 1


def test_smallest_is_not_larger_than_it_need_be() -> None:
    with pytest.raises(RuntimeError, match="Output size is too small"):
        sides("convnet4", BACKBONES["convnet4"].smallest - 1)


@pytest.mark.parametrize("name", ["resnet8", "resnet32", "convnet2", "resnet10", "resnet10-3x3", "resnet26-bottleneck"])
def test_one_and_several_8x8_images_give_finite_features_and_gradients(name: str) -> None:
    net = seeded(name)
    net.features(images(2, 8)).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())
    features = net.eval().features(images(1, 8))
    assert features.shape == (1, net.width)
    assert bool(features.isfinite().all())


# --- what they compute


def test_the_parameter_free_shortcut_by_hand() -> None:
    x = torch.tensor([[[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]], [[-1, -2, -3], [-4, -5, -6], [-7, -8, -9]]]])
    y = Subsample(2)(x)
    assert y.tolist() == [[[[1, 3], [7, 9]], [[-1, -3], [-7, -9]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]]]
    assert not list(Subsample(2).parameters())
    assert Subsample(1)(torch.ones(1, 1, 4, 4)).shape == (1, 2, 2, 2)


def test_the_shortcut_keeps_new_channels_finite_where_the_input_is_not() -> None:
    x = torch.full((1, 1, 2, 2), torch.inf, requires_grad=True)
    y = Subsample(1)(x)
    assert y[0, 1].item() == 0
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[[[1, 0], [0, 0]]]]


def small_resnet_by_hand(net: Backbone, x: Tensor, blocks: int) -> list[Tensor]:
    """The CIFAR ResNet written out on the parameters in their order, batch norms with batch statistics."""
    weights = iter(net.parameters())

    def conv_bn(x: Tensor, stride: int) -> Tensor:
        y = F.conv2d(x, next(weights), stride=stride, padding=1)
        mean, var = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), keepdim=True, unbiased=False)
        gain, shift = next(weights), next(weights)
        return (y - mean) / (var + 1e-5).sqrt() * gain[:, None, None] + shift[:, None, None]

    x = conv_bn(x, 1).clamp(min=0)
    maps = []
    for stage in range(3):
        for block in range(blocks):
            down = stage > 0 and block == 0
            short = x
            if down:
                short = F.avg_pool2d(x, 1, 2)
                short = torch.cat([short, short * 0], dim=1)
            x = conv_bn(conv_bn(x, 2 if down else 1).clamp(min=0), 1)
            x = (x + short).clamp(min=0)
        maps.append(x)
    assert next(weights, None) is None
    return maps


@pytest.mark.parametrize(("name", "blocks", "size"), [("resnet8", 1, 8), ("resnet14", 2, 28), ("resnet20", 3, 32)])
def test_small_resnets_equal_the_network_written_out(name: str, blocks: int, size: int) -> None:
    net, x = seeded(name).double(), images(3, size).double()
    with torch.no_grad():
        for p in net.parameters():  # batch-norm weights and biases other than 1 and 0
            p.add_(0.1 * torch.randn_like(p))
    for got, expected in zip(net(x), small_resnet_by_hand(net, x, blocks), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(
    ("name", "twin"), [("resnet18", "resnet18"), ("resnet34", "resnet34"), ("resnet50", "resnet50")]
)
def test_large_resnets_equal_torchvisions(name: str, twin: str) -> None:
    from torchvision import models

    net, reference = seeded(name), getattr(models, twin)(num_classes=1)
    reference.fc = nn.Identity()
    own, theirs = net.state_dict(), reference.state_dict()
    assert [v.shape for v in own.values()] == [v.shape for v in theirs.values()]
    reference.load_state_dict(dict(zip(theirs, own.values(), strict=True)))
    x = images(2, 64)
    with torch.no_grad():
        torch.testing.assert_close(net.features(x), reference(x))  # batch statistics; moves the running ones
        torch.testing.assert_close(net.eval().features(x), reference.eval()(x))


def test_convnet4_equals_the_network_written_out() -> None:
    net, x = seeded("convnet4"), images(2, 64)
    weights = iter(net.parameters())
    y = x
    for block in range(4):
        stride, padding = (2, 3) if block == 0 else (1, 1)
        y = F.conv2d(y, next(weights), next(weights) + 0, stride=stride, padding=padding)
        y = F.batch_norm(y, None, None, next(weights), next(weights), training=True)
        y = F.max_pool2d(F.relu(y), 2)
    assert next(weights, None) is None
    torch.testing.assert_close(net(x)[-1], y)


@pytest.mark.parametrize("name", ["resnet8", "resnet10", "resnet26-bottleneck-3x3", "convnet2"])
def test_the_last_map_ends_in_a_relu(name: str) -> None:
    last = seeded(name)(images(4, 16))[-1]
    assert last.min() == 0
    assert last.max() > 0


def test_pooling_is_the_mean_over_the_map() -> None:
    net = seeded("resnet8")
    maps = net.eval()(images(2, 32))
    assert maps[-1].shape == (2, 64, 8, 8)
    window = F.avg_pool2d(maps[-1], 8).flatten(1)
    torch.testing.assert_close(net.pool(maps[-1]), window)
    assert torch.equal(net.features(images(2, 32)), net.pool(maps[-1]))
    assert Backbone.pool(torch.arange(8.0).reshape(1, 2, 2, 2)).tolist() == [[1.5, 5.5]]


def test_later_stages_leave_earlier_maps_as_they_are() -> None:
    net, x = seeded("resnet10-3x3").eval(), images(1, 8)
    maps = net(x)
    early = net.stages[0](net.stem(x))
    assert torch.equal(maps[0], early)
    assert torch.equal(x, images(1, 8))


# --- how they start


@pytest.mark.parametrize("name", ["resnet32", "resnet18", "resnet26-bottleneck-3x3", "convnet2", "convnet4"])
def test_convolutions_start_from_he_fan_out(name: str) -> None:
    for module in seeded(name).modules():
        if not isinstance(module, nn.Conv2d):
            continue
        window, outputs = module.kernel_size[0], module.out_channels
        weight = module.weight.detach() / sqrt(2 / (window * window * outputs))  # N(0, 1)
        error = 1 / sqrt(weight.numel())
        assert abs(weight.mean()) < 5 * error
        assert abs(weight.std() - 1) < 5 * error / sqrt(2)
        assert weight.abs().max() > 2.5  # normal, not uniform: U with this deviation ends at 1.73
        assert module.bias is None or not module.bias.any()


@pytest.mark.parametrize("name", ["resnet32", "resnet18", "resnet50-3x3", "convnet4"])
def test_batch_norms_start_from_one_and_zero_everywhere(name: str) -> None:
    norms = [m for m in seeded(name).modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        assert norm.num_batches_tracked is not None
        assert torch.equal(norm.weight, torch.ones_like(norm.weight))  # those ending a residual branch too
        assert not norm.bias.any()
        assert norm.running_mean is not None
        assert not norm.running_mean.any()
        assert norm.running_var is not None
        assert bool((norm.running_var == 1).all())
        assert norm.num_batches_tracked.item() == 0


def test_a_seed_fixes_the_weights_and_each_call_draws_anew() -> None:
    first, again, other = seeded("resnet8"), seeded("resnet8"), backbone_factory("resnet8")()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


# --- rest


def test_freeze_puts_every_part_to_rest() -> None:
    net = seeded("resnet8")
    freeze(net)
    assert not any(p.requires_grad for p in net.parameters())
    assert not any(m.training for m in net.modules())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert not net.features(images(2, 8)).requires_grad
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["resnet32", "resnet10", "resnet10-3x3-maxpool", "convnet2", "convnet4"])
def test_gradients_are_deterministic_on_cuda(name: str) -> None:
    x, gradients = images(16, 32).cuda(), []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            net = seeded(name).cuda()
            net.features(x).square().sum().backward()
            gradients.append([p.grad for p in net.parameters()])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(a is not None and b is not None and torch.equal(a, b) for a, b in zip(*gradients, strict=True))


# --- split into a shared and a replicated part


@pytest.mark.parametrize("name", COUNTS)
def test_a_split_has_the_published_parameters_on_either_side(name: str) -> None:
    width, whole, shared, own = COUNTS[name]
    net = on_meta(name)
    front, rear = net.split()
    assert (parameters(front), parameters(rear)) == (shared, own)
    assert shared + own == whole
    assert {id(p) for part in (front, rear) for p in part.parameters()} == {id(p) for p in net.parameters()}
    assert rear.width == width


@pytest.mark.parametrize("name", ["convnet2", "resnet8", "resnet32", "resnet10", "resnet26-bottleneck-3x3"])
def test_one_part_of_a_split_after_the_other_is_the_whole_bit_for_bit(name: str) -> None:
    whole, x = seeded(name), images(4, 32)
    front, rear = seeded(name).split()
    for mode in (True, False):  # batch statistics, which move the running ones, and then those
        for part in (whole, front, rear):
            part.train(mode)
        with torch.no_grad():
            expected, early = whole(x), front(x)
            late = rear(early[-1])
        found = [*early, *late] if len(whole.stages) > 1 else late  # of one stage, the front is what comes before it
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert torch.equal(rear.pool(late[-1]), whole.pool(expected[-1]))


@pytest.mark.parametrize("name", ["convnet2", "convnet4", "resnet32", "resnet18", "resnet50-3x3"])
def test_the_rear_of_a_split_says_what_it_takes(name: str) -> None:
    front, rear = on_meta(name).split()
    given = front.eval()(torch.empty(1, 3, 64, 64, device="meta"))[-1]
    assert given.shape == (1, rear.takes, 64 // rear.shrunk, 64 // rear.shrunk)
    assert (front.takes, front.shrunk, front.width) == (3, 1, rear.takes)
