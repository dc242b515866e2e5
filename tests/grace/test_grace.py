"""What makes GRACE GRACE: growth, assessment, decision, merge and distillation, invariant by invariant."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from grace.learner import Learner
from grace.losses import auxiliary_targets, effective_rank, mixing_weight, soft_kl
from grace.memory import Memory
from grace.methods import grace as grace_module
from grace.methods.grace import GRACE, Config
from grace.nets.incremental import IncrementalNet
from grace.run import run_stream
from grace.streams.protocol import Budget
from grace.streams.samples import Batch, Task
from grace.streams.stream import tasks
from grace.training.phase import Phase, Recipe
from grace.training.steps import learning_rate
from grace.training.trainer import Trainer
from tests.grace.streams_for_tests import PROTOCOL, TINY_PARAMETERS, WIDTH, build, data, run, tiny, weights

CPU = torch.device("cpu")


def grace(epochs: int = 1, **fields: Any) -> GRACE:
    learner = build("grace", epochs=epochs, **fields)
    assert isinstance(learner, GRACE)
    return learner


def stream(learner: Learner) -> list[Task]:
    train, test = data()
    return list(tasks(PROTOCOL, train, test, cumulative=learner.cumulative))


def step(learner: Learner, task: Task, trainer: Trainer | None = None) -> Trainer:
    """One task as the engine runs it, without evaluation."""
    trainer = trainer or Trainer(task, seed=0, device=CPU)
    learner.learn(task, trainer)
    learner.remember(task, trainer)
    return trainer


class Watch(Trainer):
    """A trainer that shows each phase, with what the learner holds, before and after it is fitted."""

    def __init__(self, task: Task, before: Any = None, after: Any = None) -> None:
        super().__init__(task, seed=0, device=CPU)
        self.before, self.after = before or (lambda phase: None), after or (lambda phase: None)

    def fit(self, phase: Phase) -> None:
        self.before(phase)
        super().fit(phase)
        self.after(phase)


def state(module: torch.nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(module.state_dict())


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# 1, 2: growth


def test_growth_keeps_the_old_block_and_clones_the_newest_branch() -> None:
    learner = grace()
    first, second, _ = stream(learner)
    step(learner, first)
    x = torch.randn(5, 3, 8, 8)
    old_weight, old_bias = learner.net.head.weight.clone(), learner.net.head.bias.clone()
    old_logits = learner.net.logits(x)

    def look(phase: Phase) -> None:
        if phase.name != "expand":
            return
        net = learner.net
        assert torch.equal(net.head.weight[:2, :WIDTH], old_weight)
        assert torch.equal(net.head.bias[:2], old_bias)
        assert torch.equal(net.head.bias[2:], torch.zeros(2))
        bound = math.sqrt(3 / (2 * WIDTH))
        fresh = torch.cat([net.head.weight[:2, WIDTH:].flatten(), net.head.weight[2:].flatten()])
        assert fresh.abs().max() <= bound
        assert fresh.abs().max() > 0.7 * bound
        older, newest = net.branches
        assert same(older.state_dict(), newest.state_dict())
        pairs = zip(older.state_dict().values(), newest.state_dict().values(), strict=True)
        assert all(a.data_ptr() != b.data_ptr() for a, b in pairs)
        features = net(x).features
        assert torch.equal(features[:, :WIDTH], features[:, WIDTH:])
        assert not torch.allclose(net.logits(x)[:, :2], old_logits, atol=1e-4)
        silent = copy.deepcopy(net)
        with torch.no_grad():
            silent.head.weight[:2, WIDTH:] = 0
        assert torch.allclose(silent.logits(x)[:, :2], old_logits, atol=1e-4)

    step(learner, second, Watch(second, before=look))


# 3, 4, 5: what learns


def test_frozen_means_frozen_in_expansion_and_compression() -> None:
    learner = grace(epochs=1, threshold=0.0)
    first, second, third = stream(learner)
    step(learner, first)
    step(learner, second)
    learner.state.compress_next = True  # three branches in the third task, of which the last two merge
    before: dict[str, Any] = {}

    def keep(phase: Phase) -> None:
        before[phase.name] = [state(b) for b in learner.net.branches] + [state(learner.net.head)]

    def compare(phase: Phase) -> None:
        *frozen, newest, head = before[phase.name]
        net = learner.net  # the teacher, while the student is being distilled
        if phase.name == "expand":
            assert all(same(a, b.state_dict()) for a, b in zip(frozen, net.branches[:-1], strict=True))
            assert not same(newest, net.newest.state_dict())
            assert not torch.equal(newest["stem.1.running_mean"], net.newest.state_dict()["stem.1.running_mean"])
            assert not same(head, net.head.state_dict())
        else:
            assert all(same(a, b.state_dict()) for a, b in zip([*frozen, newest], net.branches, strict=True))
            assert same(head, net.head.state_dict())
        assert not any(m.training for m in net.modules())

    step(learner, third, Watch(third, keep, compare))
    assert set(before) == {"expand", "compress"}
    assert len(learner.net.branches) == 2
    assert same(before["compress"][0], learner.net.branches[0].state_dict())  # copied into the student, untouched


def test_the_head_is_fully_trainable_and_the_auxiliary_loss_stays_in_the_newest_branch() -> None:
    learner = grace()
    first, second, _ = stream(learner)
    step(learner, first)

    def look(phase: Phase) -> None:
        if phase.name != "expand":
            return
        net = learner.net
        newest, head, auxiliary = phase.trains
        assert newest is net.newest
        assert head is net.head
        assert isinstance(auxiliary, torch.nn.Module)
        assert auxiliary.weight.shape == (second.size + 1, WIDTH)
        samples = learner.replayed(second)
        batch = Batch(samples.source.batch(samples.rows, "test", 0), samples.y)
        for module in (net, auxiliary):
            module.requires_grad_(True)  # the old branch too, to see that nothing would reach it
        terms = phase.loss(batch)
        assert set(terms) == {"ce", "aux"}
        (grad,) = torch.autograd.grad(terms["ce"], [net.head.weight], retain_graph=True)
        assert (grad[:2].abs().sum(1) > 0).all()  # old rows
        assert (grad[:, :WIDTH].abs().sum(0) > 0).any()  # old columns
        reached = torch.autograd.grad(terms["aux"], list(net.parameters()), allow_unused=True, retain_graph=True)
        named = zip(net.named_parameters(), reached, strict=True)
        assert {n[:10] for (n, _), g in named if g is not None and g.any()} == {"branches.1"}
        features = net(batch.x).features[:, WIDTH:]
        expected = F.cross_entropy(auxiliary(features), auxiliary_targets(batch.y, second.known))
        assert torch.allclose(terms["aux"], expected)
        for module in (net, auxiliary):
            module.requires_grad_(False)

    step(learner, second, Watch(second, before=look))


@given(known=st.integers(1, 60), size=st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_auxiliary_targets(known: int, size: int) -> None:
    y = torch.arange(known + size)
    targets = auxiliary_targets(y, known)
    assert targets[:known].tolist() == [0] * known
    assert targets[known:].tolist() == list(range(1, size + 1))


# 6, 14: alignment


def test_alignment_is_applied_to_teacher_and_student_and_not_at_the_first_task() -> None:
    learner = grace(threshold=1.1, decay=1.0)
    first, second, _ = stream(learner)
    heads: dict[str, dict[str, Tensor]] = {}

    def before(phase: Phase) -> None:
        if phase.name == "compress":
            norms = learner.net.head.weight.norm(dim=1)
            assert torch.allclose(norms[:2].mean(), norms[2:].mean(), rtol=1e-5)  # the teacher is aligned

    def after(phase: Phase) -> None:
        trained = learner.net.head if phase.name == "initial" else phase.trains[1]
        assert isinstance(trained, torch.nn.Module)
        heads[phase.name] = state(trained)

    step(learner, first, Watch(first, before, after))
    assert torch.equal(learner.net.head.weight, heads["initial"]["weight"])
    step(learner, second, Watch(second, before, after))
    norms = learner.net.head.weight.norm(dim=1)
    assert torch.allclose(norms[:2].mean(), norms[2:].mean(), rtol=1e-5)
    assert torch.equal(learner.net.head.weight[:2], heads["compress"]["weight"][:2])
    assert not torch.equal(learner.net.head.weight[2:], heads["compress"]["weight"][2:])
    assert torch.equal(learner.net.head.bias, heads["compress"]["bias"])


# 7, 8, 9: the decision


@pytest.mark.parametrize(("threshold", "decay"), [(0.0, 1.0), (1.1, 1.0), (1.01, 0.01), (0.6, 0.96)])
def test_backbone_count_law(threshold: float, decay: float) -> None:
    records = run(grace(threshold=threshold, decay=decay))
    counts = [r.notes["backbones"] for r in records]
    assert counts[0] == 1
    for t, record in enumerate(records):
        notes = record.notes
        assert 1 <= counts[t] <= t + 1
        assert sum(notes["branch_classes"]) == record.seen
        assert len(notes["branch_classes"]) == counts[t]
        assert record.footprint.backbone_parameters == counts[t] * TINY_PARAMETERS
        if t:
            assert counts[t] - counts[t - 1] == (0 if notes["compressed"] else 1)
            assert notes["compressed"] == records[t - 1].notes["compress_next"]  # the delay
        streak = 0 if not notes["compressed"] else records[t - 1].notes["streak"] + 1
        assert notes["streak"] == streak
        assert notes["threshold"] == threshold * decay**streak
        assert notes["compress_next"] == (notes["saturation"] < notes["threshold"])
        assert (notes["mixing_weight"] is not None) == notes["compressed"]
        phases = [p["name"] for p in record.phases]
        assert phases == (["initial"] if t == 0 else ["expand", "compress"] if notes["compressed"] else ["expand"])
    if threshold == 0.0:
        assert counts == [1, 2, 3]
    if threshold > 1 and decay == 1.0:
        assert counts == [1, 1, 1]
    if decay == 0.01:
        assert [r.notes["compressed"] for r in records] == [False, True, False]


def test_never_compressing_is_der() -> None:
    ours, der = grace(epochs=2, threshold=0.0), build("der", epochs=2)
    mine, theirs = run(ours), run(der)
    assert all(torch.equal(a, b) for a, b in zip(weights(ours), weights(der), strict=True))
    assert all(torch.equal(a.predictions["nme"], b.predictions["nme"]) for a, b in zip(mine, theirs, strict=True))


def test_the_last_decision_changes_nothing() -> None:
    train, test = data()
    learners = [grace(), grace()]
    for learner, last_threshold in zip(learners, (0.0, 1.1), strict=True):
        for task in tasks(PROTOCOL, train, test):
            if task.seen == 6:
                learner.config = replace(learner.config, threshold=last_threshold)
            step(learner, task)
    assert [learner.state.compress_next for learner in learners] == [False, True]
    assert all(torch.equal(a, b) for a, b in zip(*(weights(x) for x in learners), strict=True))


def test_saturation_equal_to_the_threshold_expands(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = grace(threshold=0.5)
    monkeypatch.setattr(grace_module, "effective_rank", lambda features: 0.5)
    (first, *_) = stream(learner)
    step(learner, first)
    assert learner.state.compress_next is False
    assert learner.state.streak == 0


# 11: assessment


def test_assessment_reads_only_the_newest_branch_and_changes_nothing() -> None:
    learner = grace(threshold=0.0)
    first, second, third = stream(learner)
    step(learner, first)
    held = Memory(learner.memory.budget)
    held.by_class = dict(learner.memory.by_class)
    trainer = step(learner, second)
    value = trainer.notes["saturation"]
    learner.memory = held  # assessment sees the exemplars that were there during the task
    before = state(learner.net)
    with torch.no_grad():
        next(learner.net.branches[0].parameters()).add_(1.0)
    learner._assess(second, trainer)
    assert trainer.notes["saturation"] == value
    with torch.no_grad():
        next(learner.net.branches[0].parameters()).sub_(1.0)
        next(learner.net.branches[1].parameters()).add_(1.0)
    learner._assess(second, trainer)
    assert trainer.notes["saturation"] != value
    with torch.no_grad():
        learner.net.load_state_dict(before)
    learner._assess(second, trainer)
    assert trainer.notes["saturation"] == value
    assert same(before, learner.net.state_dict())
    assert not any(m.training for m in learner.net.modules())
    assert not any(m._forward_hooks for m in learner.net.modules())
    assert third.known == 4


def test_assessment_sees_the_training_view_by_default_and_the_plain_one_on_request() -> None:
    plain, augmented = grace(assess_view="test"), grace()
    (task, *_) = stream(plain)
    values = [step(learner, task).notes["saturation"] for learner in (plain, augmented)]
    assert values[0] != values[1]
    rows = plain.replayed(task).rows[: len(task.train)]
    features = plain.net.newest.features(task.train.source.batch(rows, "test", 0))
    assert values[0] == pytest.approx(effective_rank(features), rel=1e-6)


# 12: the merge


@given(a=st.floats(0.01, 0.99), b=st.floats(0.01, 0.99), p=st.floats(0.5, 50), rise=st.floats(0.0, 0.3))
@settings(max_examples=50, deadline=None)
def test_mixing_weight_is_a_power_mean(a: float, b: float, p: float, rise: float) -> None:
    weight = mixing_weight(a, b, p)
    assert weight == pytest.approx(mixing_weight(b, a, p))
    assert min(a, b) - 1e-9 <= weight <= max(a, b) + 1e-9
    assert mixing_weight(min(a + rise, 1.0), b, p) >= weight - 1e-9
    assert mixing_weight(a, b, 1.0) == pytest.approx((a + b) / 2)
    assert mixing_weight(a, b, 1000.0) == pytest.approx(max(a, b), rel=1e-2)


def test_mixing_weight_uses_absorbed_classes_and_stored_exemplars() -> None:
    learner = grace(threshold=1.1, decay=1.0)
    noted = []
    for task in stream(learner):
        noted.append(step(learner, task).notes["mixing_weight"])
    per_new = 40  # images per class of the toy stream
    # 18 exemplars: 9 per class of 2, then 4 per class of 4; branches of 2 + 2 classes, then 4 + 2
    expected = [mixing_weight(0.5, per_new / (per_new + 9), 5.0), mixing_weight(4 / 6, per_new / (per_new + 4), 5.0)]
    assert noted[0] is None
    assert noted[1:] == pytest.approx(expected)


def test_the_student_starts_from_mixed_parameters_and_fresh_statistics() -> None:
    learner = grace(threshold=1.1, decay=1.0)
    first, second, _ = stream(learner)
    step(learner, first)
    seen = []

    def look(phase: Phase) -> None:
        if phase.name != "compress":
            return
        merged, head, predictor = phase.trains
        assert isinstance(merged, torch.nn.Module)
        older, newer = learner.net.branches
        weight = mixing_weight(0.5, 40 / 49, 5.0)
        rows = zip(merged.parameters(), older.parameters(), newer.parameters(), strict=True)
        assert all(torch.allclose(m, weight * a + (1 - weight) * b, atol=1e-6) for m, a, b in rows)
        for name, value in merged.named_buffers():
            assert torch.equal(value, torch.ones_like(value) if name.endswith("var") else torch.zeros_like(value))
        assert isinstance(predictor, torch.nn.Module)
        assert predictor.weight.shape == (2 * WIDTH, WIDTH)
        assert isinstance(head, torch.nn.Module)
        assert head.weight.shape == (4, WIDTH)
        seen.append(phase.name)

    step(learner, second, Watch(second, before=look))
    assert seen == ["compress"]
    net = IncrementalNet(tiny, CPU)
    net.add_branch()
    net.add_branch(like=net.newest)
    net.add_classes(2)
    twin = net.merged(0.3).newest
    assert all(torch.allclose(a, b) for a, b in zip(twin.parameters(), net.newest.parameters(), strict=True))


# 13: the compression loss


def compression(learner: GRACE, check: Any) -> None:
    """Run two tasks, the second compressing, and show its compression phase before it is fitted."""
    first, second, _ = stream(learner)
    step(learner, first)
    learner.state.compress_next = True
    found = []

    def look(phase: Phase) -> None:
        if phase.name == "compress":
            samples = phase.data
            check(phase, Batch(samples.source.batch(samples.rows, "test", 0), samples.y), second)
            found.append(phase.name)

    step(learner, second, Watch(second, before=look))
    assert found == ["compress"]


def test_compression_loss_is_the_formula() -> None:
    learner = grace(logit_weight=0.4, feature_weight=1.6)

    def check(phase: Phase, batch: Batch, task: Task) -> None:
        merged, head, predictor = phase.trains
        teacher, share = learner.net, task.known / task.seen
        newest = merged.features(batch.x)  # type: ignore[union-attr]
        logits = head(newest)  # type: ignore[operator]
        older, newer = (b.features(batch.x) for b in teacher.branches)  # type: ignore[operator]
        p = F.softmax(teacher.logits(batch.x) / 2, 1)
        kl = (p * (p.log() - F.log_softmax(logits / 2, 1))).sum(1).mean()
        guess = (predictor(newest) - torch.cat([older, newer], 1)).square().mean()  # type: ignore[operator]
        terms = phase.loss(batch)
        assert torch.allclose(terms["ce"], (1 - share) * F.cross_entropy(logits, batch.y))
        assert torch.allclose(terms["logits"], share * 0.4 * 4 * kl, rtol=1e-4)
        assert torch.allclose(terms["features"], share * 1.6 * guess, rtol=1e-4)

    compression(learner, check)
    assert learner.net.head.weight.shape == (4, WIDTH)  # no predictor, no auxiliary head in what stays
    assert {n.split(".")[0] for n in learner.net.state_dict()} == {"branches", "head"}


def test_without_distillation_only_the_weighed_cross_entropy_is_left() -> None:
    def check(phase: Phase, batch: Batch, task: Task) -> None:
        merged, head, _ = phase.trains
        for module in (merged, head):
            module.requires_grad_(True)
        params = [*merged.parameters(), *head.parameters()]  # type: ignore[union-attr]
        ours = torch.autograd.grad(torch.stack(list(phase.loss(batch).values())).sum(), params)
        ce = F.cross_entropy(head(merged.features(batch.x)), batch.y)  # type: ignore[operator,union-attr]
        expected = torch.autograd.grad(ce, params)
        share = task.known / task.seen
        assert all(torch.allclose(a, (1 - share) * b, atol=1e-6) for a, b in zip(ours, expected, strict=True))
        for module in (merged, head):
            module.requires_grad_(False)

    compression(grace(logit_weight=0.0, feature_weight=0.0), check)


def test_logit_distillation_vanishes_on_equal_logits_and_ignores_constants() -> None:
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(6, 5, generator=generator), torch.randn(6, 5, generator=generator)
    assert soft_kl(a, a, 2.0).item() == pytest.approx(0.0, abs=1e-6)
    shift = torch.randn(6, 1, generator=generator)
    assert torch.allclose(soft_kl(a + shift, b - shift, 2.0), soft_kl(a, b, 2.0), atol=1e-5)
    assert soft_kl(a, b, 2.0) > 0


def test_evaluation_never_touches_predictor_or_auxiliary_head() -> None:
    records = run(grace(threshold=1.1, decay=1.0))
    assert [r.footprint.head_parameters for r in records] == [(WIDTH + 1) * k for k in (2, 4, 6)]


# 17: optimiser coverage and schedules


def test_what_each_phase_optimises() -> None:
    records = run(grace(threshold=1.1, decay=1.0))
    head, auxiliary = (2 * WIDTH + 1) * 4, 3 * (WIDTH + 1)
    predictor, student = 2 * WIDTH * (WIDTH + 1), (WIDTH + 1) * 4
    trained = {p["name"]: p["parameters"] for p in records[1].phases}
    assert trained == {
        "expand": TINY_PARAMETERS + head + auxiliary,
        "compress": TINY_PARAMETERS + student + predictor,
    }
    assert records[0].phases[0]["parameters"] == TINY_PARAMETERS + 2 * (WIDTH + 1)


def test_learning_rates_of_the_published_recipes() -> None:
    config = Config()
    expected = {0: 0.1, 79: 0.1, 80: 0.01, 119: 0.01, 120: 0.001, 149: 0.001, 150: 0.0001, 169: 0.0001}
    assert {e: learning_rate(config.expand, e) for e in expected} == pytest.approx(expected)
    assert learning_rate(config.compress, 65) == pytest.approx(0.05)
    assert learning_rate(config.compress, 0) == pytest.approx(0.1)
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    schedules = {
        "expand": torch.optim.lr_scheduler.MultiStepLR(sgd, list(config.expand.milestones), config.expand.gamma),
    }
    seen = []
    for _ in range(config.expand.epochs):
        seen.append(sgd.param_groups[0]["lr"])
        sgd.step()
        schedules["expand"].step()
    assert [learning_rate(config.expand, e) for e in range(170)] == pytest.approx(seen)
    assert (config.initial.epochs, config.expand.epochs, config.compress.epochs) == (200, 170, 130)
    assert (config.initial.weight_decay, config.expand.weight_decay, config.compress.weight_decay) == (5e-4, 2e-4, 2e-4)
    assert config.initial.milestones == (60, 120, 170)
    assert {r.batch_size for r in (config.initial, config.expand, config.compress)} == {128}
    assert {r.momentum for r in (config.initial, config.expand, config.compress)} == {0.9}


def test_recipes_scale_with_their_milestones() -> None:
    recipe = Recipe(170, milestones=(80, 120, 150))
    assert (recipe.scaled(0.1).epochs, recipe.scaled(0.1).milestones) == (17, (8, 12, 15))
    assert recipe.scaled(0.001).epochs == 1
    assert recipe.limited(17) == recipe.scaled(0.1)
    assert recipe.limited(500) is recipe


# 18: no aliasing


def test_a_student_shares_no_bookkeeping_with_its_teacher() -> None:
    net = IncrementalNet(tiny, CPU)
    net.add_branch()
    net.add_branch()
    net.add_classes(2)
    student = net.merged(0.5)
    student.increments.append(9)
    student.add_branch()
    assert net.increments == [2]
    assert len(net.branches) == 2
    learner = grace(threshold=1.1, decay=1.0)
    first, second, _ = stream(learner)
    notes = step(learner, first).notes
    step(learner, second)
    assert notes["branch_classes"] == [2]


# 20: resume is tested for every method in test_methods.py; here, that a decision survives


def test_the_checkpoint_carries_decision_and_streak() -> None:
    learner, again = grace(threshold=1.1, decay=1.0), grace(threshold=1.1, decay=1.0)
    first, second, _ = stream(learner)
    step(learner, first)
    step(learner, second)
    again.load_state_dict(copy.deepcopy(learner.state_dict()))
    assert again.state == learner.state
    assert again.state.compress_next is True
    assert again.state.streak == 1
    assert again.state.branch_classes == [4]


def test_without_exemplars_the_imbalance_is_all_new() -> None:
    learner = grace(threshold=1.1, decay=1.0, budget=Budget(0))
    train, test = data()
    records = run_stream(learner, PROTOCOL, train, test, seed=0)
    assert records[1].notes["mixing_weight"] == pytest.approx(mixing_weight(0.5, 1.0, 5.0))
    assert list(records[1].predictions) == ["linear"]
