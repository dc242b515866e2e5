"""Precisions and ways: what the plain one is, that the others give the same, and that each resumes bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grace.nets import arithmetic as nets
from grace.nets import backbone_factory
from grace.nets.arithmetic import Arithmetic, can_compile, computing, current, flops
from grace.nets.incremental import IncrementalNet
from grace.seeds import derive
from grace.streams.samples import Batch, Task
from grace.streams.stream import tasks
from grace.training import steps
from grace.training.engine import Engine
from grace.training.phase import Losses, Phase, Recipe
from grace.training.steps import compiles
from grace.training.trainer import Progress, Stopped, Trainer
from tests.grace.streams_for_tests import PROTOCOL, SPEC, build, data, lasting, run, tiny, weights

CPU = torch.device("cpu")
PLAIN = Engine("fp32", "plain")
compiling = pytest.mark.skipif(not can_compile(), reason="torch.compile lacks a C++ compiler here")
EVERY = [
    Engine("fp32", "plain"),
    Engine("fp32", "eager"),
    Engine("bf16", "eager"),
    pytest.param(Engine("fp32", "compiled"), marks=compiling),
    pytest.param(Engine("bf16", "compiled"), marks=compiling),
]


@pytest.fixture
def as_a_run() -> Iterator[Callable[[str], None]]:
    """Sets torch up as runs have it."""
    before = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]

    def setting(precision: str) -> None:
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.conv.fp32_precision = "tf32" if precision == "tf32" else "ieee"  # type: ignore[attr-defined]

    yield setting
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    torch.backends.cudnn.conv.fp32_precision = before  # type: ignore[attr-defined]


def first_task() -> Task:
    return next(tasks(PROTOCOL, *data()))


def fresh() -> IncrementalNet:
    torch.manual_seed(3)
    made = IncrementalNet(tiny, CPU)
    made.add_branch()
    made.add_classes(2)
    return made


def phase(net: IncrementalNet, task: Task, recipe: Recipe = Recipe(2, batch_size=32)) -> Phase:
    def loss(batch: Batch) -> Losses:
        return {"ce": F.cross_entropy(net.logits(batch.x), batch.y)}

    return Phase(name="learn", trains=[net], data=task.train, loss=loss, recipe=recipe)


def test_the_plain_way_is_the_loop_as_one_would_write_it_bit_for_bit() -> None:
    task, net, twin = first_task(), fresh(), fresh()
    recipe = Recipe(3, lr=0.1, weight_decay=1e-3, milestones=(2,), batch_size=32)
    trainer = Trainer(task, seed=5, device=CPU)
    trainer.fit(phase(net, task, recipe))
    twin.train().requires_grad_(True)
    optimiser = torch.optim.SGD(twin.parameters(), 0.1, 0.9, weight_decay=1e-3)
    for epoch, lr in enumerate([0.1, 0.1, 0.1 * 0.1]):
        optimiser.param_groups[0]["lr"] = lr
        order = torch.Generator().manual_seed(derive(5, "task", 0, "learn", epoch, "order"))
        rows = task.train.rows[torch.randperm(len(task.train), generator=order)]
        total = 0.0
        for piece in torch.split(rows, 32):
            x = task.train.source.batch(piece, "train", derive(5, "task", 0, "learn", epoch, "view"))
            features = twin.newest.stagewise(x)[-1].mean(dim=(2, 3))
            loss = F.cross_entropy(F.linear(features, twin.head.weight, twin.head.bias), task.train.source.y[piece])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += float(loss.detach().double()) * len(piece)
        assert trainer.phases[0]["losses"]["ce"][epoch] == total / len(rows)
    for name, value in net.state_dict().items():
        assert torch.equal(value, twin.state_dict()[name]), name
    assert trainer.phases[0]["way"] == "plain"


@pytest.mark.parametrize("engine", EVERY[1:])
def test_every_way_learns_what_the_plain_one_learns(engine: Engine) -> None:
    fields: dict[str, Any] = {"threshold": 1.1, "decay": 1.0}
    plain = run(build("grace", **fields), engine=PLAIN)
    other = run(build("grace", **fields), engine=engine)
    close = 2e-3 if engine.precision == "fp32" else 5e-2
    for a, b in zip(plain, other, strict=True):
        assert [p["name"] for p in a.phases] == [p["name"] for p in b.phases]
        for one, two in zip(a.phases, b.phases, strict=True):
            assert two["way"] == engine.way
            for term, values in one["losses"].items():
                assert two["losses"][term] == pytest.approx(values, rel=close, abs=close)
        assert a.footprint == b.footprint  # weights stay in fp32, in every precision
        assert b.accuracy == pytest.approx(a.accuracy, abs=0.15)


@pytest.mark.parametrize("engine", EVERY)
def test_a_run_resumes_bit_for_bit_in_every_precision_by_every_way(engine: Engine, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"threshold": 1.1, "decay": 1.0}
    whole = build("grace", **fields)
    expected = [lasting(r) for r in run(whole, engine=engine)]
    stops = 0
    while True:
        learner = build("grace", **fields)
        try:
            found = run(learner, engine=engine, folder=tmp_path, observe=lambda p: True, checkpoint_seconds=0.0)
        except Stopped:
            stops += 1
            continue
        break
    assert stops == 2 + 2 * (2 + 2) + 3  # after every epoch of every phase, and after every task
    assert [lasting(r) for r in found] == expected
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(learner), strict=True))


def test_engines_have_known_names() -> None:
    with pytest.raises(ValueError, match="precision fp8 is not known; known: fp32, tf32, bf16"):
        Engine("fp8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="engine quick is not known; known: auto, plain, eager, compiled"):
        Engine("fp32", "quick")  # type: ignore[arg-type]


def test_backbones_compute_as_they_are_told_and_only_while_it_lasts() -> None:
    net, x = fresh(), torch.rand(4, 3, 8, 8)
    plain = net.newest(x)
    with computing(Arithmetic(bf16=True)):
        low = net.newest(x)
        out = net(x)
        assert current().bf16
    assert current() == Arithmetic()
    assert {m.dtype for m in plain} == {torch.float32}
    assert {m.dtype for m in low} == {torch.bfloat16}
    assert out.features.dtype == out.logits.dtype == torch.float32  # heads and losses stay exact
    assert torch.allclose(low[0].float(), plain[0], rtol=0.05, atol=0.05)
    assert not torch.equal(low[0].float(), plain[0])
    assert torch.equal(net.newest(x)[0], plain[0])


def test_branches_are_laid_out_for_the_way_also_when_they_are_rebuilt() -> None:
    backbone = backbone_factory("resnet8")
    with computing(Arithmetic(channels_last=True)):
        net = IncrementalNet(backbone, CPU)
        net.add_branch()
        net.add_classes(3)
        again = net.blank()
        again.rebuild(net.layout())
        again.load_state_dict(net.state_dict())
        student = net.blank()
        student.add_branch(like=net.newest)
    kernels = [p for n in (net, again, student) for p in n.newest.parameters() if p.dim() == 4]
    assert len(kernels) == 3 * 7
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    plain = IncrementalNet(backbone, CPU).add_branch()
    assert all(p.is_contiguous() for p in plain.parameters())


@compiling
def test_one_compilation_serves_every_branch() -> None:
    from torch._dynamo.utils import counters

    x = torch.rand(16, 3, 8, 8)
    with computing(Arithmetic(compiled=True)):
        first, *others = [tiny().eval().requires_grad_(False) for _ in range(4)]
        expected = first.features(x)
        before = counters["stats"]["unique_graphs"]
        found = [other.features(x) for other in others]
        assert counters["stats"]["unique_graphs"] == before
    assert torch.allclose(expected, first.features(x), rtol=1e-4, atol=1e-5)
    for other, features in zip(others, found, strict=True):
        assert torch.allclose(features, other.features(x), rtol=1e-4, atol=1e-5)


def test_flops_are_two_per_multiply_add_of_the_convolutions() -> None:
    assert flops(tiny(), (3, 8, 8)) == 2 * 64 * 9 * (3 * 8 + 8 * 8 + 8 * 8)
    # ResNet-32 on 32x32: the stem, then five blocks of two per stage; the first of a later stage halves the side
    stem = 32 * 32 * 9 * 3 * 16
    stages = [10 * 32 * 32 * 9 * 16 * 16]
    stages += [16 * 16 * 9 * (16 * 32 + 9 * 32 * 32), 8 * 8 * 9 * (32 * 64 + 9 * 64 * 64)]
    assert flops(backbone_factory("resnet32")(), (3, 32, 32)) == 2 * (stem + sum(stages))


def test_compiling_is_chosen_by_the_size_of_the_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    task, net = first_task(), fresh()
    short = phase(net, task)
    monkeypatch.setattr(steps, "can_compile", lambda: True)
    work = 3 * flops(net.newest, (3, SPEC.size, SPEC.size)) * len(task.train)
    assert not compiles(Engine(), short, CPU)
    epochs = math.ceil(steps.PAYS["cpu"] / work)
    assert compiles(Engine(), replace(short, recipe=Recipe(epochs)), CPU)
    assert not compiles(Engine(), replace(short, recipe=Recipe(epochs - 1)), CPU)
    assert compiles(Engine(way="compiled"), short, CPU)
    for way in ("plain", "eager"):
        assert not compiles(Engine(way=way), replace(short, recipe=Recipe(epochs)), CPU)  # type: ignore[arg-type]
    assert not compiles(Engine(way="compiled"), replace(short, trains=[net.head]), CPU)  # no backbone learns
    monkeypatch.setattr(steps, "flops", lambda backbone, shape: pytest.fail("counted in vain"))
    assert not compiles(Engine(), short, CPU)
    monkeypatch.setattr(steps, "can_compile", lambda: False)
    assert not compiles(Engine(way="compiled"), short, CPU)


def test_without_a_compiler_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "can_compile", lambda: False)
    records = run(build("replay", epochs=1), engine=Engine(way="compiled"))
    assert {p["way"] for r in records for p in r.phases} == {"eager"}


def test_a_missing_compiler_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.cpp_builder as builder

    def none() -> str:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(builder, "get_cpp_compiler", none)
    nets.can_compile.cache_clear()
    try:
        assert not can_compile()
    finally:
        nets.can_compile.cache_clear()


def test_terms_may_come_and_go_within_an_epoch() -> None:
    task = first_task()
    number = nn.Parameter(torch.zeros(1))
    sizes: list[int] = []

    def loss(batch: Batch) -> Losses:
        sizes.append(len(batch.y))
        common: dict[str, Tensor] = {"a": number.sum() + 1}
        return common if len(batch.y) == 32 else common | {"b": number.sum() + 2}

    trainer = Trainer(task, seed=0, device=CPU)
    recipe = Recipe(1, lr=1e-12, weight_decay=0.0, batch_size=32)
    trainer.fit(Phase(name="learn", trains=[number], data=task.train, loss=loss, recipe=recipe))
    tail = [n for n in sizes if n != 32]
    assert len(tail) == 1
    losses = trainer.phases[0]["losses"]
    assert losses["a"] == [pytest.approx(1)]
    assert losses["b"] == [pytest.approx(2 * tail[0] / sum(sizes))]


class Recorded:
    """Stands for a CUDA graph where there is no CUDA: replaying computes again, into what was there at its capture."""

    captured: list[Recorded] = []  # noqa: RUF012
    replays = 0

    def __init__(self) -> None:
        Recorded.captured.append(self)

    def replay(self) -> None:
        graph = next(g for g in self.owners if g._graph is self)
        kept = [p.grad for p in graph._params]
        names, terms = self.steps._differentiated(Batch(graph._x, graph._y), full=len(graph._y) == 12)
        assert names == graph._names
        graph._terms.copy_(terms)
        for static, parameter in zip(graph._gradients, graph._params, strict=True):
            assert static is not None
            assert parameter.grad is not None
            static.copy_(parameter.grad)
        for parameter, gradient in zip(graph._params, kept, strict=True):
            parameter.grad = gradient
        Recorded.replays += 1


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> type[Recorded]:
    class Stream:
        def __init__(self, device: object = None) -> None: ...

        def wait_stream(self, other: object) -> None: ...

    @contextmanager
    def streaming(stream: object) -> Iterator[None]:
        yield

    @contextmanager
    def capturing(graph: Recorded, pool: object, stream: object, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        assert pool == "shared"
        yield

    made = steps._Graph.__init__

    def remember(self: Any, owner: Any, batch: Batch, full: bool) -> None:
        made(self, owner, batch, full)
        self._graph.steps, self._graph.owners = owner, [self]

    Recorded.captured.clear()
    Recorded.replays = 0
    monkeypatch.setattr(steps, "GRAPHS", {"cpu"})
    monkeypatch.setattr(steps._Graph, "__init__", remember)
    nothing = lambda: None  # noqa: E731
    stand_ins = {"Stream": Stream, "current_stream": Stream, "stream": streaming, "CUDAGraph": Recorded,
                 "graph": capturing, "empty_cache": nothing, "synchronize": nothing,
                 "graph_pool_handle": lambda: "shared"}  # fmt: skip
    for name, double in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, double)
    return Recorded


def linear(way: Any) -> tuple[list[Tensor], dict[str, Any]]:
    """Train a linear layer on the toy's pixels, two gradients edited."""
    task = first_task()
    torch.manual_seed(1)
    layer = nn.Linear(192, 2)
    layer.requires_grad_(False)

    def loss(batch: Batch) -> Losses:
        scores = layer(batch.x.flatten(1))
        return {"ce": F.cross_entropy(scores, batch.y), "size": 0.1 * scores.square().mean()}

    def halve() -> None:
        assert layer.bias.grad is not None
        layer.bias.grad.mul_(0.5)

    trainer = Trainer(task, seed=0, device=CPU, engine=Engine("fp32", way))
    made = Phase(name="learn", trains=[layer], data=task.train, loss=loss, recipe=Recipe(5, batch_size=12))
    trainer.fit(replace(made, after_backward=halve))
    return [t.clone() for t in layer.state_dict().values()], trainer.phases[0]


