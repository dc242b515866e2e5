"""Data-parallel runs: two ranks compute what one process does, agree in everything, and do not wait for the dead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grace.methods import METHODS
from grace.run import evaluate
from grace.streams.samples import Batch, Samples, Task
from grace.training import parallel
from grace.training.digest import digest
from grace.training.engine import Engine
from grace.training.parallel import ALONE, RankLost, Ranks
from grace.training.phase import Losses, Phase, Recipe
from grace.training.steps import WARM, Steps
from grace.training.trainer import Progress, Stopped, Trainer
from tests.grace.ranks_for_tests import Pair
from tests.grace.streams_for_tests import build, data, run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    ranks = Pair(tmp_path_factory.mktemp("pair"))
    yield ranks
    ranks.close()


def some(n: int) -> Task:
    train, test = data()
    return Task(0, 0, 6, Samples(train, torch.arange(n)), Samples(test, torch.arange(n)))


class Seen:
    """Two layers without batch norm, a parameter that no loss reaches, and what the losses saw."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 6))
        self.scale, self.unused = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(3))
        self.x: list[Tensor] = []
        for item in (self.net, self.scale, self.unused):
            item.requires_grad_(False)

    def loss(self, batch: Batch) -> Losses:
        self.x.append(batch.x)
        scores = self.net(batch.x) * self.scale
        return {"ce": F.cross_entropy(scores, batch.y), "size": 0.01 * scores.square().mean()}


def trained(ranks: Ranks, n: int, views: int) -> tuple[list[Tensor], list[Tensor], dict[str, list[float]]]:
    """Return the weights after three epochs of batches of 8, the images of the first step, and the loss terms."""
    seen, of = Seen(), some(n)
    trainer = Trainer(of, seed=1, device=CPU, ranks=ranks)
    trains, recipe = [seen.net, seen.scale, seen.unused], Recipe(3, lr=0.05, batch_size=8)

    def halve() -> None:
        weight = seen.net[0].weight.grad
        assert weight is not None
        weight /= 2

    trainer.fit(Phase(name="learn", trains=trains, data=of.train, loss=seen.loss, recipe=recipe, views=views,
                      after_backward=halve))  # fmt: skip
    weights = [*seen.net.state_dict().values(), seen.scale.detach(), seen.unused.detach()]
    return weights, seen.x, trainer.phases[0]["losses"]


@pytest.mark.parametrize(
    ("n", "views", "shares"),
    [
        (21, 1, [4, 4, 3]),  # the last batch is uneven: 3 and 2
        (19, 2, [8, 8, 6]),  # the last one, 3, is too small to share: each computes it
        (17, 1, [4, 5]),  # the last image joined the batch before
        (1, 1, [1]),
    ],
)
def test_two_ranks_take_the_steps_of_one(pair: Pair, n: int, views: int, shares: list[int]) -> None:
    weights, x, losses = trained(ALONE, n, views)
    (first, x0, losses0), (second, x1, losses1) = pair(trained, n, views)
    assert [len(each) for each in x0[: len(shares)]] == shares
    for ours, zero, one in zip(weights, first, second, strict=True):
        assert torch.equal(zero, one)
        assert torch.allclose(ours, zero, atol=1e-6, rtol=0)
    assert torch.equal(weights[-1], torch.ones(3))  # no gradient, so no weight decay either
    for whole, zero, one in zip(x, x0, x1, strict=True):  # the very views that one process sees
        for ours, *parts in zip(whole.chunk(views), zero.chunk(views), one.chunk(views), strict=True):
            assert torch.equal(ours, parts[0] if len(parts[0]) == len(ours) else torch.cat(parts))
    assert losses0 == losses1
    for term, values in losses.items():
        assert losses0[term] == pytest.approx(values, rel=1e-5)


def normed(ranks: Ranks) -> list[Tensor]:
    """Return a batch norm's statistics after one epoch of one batch, and what it saw."""
    norm, of, x = nn.BatchNorm2d(3), some(8), list[Tensor]()
    norm.requires_grad_(False).eval()

    def loss(batch: Batch) -> Losses:
        x.append(batch.x)
        return {"mean": norm(batch.x).square().mean()}

    trainer = Trainer(of, seed=1, device=CPU, ranks=ranks)
    trainer.fit(Phase(name="learn", trains=[norm], data=of.train, loss=loss, recipe=Recipe(1, batch_size=8)))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return [norm.running_mean, norm.running_var, x[0]]


def test_statistics_of_batch_norm_are_the_mean_of_the_shares(pair: Pair) -> None:
    (mean, var, x0), (mean1, var1, x1) = pair(normed)
    assert torch.equal(mean, mean1)
    assert torch.equal(var, var1)
    # PyTorch's running estimates: a tenth of the batch's own, the variance unbiased
    within = [x.transpose(0, 1).flatten(1) for x in (x0, x1)]
    assert torch.allclose(mean, 0.1 * (within[0].mean(1) + within[1].mean(1)) / 2, atol=1e-6)
    assert torch.allclose(var, 0.9 + 0.1 * (within[0].var(1) + within[1].var(1)) / 2, atol=1e-6)


