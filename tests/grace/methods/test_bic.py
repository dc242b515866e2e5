"""What makes BiC itself: a balanced hold-out, and two numbers per task fitted on it."""

from __future__ import annotations

import copy
from math import exp, log
from typing import Any

import pytest
import torch
from torch import Tensor

from grace.conformance import CHECKS, Subject
from grace.learner import Learner
from grace.methods import method
from grace.methods.bic import Config
from grace.nets.incremental import IncrementalNet
from grace.streams.protocol import Budget
from grace.streams.samples import Batch, Task
from grace.streams.stream import tasks
from grace.training.phase import Phase, Recipe
from tests.grace.methods.learning_for_tests import learned
from tests.grace.streams_for_tests import PROTOCOL, build, data

AMPLE = Budget(120)  # 60 exemplars per class would be due of the toy's 40, then 30, then 20


def snapshots(learner: Learner, task: Task) -> dict[str, tuple[Phase, IncrementalNet, IncrementalNet]]:
    """Learn a task; return per phase what it was, and the net before it and after."""
    found: dict[str, Any] = {}

    def look(phase: Phase) -> None:
        found[phase.name] = (*found.get(phase.name, (phase,)), copy.deepcopy(learner.net))

    learned(learner, task, look)
    return found


def changed(before: IncrementalNet, after: IncrementalNet) -> set[str]:
    one, other = before.state_dict(), after.state_dict()
    return {name for name in one if not torch.equal(one[name], other[name])}


def softmax(rows: Tensor) -> list[list[float]]:
    return [[exp(v) / sum(map(exp, row)) for v in row] for row in rows.tolist()]


@pytest.mark.parametrize(("budget", "counts"), [(AMPLE, (6, 3)), (Budget(18), (1, 1)), (Budget(20, "class"), (2, 2))])
def test_the_hold_out_is_balanced_and_disjoint_from_what_is_learned(budget: Budget, counts: tuple[int, int]) -> None:
    learner = build("bic", epochs=1, budget=budget)
    first, *later = tasks(PROTOCOL, *data())
    assert list(snapshots(learner, first)) == ["initial"]
    for task, count in zip(later, counts, strict=True):
        old = learner.memory.samples(task.train.source).rows.tolist()
        phases = snapshots(learner, task)
        assert list(phases) == ["learn", "correct"]
        rest, held_out = (phases[name][0].data for name in ("learn", "correct"))
        assert torch.bincount(held_out.y).tolist() == [count] * task.seen
        assert not set(rest.rows.tolist()) & set(held_out.rows.tolist())
        assert sorted([*rest.rows.tolist(), *held_out.rows.tolist()]) == sorted([*task.train.rows.tolist(), *old])
        if count > 1:  # drawn, not the best or the worst of a class
            ranked = learner.memory.by_class[0].tolist()
            assert set(held_out.of_class(0).rows.tolist()) not in ({*ranked[:count]}, {*ranked[-count:]})


@pytest.mark.parametrize("budget", [Budget(0), Budget(1, "class")])
def test_without_exemplars_to_spare_nothing_is_corrected(budget: Budget) -> None:
    learner = build("bic", epochs=1, budget=budget)
    first, second, _ = tasks(PROTOCOL, *data())
    learned(learner, first)
    assert list(snapshots(learner, second)) == ["learn"]
    assert [pair.tolist() for pair in learner.net.head.corrections] == [[1, 0], [1, 0]]


def test_only_the_newest_pair_is_fitted_with_everything_else_at_rest() -> None:
    learner = build("bic", budget=AMPLE)
    first, second, third = tasks(PROTOCOL, *data())
    _, before, after = snapshots(learner, first)["initial"]
    assert "head.corrections.0" not in changed(before, after)
    assert {"head.linear.weight", "head.linear.bias"} < changed(before, after)
    for task in (second, third):
        kept = [pair.tolist() for pair in learner.net.head.corrections]
        phases = snapshots(learner, task)
        _, before, after = phases["learn"]
        assert not any(name.startswith("head.corrections") for name in changed(before, after))
        assert before.head.corrections[task.index].tolist() == [1, 0]
        assert len(changed(before, after)) == 2 + 3 * 6  # the linear layer; three convolutions with batch norms
        _, before, after = phases["correct"]
        assert changed(before, after) == {f"head.corrections.{task.index}"}
        assert [pair.tolist() for pair in learner.net.head.corrections][:-1] == kept


def test_drifting_statistics_let_batch_norms_follow_the_hold_out() -> None:
    learner = build("bic", budget=AMPLE, drifting_statistics=True)
    first, second, _ = tasks(PROTOCOL, *data())
    learned(learner, first)
    _, before, after = snapshots(learner, second)["correct"]
    found = changed(before, after)
    assert {name.rpartition(".")[2] for name in found - {"head.corrections.1"}} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }
    assert len(found) == 1 + 3 * 3