def test_replayed_steps_are_the_steps(doubles: type[Recorded]) -> None:
    with pytest.MonkeyPatch.context() as plain:
        plain.setattr(steps, "GRAPHS", set())
        expected, log = linear("eager")
        assert log["way"] == "eager"
    found, replayed = linear("eager")
    assert len(doubles.captured) == 2  # the last batch of an epoch is smaller
    assert doubles.replays == 5 * (80 // 12) + 5 - 2 * steps.WARM
    assert replayed["way"] == "eager+graph"
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert replayed["losses"] == log["losses"]


def test_what_cannot_be_captured_is_done_step_by_step(doubles: type[Recorded], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object, **named: object) -> object:
        raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.MonkeyPatch.context() as plain:
        plain.setattr(steps, "GRAPHS", set())
        expected, _ = linear("eager")
    monkeypatch.setattr(torch.cuda, "graph", refused)
    found, log = linear("eager")
    assert log["way"] == "eager"
    assert doubles.replays == 0
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("engine", [Engine(p, w) for p in ("fp32", "tf32", "bf16") for w in ("eager", "compiled")])  # type: ignore[arg-type]
def test_a_run_resumes_bit_for_bit_on_cuda(engine: Engine, tmp_path: Path, as_a_run: Callable[[str], None]) -> None:
    as_a_run(engine.precision)
    where = torch.device("cuda")
    fields: dict[str, Any] = {"threshold": 0.5, "decay": 1.0, "epochs": 5}
    whole = build("grace", device=where, **fields)
    expected = [lasting(r) for r in run(whole, engine=engine, device=where)]
    assert {p["way"] for r in expected for p in r["phases"]} == {f"{engine.way}+graph"}
    options: dict[str, Any] = {"engine": engine, "device": where, "folder": tmp_path, "checkpoint_seconds": 0.0}
    for _ in range(100):
        learner = build("grace", device=where, **fields)
        try:
            found = run(learner, observe=lambda p: True, **options)
        except Stopped:
            continue
        break
    for a, b in zip(expected, [lasting(r) for r in found], strict=True):
        for one, two in zip(a["phases"], b["phases"], strict=True):
            assert one["losses"] == two["losses"]  # the way is what the last piece of a phase was: perhaps too short
        assert a["predictions"] == b["predictions"]
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(learner), strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_graphs_replay_what_eager_steps_do(
    precision: Any, monkeypatch: pytest.MonkeyPatch, as_a_run: Callable[[str], None]
) -> None:
    as_a_run(precision)
    where = torch.device("cuda")
    train, test = (split.to(where) for split in data())
    task = next(tasks(PROTOCOL, train, test))

    def trained(warm: int) -> tuple[list[Tensor], str]:
        monkeypatch.setattr(steps, "WARM", warm)
        torch.manual_seed(3)
        net = IncrementalNet(tiny, where)
        net.add_branch()
        net.add_classes(2)
        trainer = Trainer(task, seed=0, device=where, engine=Engine(precision, "eager"))
        trainer.fit(phase(net, task, Recipe(4, batch_size=16)))
        return [t.clone() for t in net.state_dict().values()], trainer.phases[0]["way"]

    eager, way = trained(10**9)
    replayed, other = trained(3)
    assert (way, other) == ("eager", "eager+graph")
    assert all(torch.equal(a, b) for a, b in zip(eager, replayed, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_loss_that_cannot_be_captured_is_computed_step_by_step() -> None:
    where = torch.device("cuda")
    train, test = (split.to(where) for split in data())
    task = next(tasks(PROTOCOL, train, test))
    number = nn.Parameter(torch.zeros(1))
    seen: list[Progress] = []

    def loss(batch: Batch) -> Losses:
        return {"a": number.sum() * float(batch.x.mean())}  # waits for the device

    observe = lambda p: bool(seen.append(p))  # noqa: E731
    trainer = Trainer(task, seed=0, device=where, engine=Engine("fp32", "eager"), observe=observe)
    recipe = Recipe(2, batch_size=16)
    trainer.fit(Phase(name="learn", trains=[number], data=task.train, loss=loss, recipe=recipe))
    assert trainer.phases[0]["way"] == "eager"
    assert len(seen) == 2