def mapped(ranks: Ranks) -> tuple[Tensor, list[int], dict[str, Tensor], dict[str, Tensor]]:
    """Return a map of images, how many of them this rank computed, predictions, and squared gradients."""
    trainer, seen, counts = Trainer(some(11), seed=1, device=CPU, ranks=ranks), Seen(), list[int]()

    def fn(x: Tensor) -> Tensor:
        counts.append(len(x))
        return x.flatten(1)[:, :6].double()

    features = trainer.map(fn, trainer.task.train, "train", "purpose")
    predictions = evaluate(lambda x: {"linear": x.flatten(1)[:, :6]}, trainer.task, trainer)
    ranked = trainer.squared_gradients(lambda batch: seen.loss(batch)["ce"], seen.net, trainer.task.train, 4, "fisher")
    return features, counts, predictions, ranked


def test_images_are_mapped_and_evaluated_once_each_and_in_order(pair: Pair) -> None:
    features, _, predictions, ranked = mapped(ALONE)
    found = pair(mapped)
    assert [counts for _, counts, _, _ in found] == [[6], [5]]
    for theirs, _, guesses, squares in found:
        assert torch.equal(theirs, features)
        assert guesses["linear"].dtype == torch.int16
        assert torch.equal(guesses["linear"], predictions["linear"])
        assert all(torch.allclose(squares[name], value, rtol=1e-5) for name, value in ranked.items())


def finished(ranks: Ranks, name: str, folder: Path | None = None, stop: int = 0) -> tuple[str, list[int], int]:
    """Run a method, asked to stop after `stop` reports; return a hash of it, its predictions' and how often it told."""
    told: list[Progress] = []
    learner = build(name)

    def observe(progress: Progress) -> bool:
        told.append(progress)
        return len(told) == stop

    try:
        records = run(learner, ranks=ranks, folder=folder, observe=observe, checkpoint_seconds=0.0)
    except Stopped:
        return "stopped", [], len(told)
    headline = next(iter(records[-1].predictions.values()))
    return digest(learner.state_dict()), headline.tolist(), len(told)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_on_two_ranks(pair: Pair, name: str) -> None:
    (one, predictions, told), (other, theirs, heard) = pair(finished, name)
    assert (one, predictions) == (other, theirs)
    assert len(one) == 32
    assert told >= 3
    assert heard == 0  # the observer is rank 0's