def test_both_losses_by_hand_with_corrections_in_teacher_and_student() -> None:
    learner = build("bic", budget=AMPLE)
    first, second, third = tasks(PROTOCOL, *data())
    learned(learner, first)
    learned(learner, second)
    pairs = [[1.5, -0.5], [0.25, 1.0]]
    with torch.no_grad():
        for pair, values in zip(learner.net.head.corrections, pairs, strict=True):
            pair.copy_(torch.tensor(values))
    teacher = copy.deepcopy(learner.net)
    held = learner.memory.samples(third.train.source)
    rows = torch.cat([third.train.rows[::7], held.rows[::5]])
    batch = Batch(third.train.source.batch(rows, "test", 0), third.train.source.y[rows])

    def scores(net: IncrementalNet, each: list[list[float]]) -> Tensor:
        plain = net.newest.features(batch.x) @ net.head.linear.weight.T + net.head.linear.bias
        return torch.cat([a * plain[:, 2 * t : 2 * t + 2] + b for t, (a, b) in enumerate(each)], dim=1)

    share, seen = 4 / 6, []  # lambda: four of six classes are old

    def look(phase: Phase) -> None:
        newest = learner.net.head.corrections[-1].tolist()
        own, old = scores(learner.net, [*pairs, newest]), scores(teacher, pairs)
        labels = [row[y] for row, y in zip(softmax(own), batch.y.tolist(), strict=True)]
        ce = -sum(map(log, labels)) / len(labels)
        terms = phase.loss(batch)
        if phase.name == "correct":
            assert {name: float(term) for name, term in terms.items()} == pytest.approx({"ce": ce}, rel=1e-4)
        else:
            soft, student = softmax(old / 2.0), softmax(own[:, :4] / 2.0)
            rows = [-sum(p * log(q) for p, q in zip(*pair, strict=True)) for pair in zip(soft, student, strict=True)]
            expected = {"ce": (1 - share) * ce, "distil": share * sum(rows) / len(rows)}
            assert {name: float(term) for name, term in terms.items()} == pytest.approx(expected, rel=1e-4)
        seen.append(phase.name)

    learned(learner, third, look)
    assert seen == ["learn", "learn", "correct", "correct"]


def test_double_softmax_takes_probabilities_for_logits() -> None:
    learner = build("bic", budget=AMPLE, double_softmax=True)
    first, second, _ = tasks(PROTOCOL, *data())
    learned(learner, first)
    phase, _, net = snapshots(learner, second)["correct"]
    rows = phase.data.rows
    batch = Batch(phase.data.source.batch(rows, "test", 0), phase.data.source.y[rows])
    twice = softmax(torch.tensor(softmax(net.logits(batch.x))))
    expected = -sum(log(row[y]) for row, y in zip(twice, batch.y.tolist(), strict=True)) / len(rows)
    assert float(phase.loss(batch)["ce"]) == pytest.approx(expected, rel=1e-5)


def test_the_correction_undoes_a_preference_for_new_classes() -> None:
    learner = build("bic", epochs=30, budget=AMPLE)
    first, second, _ = tasks(PROTOCOL, *data())
    learned(learner, first)
    x, y = second.test.source.batch(second.test.rows, "test", 0), second.test.source.y[second.test.rows]
    right: list[float] = []

    def prefer(phase: Phase) -> None:
        if phase.name == "correct" and not right:
            with torch.no_grad():
                learner.net.head.linear.bias[2:] += 4.0
        right.append(float((learner.net.logits(x).argmax(1) == y).double().mean()))

    learned(learner, second, lambda phase: prefer(phase) if phase.name == "correct" else None)
    before, after = right
    assert before < 0.6  # nearly all images are taken for new ones
    assert after > before + 0.15


@pytest.mark.parametrize("words", ["killed after a save", "two runs are one"])
def test_the_options_keep_the_engine_s_promises(words: str) -> None:
    (check,) = (check for name, check in CHECKS.items() if words in name)
    check(Subject(*method("bic"), {"double_softmax": True, "drifting_statistics": True}))


def test_the_numbers_are_the_published_code_s() -> None:
    recipe = Recipe(170, lr=0.1, weight_decay=2e-4, milestones=(60, 100, 140))
    assert Config() == Config(learn=recipe, correct=recipe, temperature=2.0, held_out=0.1)
    assert (Config().double_softmax, Config().drifting_statistics) == (False, False)
    for field, value in (("temperature", 0.0), ("held_out", 0.0), ("held_out", 1.0)):
        with pytest.raises(ValueError, match=f"{field} must"):
            Config(**{field: value})
