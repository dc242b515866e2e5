"""The contract of every run: each way to break it is named with file and line, and ends the run there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grace.contract import ContractError, thorough
from grace.learner import Learner, Readouts
from grace.methods.replay import Config, Replay
from grace.streams.samples import Batch, Samples, Task
from grace.training import steps
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import NonFiniteLoss, Trainer
from tests.grace.streams_for_tests import Spy, data, run, short, tiny


def line_of(mark: str) -> int:
    """The line of this file that ends in a comment."""
    (found,) = (i for i, line in enumerate(Path(__file__).read_text().splitlines(), 1) if line.endswith(f"# {mark}"))
    return found


def build(learner: type[Learner], **fields: Any) -> Learner:
    from grace.streams.protocol import Budget

    return learner(short(Config, 1, **fields), tiny, Budget(18))


class Fitting(Replay):
    """Replay whose loss, and whatever else a phase has, can be tampered with."""

    listed = "net"

    def learn(self, task: Task, trainer: Trainer) -> None:
        if task.known == 0:
            self.net.add_branch()
        self.net.add_classes(task.size)
        before = self.net.copied()

        def loss(batch: Batch) -> Losses:
            self.tamper(before)
            return {"ce": F.cross_entropy(self.net.logits(batch.x), batch.y)}

        trains: list[nn.Module] = [self.net if self.listed == "net" else self.net.newest]
        data, recipe = self.replayed(task), self.config.initial
        phase = Phase(name="learn", trains=trains, data=data, loss=loss, recipe=recipe)
        trainer.fit(phase)  # the fit

    def tamper(self, before: nn.Module) -> None:
        """Do nothing."""


class Sneaky(Fitting):
    listed = "newest"

    def tamper(self, before: nn.Module) -> None:
        with torch.no_grad():
            self.net.head.bias.add_(0.01)


class Swapping(Fitting):
    listed = "newest"

    def tamper(self, before: nn.Module) -> None:
        self.net.head.bias = nn.Parameter(self.net.head.bias.detach().clone(), False)


class Pointing(Fitting):
    listed = "newest"

    def tamper(self, before: nn.Module) -> None:
        self.net.head.bias.data = self.net.head.bias.data.clone()


class Concealed(Fitting):
    listed = "newest"

    def tamper(self, before: nn.Module) -> None:
        self.net.head.bias.data.add_(0.01)


class Thawing(Fitting):
    listed = "newest"

    def tamper(self, before: nn.Module) -> None:
        self.net.head.requires_grad_(True)


class Corrupting(Fitting):
    def tamper(self, before: nn.Module) -> None:
        before.train()
        with torch.no_grad():
            before(torch.zeros(2, 3, 8, 8))
        before.eval()


class Expanding(Replay):
    """A branch per task, of which an old one is not left alone."""

    growth = "per-task"

    def learn(self, task: Task, trainer: Trainer) -> None:
        branch = self.net.add_branch()
        self.net.add_classes(task.size)

        def loss(batch: Batch) -> Losses:
            if task.index == 1:
                with torch.no_grad():
                    next(self.net.branches[0].parameters()).mul_(0.999)
            return {"ce": F.cross_entropy(self.net.logits(batch.x), batch.y)}

        data, recipe = self.replayed(task), self.config.initial
        trainer.fit(Phase(name="learn", trains=[branch, self.net.head], data=data, loss=loss, recipe=recipe))  # frozen


@pytest.mark.parametrize(
    ("learner", "words", "mark"),
    [
        (Sneaky, "phase learn changed net.head.bias, which is at rest: its trains does not list it", "the fit"),
        (Swapping, "phase learn changed net.head.bias", "the fit"),
        (Pointing, "phase learn changed net.head.bias", "the fit"),
        (Thawing, "net.head.weight is not at rest outside of a fit", "the fit"),
        (Corrupting, "phase learn changed before.", "the fit"),
        (Expanding, "phase learn changed net.branches.0.stem.0.weight", "frozen"),
    ],
)
def test_a_phase_changes_only_what_it_lists(learner: type[Learner], words: str, mark: str) -> None:
    with pytest.raises(ContractError) as caught:
        run(build(learner))
    assert words in caught.value.message
    assert (caught.value.file, caught.value.line) == (__file__, line_of(mark))
    assert str(caught.value) == f"{__file__}:{line_of(mark)}: {caught.value.message}"


def test_what_passes_the_version_counters_is_found_by_value() -> None:
    run(build(Concealed))
    with thorough(), pytest.raises(ContractError, match=r"changed net\.head\.bias"):
        run(build(Concealed))
    run(build(Concealed))  # and only while that lasts
    with thorough():
        run(build(Fitting))


class Hoarder(Replay):
    def learn(self, task: Task, trainer: Trainer) -> None:
        self.seen_so_far: int = task.seen  # hoarded
        super().learn(task, trainer)


class Late(Replay):
    def remember(self, task: Task, trainer: Trainer) -> None:
        super().remember(task, trainer)
        (self.means, _) = (torch.zeros(2), 0)  # late


class Stateful(Replay):
    def learn(self, task: Task, trainer: Trainer) -> None:
        super().learn(task, trainer)
        self.state = {"old": 1}  # undeclared


@dataclass
class Kept:
    count: int = 0


class Loose(Replay):
    keeps = Kept

    def learn(self, task: Task, trainer: Trainer) -> None:
        super().learn(task, trainer)
        self.state.count += 1
        self.state.more = 1  # loose


class Attached(Replay):
    def learn(self, task: Task, trainer: Trainer) -> None:
        super().learn(task, trainer)
        self.net.teacher = nn.Linear(1, 1).requires_grad_(False).eval()  # attached


class Forgetting(Replay):
    def remember(self, task: Task, trainer: Trainer) -> None:  # forgets
        del self.memory


class Waking(Replay):
    def learn(self, task: Task, trainer: Trainer) -> None:  # wakes
        super().learn(task, trainer)
        self.net.head.requires_grad_(True)


class Working(Replay):
    def learn(self, task: Task, trainer: Trainer) -> None:  # works
        super().learn(task, trainer)
        self.net.branches[0].train()


class Eager(Fitting):
    def learn(self, task: Task, trainer: Trainer) -> None:
        self.net.requires_grad_(True)
        if task.known == 0:
            branch = self.net.add_branch()
            branch.requires_grad_(True)
        self.net.add_classes(task.size)
        data, recipe = task.train, self.config.initial
        loss = partial(self.cross_entropy)
        trainer.fit(Phase(name="learn", trains=[self.net], data=data, loss=loss, recipe=recipe))  # eager

    def cross_entropy(self, batch: Batch) -> Losses:
        return {"ce": F.cross_entropy(self.net.logits(batch.x), batch.y)}


@pytest.mark.parametrize(
    ("learner", "words", "mark"),
    [
        (Hoarder, "self.seen_so_far is in no checkpoint: declare it in `keeps`", "hoarded"),
        (Late, "self.means is in no checkpoint", "late"),
        (Stateful, "self.state is what the class variable `keeps` declares", "undeclared"),
        (Loose, "state.more is no field of `keeps`", "loose"),
        (Attached, "net.teacher is in no checkpoint: modules go into net.aside", "attached"),
        (Forgetting, "self.memory is gone", "forgets"),
        (Waking, "net.head.weight is not at rest outside of a fit", "wakes"),
        (Working, "net.branches.0 is not at rest outside of a fit", "works"),
        (Eager, "net.branches.0.stem.0.weight is not at rest outside of a fit", "eager"),
    ],
)
def test_a_learner_holds_what_it_declares(learner: type[Learner], words: str, mark: str) -> None:
    with pytest.raises(ContractError) as caught:
        run(build(learner))
    assert words in caught.value.message
    assert (caught.value.file, caught.value.line) == (__file__, line_of(mark))


class Curious(Replay):
    def learn(self, task: Task, trainer: Trainer) -> None:
        super().learn(task, trainer)
        source = task.train.source
        trainer.map(self.embed, Samples(source, torch.arange(len(source.y))))  # all


class Nostalgic(Replay):
    """Trains, in the second task, on images of the first that are no exemplars."""

    def learn(self, task: Task, trainer: Trainer) -> None:
        if task.known == 0:
            self.net.add_branch()
        self.net.add_classes(task.size)

        def loss(batch: Batch) -> Losses:
            return {"ce": F.cross_entropy(self.net.logits(batch.x), batch.y)}

        source = task.train.source
        samples = Samples(source, (source.y < task.seen).nonzero()[:, 0])
        recipe = self.config.initial
        trainer.fit(Phase(name="learn", trains=[self.net], data=samples, loss=loss, recipe=recipe))  # old ones


class Cheating(Replay):
    def readouts(self, task: Task, trainer: Trainer) -> Readouts:
        trainer.map(self.embed, task.test)  # test images
        return super().readouts(task, trainer)


class Handy(Replay):
    def remember(self, task: Task, trainer: Trainer) -> None:
        task.train.source.x  # by hand # noqa: B018


class Single(Replay):
    def remember(self, task: Task, trainer: Trainer) -> None:
        other = (task.train.source.y >= task.seen).nonzero()[:2, 0]
        task.train.source.batch(other, "test", 0)  # a batch


class Greedy(Replay):
    def remember(self, task: Task, trainer: Trainer) -> None:  # greedy
        self.memory.by_class[task.index] = task.train.rows[:19]


class Foreseeing(Replay):
    def remember(self, task: Task, trainer: Trainer) -> None:  # foresees
        self.memory.by_class[5] = (task.train.source.y == 5).nonzero()[:3, 0]


@pytest.mark.parametrize(
    ("learner", "words", "mark"),
    [
        (Curious, r"it reads \d+ images that it was not handed: neither of this task nor exemplars", "all"),
        (Nostalgic, r"it reads \d+ images that it was not handed", "old ones"),
        (Cheating, r"it reads \d+ images of the test split, which is the engine's", "test images"),
        (Handy, r"it reads images by hand \(source.x\)", "noqa: B018"),
        (Single, r"it reads 2 images that it was not handed", "a batch"),
        (Greedy, r"it keeps 19 exemplars of at most 18", "greedy"),
        (Foreseeing, r"3 exemplars are no images that it was handed", "foresees"),
    ],
)
def test_a_learner_reads_what_it_was_handed(learner: type[Learner], words: str, mark: str) -> None:
    with pytest.raises(ContractError, match=words) as caught:
        run(build(learner))
    assert (caught.value.file, caught.value.line) == (__file__, line_of(mark))


def test_the_images_of_this_task_and_exemplars_are_all_that_is_counted() -> None:
    train, test = data()
    spy = Spy(train)
    with pytest.raises(ContractError) as caught:
        run(build(Nostalgic), splits=(spy, test))
    held = 18  # of two classes with many more images each
    first = int((train.y < 2).sum())
    assert f"it reads {first - held} images" in caught.value.message


class Diverging(Replay):
    """Its loss is not a number from the fifth step on."""

    def learn(self, task: Task, trainer: Trainer) -> None:
        if task.known == 0:
            self.net.add_branch()
        self.net.add_classes(task.size)
        taken: list[Tensor] = []

        def loss(batch: Batch) -> Losses:  # diverges
            taken.append(self.net.head.weight.detach().clone())
            wrong = math.nan if len(taken) == 5 else math.inf if len(taken) > 5 else 1.0
            return {"fine": self.net.logits(batch.x).mean(), "wrong": self.net.head.bias.sum() * 0 + wrong}

        recipe = Recipe(2, lr=0.01, batch_size=32)
        try:
            trainer.fit(Phase(name="learn", trains=[self.net], data=task.train, loss=loss, recipe=recipe))
        finally:
            type(self).taken = len(taken)
            type(self).last = torch.equal(taken[4], self.net.head.weight.detach())

    taken = 0
    last = False


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_loss_that_is_not_finite_ends_at_its_step(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if device == "gpu":  # where looking at every step would wait for it
        monkeypatch.setattr(steps, "AT_ONCE", set())
    train, _ = data()
    each = math.ceil(int((train.y < 2).sum()) / 32)
    assert each < 5 < 2 * each
    with pytest.raises(NonFiniteLoss) as caught:
        run(build(Diverging))
    message = f"task 0, phase learn, epoch 1, step {4 - each}, learning rate 0.005: wrong is nan"
    assert str(caught.value) == f"{message} ({__file__}:{line_of('diverges')})"
    assert (caught.value.file, caught.value.line) == (__file__, line_of("diverges"))
    assert Diverging.taken == (5 if device == "cpu" else 2 * each)
    assert Diverging.last == (device == "cpu")  # nothing was learned from it


def test_sums_are_the_same_read_at_once_or_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = [record.phases[0]["losses"] for record in run(build(Replay))]
    monkeypatch.setattr(steps, "AT_ONCE", set())
    assert [record.phases[0]["losses"] for record in run(build(Replay))] == losses