def on_a_gpu(ranks: Ranks, name: str, folder: Path, stop: int) -> tuple[str, list[int], set[str]]:
    """Run a method in replayed steps and return a hash of it, its predictions and the ways of its phases."""
    where, told = torch.device("cuda"), iter(range(1, 1000))
    learner = build(name, WARM + 1, device=where)
    options: dict[str, Any] = {"ranks": ranks, "device": where, "engine": Engine("fp32", "eager"), "folder": folder}
    try:
        records = run(learner, checkpoint_seconds=0.0, observe=lambda p: next(told) == stop, **options)
    except Stopped:
        return "stopped", [], set()
    headline = next(iter(records[-1].predictions.values()))
    ways = {phase["way"] for record in records for phase in record.phases}
    return digest(learner.state_dict()), headline.tolist(), ways


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("backend", ["gloo", "cpu:gloo,cuda:nccl"])
def test_ranks_on_gpus_agree_and_go_on_bit_for_bit(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "nccl" in backend and torch.cuda.device_count() == 1 and torch.cuda.nccl.version() < (2, 30):
        pytest.skip("this NCCL wants a GPU for each rank")
    monkeypatch.setenv("NCCL_MULTI_RANK_GPU_ENABLE", "1")
    pair = Pair(tmp_path, backend)
    try:
        for name in ("grace", "der", "icarl"):
            one, other = pair(on_a_gpu, name, tmp_path / name, 0)
            assert one == other
            assert one[2] == {"eager+graph, 2 ranks"}
            assert pair(on_a_gpu, name, tmp_path / f"{name}-again", 5) == [("stopped", [], set())] * 2
            again = pair(on_a_gpu, name, tmp_path / f"{name}-again", 0)
            assert [(state, guesses) for state, guesses, _ in again] == [one[:2]] * 2
    finally:
        pair.close()


def test_all_stop_at_the_same_point_and_go_on_bit_for_bit(pair: Pair, tmp_path: Path) -> None:
    whole = pair(finished, "grace")
    for stop in (2, 3):
        assert pair(finished, "grace", tmp_path, stop) == [("stopped", [], stop), ("stopped", [], 0)]
    assert list(tmp_path.glob("task*.pt"))
    for (state, predictions, _), again in zip(whole, pair(finished, "grace", tmp_path), strict=True):
        assert again[:2] == (state, predictions)
    assert [path.name for path in tmp_path.iterdir()] == ["stream.pt"]


def exploding(ranks: Ranks) -> None:
    seen, of = Seen(), some(16)

    def loss(batch: Batch) -> Losses:
        factor = float("inf") if ranks.rank == 1 and len(seen.x) == 3 else 1.0
        return {name: term * factor for name, term in seen.loss(batch).items()}

    phase = Phase(name="learn", trains=[seen.net], data=of.train, loss=loss, recipe=Recipe(4, batch_size=8))
    Trainer(of, seed=1, device=CPU, ranks=ranks).fit(phase)


def test_a_loss_that_explodes_on_one_rank_ends_all_at_that_step(pair: Pair) -> None:
    one, other = pair(exploding)
    assert (one.kind, other.kind) == ("NonFiniteLoss", "NonFiniteLoss")
    assert one.text == other.text
    assert "phase learn, epoch 1, step 1" in one.text


def straying(ranks: Ranks, what: str, folder: Path) -> None:
    if what == "exemplars":
        ranks.agree("exemplars after task 0", {0: torch.tensor([5, 3 + ranks.rank])})
    elif what == "weights":
        seen, of = Seen(), some(8)
        seen.net[3].bias[0] += ranks.rank
        Trainer(of, seed=1, device=CPU, ranks=ranks).fit(
            Phase(name="learn", trains=[seen.net], data=of.train, loss=seen.loss, recipe=Recipe(1, batch_size=8))
        )
    elif what == "checkpoint":
        ranks.load(folder / ("stream.pt" if ranks.leads else "elsewhere.pt"))
    else:
        ranks.decided(lambda: [][0] if ranks.leads else None)


@pytest.mark.parametrize(
    ("what", "kinds", "text"),
    [
        ("exemplars", ["RanksDiffer"] * 2, "exemplars after task 0: rank 1 differs from rank 0; "),
        ("weights", ["RanksDiffer"] * 2, "phase learn: rank 1 differs from rank 0; "),
        ("checkpoint", ["RanksDiffer"] * 2, "rank 1 on "),
        ("decision", ["IndexError", "RankFailed"], "list index out of range"),
    ],
)
def test_ranks_that_differ_are_named(pair: Pair, tmp_path: Path, what: str, kinds: list[str], text: str) -> None:
    torch.save({"epoch": 1}, tmp_path / "stream.pt")
    found = pair(straying, what, tmp_path)
    assert [each.kind for each in found] == kinds
    assert all(text in each.text for each in found)
    assert pair(straying, "exemplars", tmp_path)[1].kind == "RanksDiffer"  # and they go on together


def meeting(ranks: Ranks, reasons: list[str]) -> str:
    ranks.settle(reasons[ranks.rank])
    return "met"


def vanishing(ranks: Ranks) -> None:
    if ranks.rank == 1:
        os._exit(1)
    ranks.agree("anything", 1)


def test_a_rank_that_does_not_come_to_the_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late:
        def all_gather_object(self, *arguments: Any, **options: Any) -> None:
            raise RuntimeError("Timed out waiting 60000ms for recv operation to complete")

    monkeypatch.setattr(parallel, "_group", Late)
    monkeypatch.setattr(parallel, "_apart", lambda: None)
    with pytest.raises(RankLost, match="rank 1: ValueError: bad image"):
        Ranks(1, 2).settle("ValueError: bad image")
    with pytest.raises(RankLost, match="rank 0: RuntimeError: Timed out"):
        Ranks(0, 2).settle()


def test_shares_are_whole_contiguous_and_never_of_one_image() -> None:
    for n in range(1, 40):
        rows = torch.arange(n)
        shares = [Ranks(rank, 3).share(rows) for rank in range(3)]
        if n < 6:
            assert all(torch.equal(share, rows) for share in shares)
        else:
            assert torch.equal(torch.cat(shares), rows)
            assert min(map(len, shares)) >= 2


def test_the_way_says_how_many_ranks_there_are() -> None:
    from grace.training.engine import Engine

    seen, of = Seen(), some(8)
    phase = Phase(name="learn", trains=[seen.net], data=of.train, loss=seen.loss, recipe=Recipe(1))
    optimiser = torch.optim.SGD(seen.net.parameters())
    params = list(seen.net.parameters())
    assert Steps(phase, optimiser, params, Engine(way="plain"), Ranks(0, 2)).way == "plain, 2 ranks"
    assert Steps(phase, optimiser, params, Engine(way="plain")).way == "plain"


def test_without_a_group_a_process_is_alone() -> None:
    assert parallel.joined() == ALONE


def test_ranks_meet_at_the_end_and_do_not_wait_for_the_dead(pair: Pair) -> None:
    assert pair(meeting, ["", ""]) == ["met", "met"]
    assert pair(meeting, ["out of memory", "out of memory"]) == ["met", "met"]
    alone = pair(meeting, ["", "ValueError: bad image"])
    assert [(each.kind, each.text) for each in alone] == [("RankLost", "rank 1: ValueError: bad image")] * 2
    # last of all, since the pair is none afterwards: told at once, and not after a timeout of minutes
    assert pair(vanishing)[0].kind == "RuntimeError"
