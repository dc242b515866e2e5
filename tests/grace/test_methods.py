"""Conformance of every registered method, and that each check finds the method that is at fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from grace.conformance import CHECKS, Subject, blame, examine
from grace.conformance.subject import difference
from grace.learner import Learner, Readouts
from grace.methods import METHODS, method
from grace.methods.replay import Config, Replay
from grace.streams.samples import Batch, Task
from grace.training.phase import Losses, Phase
from grace.training.trainer import Trainer
from tests.grace.streams_for_tests import build

# Every method as it comes, and where a method's path depends on what it measures, each path.
CASES: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in METHODS} | {
    "acil": ("acil", {"width": 64}),  # 8,192 random features take half a gigabyte
    "bic, as PyCIL": ("bic", {"double_softmax": True, "drifting_statistics": True}),
    "podnet, as PyCIL": ("podnet", {"margin": "all"}),
    "grace, always compressing": ("grace", {"threshold": 1.1, "decay": 1.0}),
    "grace, never compressing": ("grace", {"threshold": 0.0}),
    "grace, compressing in turns": ("grace", {"threshold": 1.01, "decay": 0.01}),
}


# A kill between two saves loses the same for every method: these moments are tried on those that keep and train most.
MOMENTS = ("killed in an epoch", "killed after a save", "killed before a save")
COSTLY = [f"resumes bit for bit: {moment}" for moment in MOMENTS]
THOROUGH = ("replay", "ewc", "bic, as PyCIL", "foster", "tagfex", "grace, compressing in turns")


@pytest.mark.parametrize(("case", "check"), [(c, k) for c in CASES for k in CHECKS if k not in COSTLY or c in THOROUGH])
def test_conforms(case: str, check: str) -> None:
    name, fields = CASES[case]
    CHECKS[check](Subject(*method(name), fields))


def test_what_is_tried_on_few_is_there_to_be_tried() -> None:
    assert set(COSTLY) < set(CHECKS)
    assert set(THOROUGH) <= set(CASES)


def test_the_readouts_that_tables_have_always_had() -> None:
    from tests.grace.streams_for_tests import run

    assert list(run(build("replay", epochs=1))[-1].predictions) == ["linear", "nme"]
    assert list(run(build("joint", epochs=1))[-1].predictions) == ["linear"]


def findings(learner: type[Learner]) -> dict[str, str]:
    """What the checks find wrong with a class, by check; every one names this file and a line in the class."""
    found = {}
    for call in examine(Subject(learner, Config)):
        finding = call()
        if not finding.passed:
            assert finding.file == __file__
            assert finding.line > 30
            found[finding.check] = finding.reason
    return found


class Sound(Replay):
    """Nothing wrong with it."""


class Forgetful(Replay):
    """Keeps no exemplars, though it says so."""

    def remember(self, task: Task, trainer: Trainer) -> None:
        self.memory.by_class = {label: rows for label, rows in self.memory.by_class.items() if label == 99}

    def readouts(self, task: Task, trainer: Trainer) -> Readouts:
        return lambda x: {"linear": torch.zeros_like(self.net.logits(x))}


class Drawing(Replay):
    """Draws from a generator of its own that no address seeds."""

    noise = torch.Generator().manual_seed(1)

    def learn(self, task: Task, trainer: Trainer) -> None:
        super().learn(task, trainer)
        with torch.no_grad():
            self.net.head.bias += torch.randn(task.seen, generator=self.noise)


class Deaf(Replay):
    """Takes no notice of the seed."""

    def learn(self, task: Task, trainer: Trainer) -> None:
        trainer._seed = 5
        torch.manual_seed(5)
        super().learn(task, trainer)


class Twofold(Replay):
    """Has two branches, and says it has one."""

    def learn(self, task: Task, trainer: Trainer) -> None:
        if task.known == 0:
            self.net.add_branch()
        super().learn(task, trainer)


class Sentimental(Replay):
    """Counts, between phases, how often it was called: a resumed run counts more."""

    calls = 0

    def learn(self, task: Task, trainer: Trainer) -> None:
        type(self).calls += 1
        super().learn(task, trainer)
        with torch.no_grad():
            self.net.head.bias += float(trainer.phases[-1]["seconds"])


class Talkative(Replay):
    """Notes what is no plain value."""

    def learn(self, task: Task, trainer: Trainer) -> None:
        super().learn(task, trainer)
        trainer.note(bias=self.net.head.bias.clone())


class Changing(Replay):
    """Offers another readout in every task."""

    def readouts(self, task: Task, trainer: Trainer) -> Readouts:
        return lambda x: {f"linear{task.index}": self.net.logits(x)}


class Even(Replay):
    """Counts on tasks of two classes."""

    def learn(self, task: Task, trainer: Trainer) -> None:
        if task.size != 2:
            raise ValueError(f"{task.size} classes")
        super().learn(task, trainer)


class Nameless(Replay):
    """Has no title."""

    title = ""


class Partial(Replay):
    """Learns from all but five of its images."""

    def learn(self, task: Task, trainer: Trainer) -> None:
        super().learn(replace(task, train=replace(task.train, rows=task.train.rows[5:])), trainer)

    def remember(self, task: Task, trainer: Trainer) -> None:
        super().remember(replace(task, train=replace(task.train, rows=task.train.rows[5:])), trainer)


class Unlisted(Replay):
    """Writes to the head's bias past torch's version counters while only the branch is listed."""

    def learn(self, task: Task, trainer: Trainer) -> None:
        if task.known == 0:
            self.net.add_branch()
        self.net.add_classes(task.size)

        def loss(batch: Batch) -> Losses:
            self.net.head.bias.data.add_(0.01)
            return {"ce": F.cross_entropy(self.net.logits(batch.x), batch.y)}

        trains: list[nn.Module] = [self.net.newest]
        recipe = self.config.initial
        trainer.fit(Phase(name="learn", trains=trains, data=self.replayed(task), loss=loss, recipe=recipe))


def test_a_sound_one_passes() -> None:
    assert findings(Sound) == {}


@pytest.mark.parametrize(
    ("learner", "check", "words"),
    [
        (Forgetful, "learns above chance", "it knows"),
        (Drawing, "two runs are one, another seed is another", "draw from trainer.generator"),
        (Deaf, "two runs are one, another seed is another", "another seed gives the very same run"),
        (Twofold, "its size is what it declares", "growth fixed and 1 branches"),
        (Sentimental, "resumes bit for bit: killed in an epoch", "killed in an epoch, it goes on to another result"),
        (Sentimental, "a damaged checkpoint costs time only", "it comes to another result"),
        (Talkative, "records tell everything", "plain values only"),
        (Changing, "records tell everything", "readouts change from task to task"),
        (Even, "learns tasks of unequal sizes", "ValueError: 3 classes"),
        (Nameless, "class variables are declared", "no title"),
        (Partial, "reads only what it was handed, stays within memory", "it never reads"),
        (Unlisted, "holds only what it declares, trains only what it lists", "changed net.head.bias"),
    ],
)
def test_each_check_finds_the_method_at_fault(learner: type[Learner], check: str, words: str) -> None:
    subject = Subject(learner, Config)
    with pytest.raises(Exception, match=r".*") as caught:
        CHECKS[check](subject)
    reason, file, line = blame(caught.value, subject)
    assert words in reason
    assert "\n" not in reason
    assert file == __file__
    assert line >= Subject(learner, Config).place[1]


def test_states_differ_where_they_differ() -> None:
    one: dict[str, Any] = {"a": [torch.ones(2), {"b": 1}], "c": None}
    changes: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
        (lambda s: s, ""),
        (lambda s: {**s, "c": 0}, "c"),
        (lambda s: {**s, "a": [torch.zeros(2), {"b": 1}]}, "a[0]"),
        (lambda s: {**s, "a": [torch.ones(2).double(), {"b": 1}]}, "a[0]"),
        (lambda s: {**s, "a": [torch.ones(2), {"b": True}]}, "a[1].b"),
        (lambda s: {**s, "a": [torch.ones(2)]}, "a"),
        (lambda s: {"a": s["a"]}, "it"),
    ]
    for change, where in changes:
        assert difference(one, change(one)) == where
