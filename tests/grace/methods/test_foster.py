"""What makes FOSTER itself: balanced boosting, balanced compression, and two nets told apart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from grace.losses import balanced_distil, balanced_weights
from grace.methods import foster as foster_module
from grace.methods.foster import FOSTER, Config
from grace.nets.incremental import IncrementalNet
from grace.streams.samples import Batch, Samples, Task
from grace.streams.stream import tasks
from grace.training.phase import Losses, Phase
from grace.training.trainer import Trainer
from tests.grace.streams_for_tests import PROTOCOL, TINY_PARAMETERS, WIDTH, build, data, run

CPU = torch.device("cpu")
NEW, OLD = 40, 9  # images per class of the toy, and its 18 exemplars' share with two classes known


def foster(**fields: Any) -> FOSTER:
    learner = build("foster", **fields)
    assert isinstance(learner, FOSTER)
    return learner


def nothing(phase: Phase) -> None:
    """Look at nothing."""


class Watch(Trainer):
    """A trainer that shows each phase before and after it is fitted."""

    def __init__(self, task: Task, before: Callable[[Phase], None], after: Callable[[Phase], None]) -> None:
        super().__init__(task, seed=0, device=CPU)
        self.before, self.after = before, after

    def fit(self, phase: Phase) -> None:
        self.before(phase)
        super().fit(phase)
        self.after(phase)


def learned(
    learner: FOSTER,
    task: Task,
    before: Callable[[Phase], None] = nothing,
    after: Callable[[Phase], None] = nothing,
) -> Trainer:
    """One task as the engine runs it, without evaluation."""
    trainer = Watch(task, before, after)
    learner.learn(task, trainer)
    learner.remember(task, trainer)
    return trainer


def two(learner: FOSTER) -> tuple[Task, Task]:
    """The first two tasks, the first of them learned."""
    first, second, _ = tasks(PROTOCOL, *data())
    learned(learner, first)
    return first, second


def batch_of(samples: Samples) -> Batch:
    rows = samples.rows[::5]
    return Batch(samples.source.batch(rows, "test", 0), samples.source.y[rows])


def state(module: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(module.state_dict())


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def effective(beta: float, counts: list[int]) -> Tensor:
    """1 / (1 + beta + beta^2 + ...) with as many terms as images: the effective number, term by term."""
    weights = [1 / sum(beta**k for k in range(n)) for n in counts]
    return torch.tensor([len(counts) * w / sum(weights) for w in weights])


# --- balance


def test_balanced_weights_by_hand() -> None:
    # effective numbers 1 and 1.5, so weights 1 and 2/3, times 2 / (5/3)
    assert balanced_weights(torch.tensor([1, 2]), 0.5).tolist() == pytest.approx([1.2, 0.8])
    # 1, 1.5 and 1.75: weights 1, 2/3 and 4/7, sum 47/21, times 3 / (47/21)
    assert balanced_weights(torch.tensor([3, 1, 2]), 0.5).tolist() == pytest.approx([36 / 47, 63 / 47, 42 / 47])
    assert balanced_weights(torch.tensor([4, 400, 1]), 0.0).tolist() == [1.0, 1.0, 1.0]
    assert balanced_weights(torch.tensor([0, 2]), 0.5).tolist() == pytest.approx([1.2, 0.8])  # none counts as one
    found = balanced_weights(torch.tensor([20] * 10 + [500] * 10), 0.96)
    torch.testing.assert_close(found, effective(0.96, [20] * 10 + [500] * 10))
    assert found.sum().item() == pytest.approx(20)
    assert found.dtype == torch.float32
    for bad in (1.0, -0.1):
        with pytest.raises(ValueError, match="beta must lie in"):
            balanced_weights(torch.tensor([1]), bad)


def test_balanced_distillation_by_hand() -> None:
    # T = 1, teacher (1/4, 3/4), weights (3, 1): (3/4, 3/4) before and (1/2, 1/2) after rescaling
    teacher, student = torch.tensor([[1.0, 3.0]]).log(), torch.tensor([[1.0, 4.0]]).log()
    found = balanced_distil(student, teacher, torch.tensor([3.0, 1.0]), 1.0)
    assert found.item() == pytest.approx(-0.5 * torch.tensor([0.2, 0.8]).log().sum().item())
    again = balanced_distil(2 * student.repeat(3, 1), 2 * teacher.repeat(3, 1), torch.tensor([3.0, 1.0]), 2.0)
    assert again.item() == pytest.approx(found.item())


def test_weights_are_of_actual_counts_and_beta1_follows_the_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[list[int], float]] = []

    def spy(counts: Tensor, beta: float) -> Tensor:
        asked.append((counts.tolist(), beta))
        return balanced_weights(counts, beta)

    monkeypatch.setattr(foster_module, "balanced_weights", spy)
    run(foster(epochs=1, beta1=(0.9, 0.5), beta2=0.7))
    second, third = [OLD] * 2 + [NEW] * 2, [4] * 4 + [NEW] * 2
    assert asked == [(second, 0.9), (second, 0.7), (third, 0.5), (third, 0.7)]
    asked.clear()
    run(foster(epochs=1, beta1=(0.9,)))
    assert [beta for _, beta in asked] == [0.9, 0.97, 0.9, 0.97]  # the last one repeats


# --- boosting


def test_the_boosting_loss_by_hand() -> None:
    learner = foster(lambda_okd=3.0, beta1=(0.8,))
    _, second = two(learner)
    old = copy.deepcopy(learner.net)
    seen = []

    def look(phase: Phase) -> None:
        if phase.name != "boost":
            return
        batch = batch_of(phase.data)
        assert set(batch.y.tolist()) == {0, 1, 2, 3}
        branch, head, extra = phase.trains
        assert isinstance(branch, nn.Module)
        assert isinstance(head, nn.Module)
        assert isinstance(extra, nn.Module)
        assert [sum(p.numel() for p in each.parameters()) for each in (branch, head, extra)] == [
            TINY_PARAMETERS, (2 * WIDTH + 1) * 4, (WIDTH + 1) * 4,
        ]  # fmt: skip
        with torch.no_grad():
            mine, theirs = old(batch.x).features, branch(batch.x)[-1].mean(dim=(2, 3))
            z = torch.cat([mine, theirs], 1) @ head.state_dict()["weight"].T + head.state_dict()["bias"]
            z_extra = theirs @ extra.state_dict()["weight"].T + extra.state_dict()["bias"]
            z_old = old.logits(batch.x)
        w = effective(0.8, [OLD, OLD, NEW, NEW])
        assert w[0] > 1 > w[3]
        own = torch.arange(len(batch.y)), batch.y
        p = (z_old / 2).exp() / (z_old / 2).exp().sum(1, keepdim=True)
        q = (z[:, :2] / 2).exp() / (z[:, :2] / 2).exp().sum(1, keepdim=True)
        terms = {name: float(value) for name, value in phase.loss(batch).items()}
        assert terms == pytest.approx(
            {
                "ce": float(-((z / w).exp() / (z / w).exp().sum(1, keepdim=True))[own].log().mean()),
                "boost": float(-(z_extra.exp() / z_extra.exp().sum(1, keepdim=True))[own].log().mean()),
                "kd": float(-3 * (p * q.log()).sum(1).mean()),
            },
            rel=1e-4,
        )
        assert phase.recipe is learner.config.boost
        assert len(phase.data) == 2 * NEW + 2 * OLD
        seen.append(terms["ce"])

    learned(learner, second, look, look)
    assert seen[1] < seen[0]


def test_the_second_branch_starts_as_the_first_which_stays_with_the_old_head() -> None:
    learner = foster()
    _, second = two(learner)
    before = state(learner.net)

    def look(phase: Phase) -> None:
        if phase.name == "boost":
            branch, head, _ = phase.trains
            assert isinstance(branch, nn.Module)
            assert isinstance(head, nn.Module)
            assert same(state(branch), {name[11:]: v for name, v in before.items() if name.startswith("branches.0.")})
            assert torch.equal(state(head)["weight"][:2, :WIDTH], before["head.weight"])
            assert torch.equal(state(head)["bias"][:2], before["head.bias"])

    def still(phase: Phase) -> None:
        if phase.name == "boost":
            assert same(state(learner.net), before)

    trainer = learned(learner, second, look, still)
    teacher = trainer.offered["teacher"]
    first = {name: v for name, v in state(teacher).items() if name.startswith("branches.0.")}
    assert same(first, {name: v for name, v in before.items() if name.startswith("branches.0.")})


@pytest.mark.parametrize("option", ["az", "ft"])
def test_with_az_new_classes_never_see_old_features(option: str) -> None:
    learner, zero = foster(epochs=3, new_on_old=option), []
    _, second = two(learner)

    def look(phase: Phase) -> None:
        if phase.name == "boost":
            assert isinstance(phase.trains[1], nn.Module)
            weight = state(phase.trains[1])["weight"]
            zero.append(not weight[2:, :WIDTH].any())
            assert weight[2:, WIDTH:].all()
            assert weight[:2].all()

    trainer = learned(learner, second, look, look)
    assert zero == [option == "az"] * 2
    assert [p["epochs"] for p in trainer.phases] == [3, 3]


# --- compression


def test_the_compression_loss_by_hand_and_the_student_it_starts_from() -> None:
    learner = foster(beta2=0.8)
    _, second = two(learner)
    before = state(learner.net)
    teachers: list[IncrementalNet] = []

    def boosted(phase: Phase) -> None:
        if phase.name == "boost":  # the teacher put together from what was before and what was trained
            teacher = IncrementalNet(learner.net.backbone, CPU)
            teacher.add_branch(like=learner.net.newest)
            assert isinstance(phase.trains[0], nn.Module)
            assert isinstance(phase.trains[1], nn.Module)
            teacher.add_branch(like=phase.trains[0])
            teacher.add_classes(4)
            teacher.head.load_state_dict(phase.trains[1].state_dict())
            teachers.append(teacher)

    def look(phase: Phase) -> None:
        if phase.name != "compress":
            return
        net = learner.net
        assert phase.trains == [net]
        assert len(net.branches) == 1
        now = state(net)
        assert torch.equal(now["head.weight"][:2], before["head.weight"])
        assert torch.equal(now["head.bias"], torch.cat([before["head.bias"], torch.zeros(2)]))
        assert 0 < now["head.weight"][2:].abs().max() <= (3 / WIDTH) ** 0.5
        rest = {name: v for name, v in now.items() if not name.startswith("head.")}
        assert same(rest, {name: v for name, v in before.items() if not name.startswith("head.")})
        batch = batch_of(phase.data)
        with torch.no_grad():
            target, logits = teachers[0].logits(batch.x) / 2, net.logits(batch.x) / 2
        p = target.exp() / target.exp().sum(1, keepdim=True) * effective(0.8, [OLD, OLD, NEW, NEW])
        p = p / p.sum(1, keepdim=True)
        q = logits.exp() / logits.exp().sum(1, keepdim=True)
        terms = phase.loss(batch)
        assert list(terms) == ["bkd"]
        assert float(terms["bkd"]) == pytest.approx(float(-(p * q.log()).sum(1).mean()), rel=1e-4)
        assert phase.recipe is learner.config.compress
        assert len(phase.data) == 2 * NEW + 2 * OLD

    learned(learner, second, look, boosted)
    assert len(teachers) == 1


def test_what_the_loss_does_not_reach_shrinks_in_boosting_and_not_in_compression() -> None:
    learner = foster()
    _, second = two(learner)

    class Silent(Trainer):
        def fit(self, phase: Phase) -> None:
            trained = [p for item in phase.trains if isinstance(item, nn.Module) for p in item.parameters()]
            before = [p.clone() for p in trained]

            def nothing_to_learn(batch: Batch) -> Losses:
                return {name: 0 * sum((p.sum() for p in trained), batch.x.sum()) for name in phase.loss(batch)}

            super().fit(replace(phase, loss=nothing_to_learn))
            moved[phase.name] = not all(torch.equal(a, b) for a, b in zip(before, trained, strict=True))

    moved: dict[str, bool] = {}
    learner.learn(second, Silent(second, seed=0, device=CPU))
    assert moved == {"boost": True, "compress": False}


# --- the two nets


def test_the_teacher_is_a_readout_with_its_size_and_the_student_is_kept() -> None:
    learner, tested = foster(), []

    train, test = data()
    second = list(tasks(PROTOCOL, train, test))[1].test
    records = run(learner)
    for task, record in enumerate(records):
        assert list(record.predictions) == ["linear", "nme", "teacher"]
        classes = 2 * (task + 1)
        assert record.footprint.backbone_parameters == TINY_PARAMETERS
        assert record.footprint.head_parameters == (WIDTH + 1) * classes
        branches = 2 if task else 1
        assert record.notes["offered"] == {"teacher": branches * TINY_PARAMETERS + (branches * WIDTH + 1) * classes}
    assert torch.equal(records[0].predictions["teacher"], records[0].predictions["linear"])
    # the second task once more, outside of the engine: the net put together from the phase, scored by hand
    again = foster()
    _, task = two(again)
    f1 = copy.deepcopy(again.net.newest)

    def look(phase: Phase) -> None:
        if phase.name == "boost":
            branch, head, _ = phase.trains
            assert isinstance(branch, nn.Module)
            assert isinstance(head, nn.Module)
            x = second.source.batch(second.rows, "test", 0)
            features = torch.cat([f1(x)[-1].mean(dim=(2, 3)), branch(x)[-1].mean(dim=(2, 3))], 1)
            tested.append(features @ head.state_dict()["weight"].T + head.state_dict()["bias"])

    trainer = learned(again, task, after=look)
    x = second.source.batch(second.rows, "test", 0)
    torch.testing.assert_close(trainer.offered["teacher"].logits(x), tested[0])
    assert tested[0].topk(4, dim=1).indices[:, 0].tolist() == records[1].predictions["teacher"][:, 0].tolist()
    assert records[1].predictions["teacher"][:, 0].tolist() != records[1].predictions["linear"][:, 0].tolist()


def herded_by_hand(features: Tensor, count: int) -> list[int]:
    """Pick after pick the row that brings the mean of those picked closest to the mean of all (iCaRL, alg. 4)."""
    phi = features.double() / features.double().norm(dim=1, keepdim=True)
    picked: list[int] = []
    while len(picked) < count:
        gaps = [
            (phi.mean(0) - (phi[picked].sum(0) + row) / (len(picked) + 1)).norm() if i not in picked else torch.inf
            for i, row in enumerate(phi)
        ]
        picked.append(min(range(len(phi)), key=gaps.__getitem__))
    return picked


def test_exemplars_are_herded_with_the_teachers_features_or_the_students() -> None:
    kept = {}
    for who in ("teacher", "student"):
        learner = foster(herd_with=who)
        _, second = two(learner)
        trainer = learned(learner, second)
        chosen = trainer.offered["teacher"] if who == "teacher" else learner.net
        for label in (2, 3):
            rows = second.train.rows[second.train.y == label]
            with torch.no_grad():
                features = chosen(second.train.source.batch(rows, "test", 0)).features
            assert features.shape[1] == (2 * WIDTH if who == "teacher" else WIDTH)
            assert learner.memory.by_class[label].tolist() == rows[herded_by_hand(features, 4)].tolist()
        kept[who] = [rows.tolist() for rows in learner.memory.by_class.values()]
        # class means are of the student's features in either case
        readouts = learner.readouts(second, trainer)
        x = second.test.source.batch(second.test.rows, "test", 0)
        means = []
        for rows in learner.memory.by_class.values():
            phi = learner.net(second.train.source.batch(rows, "test", 0)).features.double()
            mean = (phi / phi.norm(dim=1, keepdim=True)).mean(0)
            means.append(mean / mean.norm())
        phi = learner.net(x).features.double()
        distances = torch.stack([(phi / phi.norm(dim=1, keepdim=True) - mean).norm(dim=1) for mean in means], 1)
        assert readouts(x)["nme"].argmax(1).tolist() == distances.argmin(1).tolist()
        assert list(readouts(x)) == ["linear", "nme"]
    assert kept["teacher"] != kept["student"]


# --- settings


def test_schedules_are_cosine_and_compression_has_no_decay() -> None:
    config = Config()
    recipes = [config.initial, config.boost, config.compress]
    assert [(r.epochs, r.weight_decay, r.lr) for r in recipes] == [(200, 5e-4, 0.1), (170, 5e-4, 0.1), (130, 0.0, 0.1)]
    assert not any(r.milestones for r in recipes)
    assert (config.lambda_okd, config.temperature, config.beta1, config.beta2) == (1.0, 2.0, (0.96,), 0.97)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"beta1": ()}, "beta1"),
        ({"beta1": (0.9, 1.0)}, "beta1"),
        ({"beta2": -0.1}, "beta2"),
        ({"lambda_okd": -1.0}, "lambda_okd"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_values_outside_their_meaning_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(Config(), **fields)
