"""What makes TagFex itself: the net without labels, what a new branch has of it, and that it never classifies."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from math import exp, log
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grace.learner import Learner
from grace.losses import info_nce
from grace.methods.tagfex import Config, TagFex
from grace.nets import backbone_factory
from grace.nets.attention import MergeAttention, fitting_heads
from grace.nets.backbone import Backbone
from grace.run import run_stream
from grace.streams.samples import Batch, Samples, Task
from grace.streams.stream import tasks
from grace.training.phase import Phase, Recipe
from grace.training.trainer import Trainer
from tests.grace.streams_for_tests import PROTOCOL, TINY_PARAMETERS, WIDTH, build, data, run

Look = Callable[[Phase], None]
HIDDEN, PROJECTED = 8 * WIDTH, 2 * WIDTH


def learned(learner: Learner, task: Task, before: Look = lambda phase: None, after: Look = lambda phase: None) -> None:
    """Learn a task as the engine does; `before` and `after` see the phase around its fit."""

    class Watch(Trainer):
        def fit(self, phase: Phase) -> None:
            before(phase)
            super().fit(phase)
            after(phase)

    trainer = Watch(task, seed=0, device=torch.device("cpu"))
    learner.learn(task, trainer)
    learner.remember(task, trainer)


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pairs(samples: Samples, step: int = 7) -> Batch:
    """Two views of every `step`-th sample, side by side."""
    rows = samples.rows[::step]
    x = torch.cat([samples.source.batch(rows, "train", seed) for seed in (1, 2)])
    return Batch(x, samples.source.y[rows].repeat(2))


# --- contrast


def contrasted(queries: Tensor, keys: Tensor, temperature: float) -> float:
    """The loss in loops: for every row the other view against all rows but its own."""
    total, n = 0.0, len(queries)
    for i in range(n):
        cosines = {}
        for j in range(n):
            if j != i:
                dot, norms = float(queries[i] @ keys[j]), float(queries[i].norm() * keys[j].norm())
                cosines[j] = exp(dot / norms / temperature)
        positive = i + n // 2 if i < n // 2 else i - n // 2
        total -= log(cosines[positive] / sum(cosines.values()))
    return total / n


@pytest.mark.parametrize("other", [False, True], ids=["among themselves", "against former embeddings"])
def test_the_positive_is_the_other_view_and_the_own_pair_is_left_out(other: bool) -> None:
    queries = draw(6, 5)
    keys = draw(6, 5, seed=2) if other else queries
    assert float(info_nce(queries, keys, 0.2)) == pytest.approx(contrasted(queries, keys, 0.2), rel=1e-5)
    own_pair = float(F.cross_entropy(F.normalize(queries) @ F.normalize(keys).T / 0.2, torch.arange(6)))
    assert float(info_nce(queries, keys, 0.2)) != pytest.approx(own_pair, rel=1e-2)


def test_contrast_of_views_that_agree_is_small_and_of_one_image_nothing() -> None:
    one, two = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])
    agree = torch.stack([one, two, 2 * one, two])  # cosines 1 to the other view, 0 to the two of the other image
    assert float(info_nce(agree, agree, 0.5)) == pytest.approx(log(1 + 2 * exp(-2.0)), rel=1e-5)
    assert float(info_nce(draw(2, 3), draw(2, 3, seed=2), 0.2)) == 0.0  # nothing but the positive is left


# --- attention


def test_attention_is_that_of_torch_with_own_queries_and_both_maps_keys() -> None:
    torch.manual_seed(0)
    attention, own, other = MergeAttention(8, 2), draw(3, 8, 4, 4), draw(3, 8, 2, 5, seed=2)
    for norm in attention.norms:
        nn.init.normal_(norm.weight)
    merged = attention(own, other)
    assert merged.shape == (3, 8)

    def by_position(last: Tensor, which: int) -> Tensor:
        norm = cast(nn.LayerNorm, attention.norms[which])
        found = last.permute(0, 2, 3, 1).reshape(3, -1, 8)
        mean, spread = found.mean(2, keepdim=True), found.var(2, unbiased=False, keepdim=True)
        return (found - mean) / (spread + 1e-5).sqrt() * norm.weight + norm.bias

    sources = [by_position(own, 0), by_position(other, 1)]
    keys = torch.cat([layer(s) for layer, s in zip(attention.keys, sources, strict=True)], dim=1)
    values = torch.cat([layer(s) for layer, s in zip(attention.values, sources, strict=True)], dim=1)
    queries = attention.query(sources[0])
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        answer = F.scaled_dot_product_attention(queries[..., part], keys[..., part], values[..., part])
        assert answer.shape == (3, 16, 4)
        heads.append(answer.mean(dim=1))
    assert torch.allclose(merged, torch.cat(heads, dim=1), atol=1e-5)


def test_nothing_flows_back_into_the_other_map() -> None:
    attention = MergeAttention(8, 2)
    own, other = draw(2, 8, 2, 2).requires_grad_(), draw(2, 8, 2, 2, seed=2).requires_grad_()
    merged = attention(own, other).square().sum()
    assert torch.autograd.grad(merged, own, retain_graph=True)[0].abs().max() > 0
    assert torch.autograd.grad(merged, other, allow_unused=True) == (None,)
    assert not torch.allclose(attention(own, other), attention(own, -other))  # though it is heard


def test_heads_fit_the_width() -> None:
    found = {width: fitting_heads(width) for width in (8, 16, 32, 64, 100, 128, 512, 2048)}
    assert found == {8: 1, 16: 1, 32: 2, 64: 4, 100: 4, 128: 8, 512: 8, 2048: 8}
    with pytest.raises(ValueError, match="8 channels do not divide into 3 heads"):
        MergeAttention(8, 3)


# --- growth


@pytest.mark.parametrize("zeroed", [True, False])
def test_a_new_branch_has_its_weights_from_both_nets_and_nothing_of_their_statistics(zeroed: bool) -> None:
    learner = build("tagfex", zero_new_columns=zeroed)
    first, second, _ = tasks(PROTOCOL, *data())
    learned(learner, first)
    newest, agnostic = (copy.deepcopy(m) for m in (learner.net.newest, learner.net.aside["agnostic"]))
    assert not any(torch.equal(a, b) for a, b in zip(newest.parameters(), agnostic.parameters(), strict=True))
    held = newest.get_buffer("stem.1.running_mean").clone()
    head = copy.deepcopy(learner.net.head.state_dict())

    def look(phase: Phase) -> None:
        net = learner.net
        for own, old, shared in zip(*(m.parameters() for m in (net.newest, newest, agnostic)), strict=True):
            assert torch.allclose(own, 0.95 * old + 0.05 * shared, atol=1e-7)
        assert not net.newest.get_buffer("stem.1.running_mean").any()
        assert torch.equal(net.newest.get_buffer("stem.1.running_var"), torch.ones(WIDTH))
        assert torch.equal(net.branches[0].get_buffer("stem.1.running_mean"), held)
        weight = net.head.get_parameter("weight")
        assert torch.equal(weight[:2, :WIDTH], head["weight"])
        assert bool(weight[:2, WIDTH:].any()) is not zeroed
        assert weight[2:].ne(0).all()

    learned(learner, second, before=look)


def test_the_head_is_aligned_after_every_task_but_the_first() -> None:
    learner = build("tagfex")
    for task in tasks(PROTOCOL, *data()):
        seen: list[Tensor] = []
        learned(learner, task, after=lambda phase, seen=seen: seen.append(  # type: ignore[misc]
            learner.net.head.get_parameter("weight").clone()))  # fmt: skip
        (trained,), weight = seen, learner.net.head.get_parameter("weight")
        norms = weight.norm(dim=1)
        if task.known:
            assert norms[task.known :].mean() == pytest.approx(float(norms[: task.known].mean()), rel=1e-5)
        assert torch.equal(weight[: task.known], trained[: task.known])
        assert torch.equal(weight, trained) is (task.known == 0)


# --- losses


def nets(learner: Learner) -> tuple[Backbone, nn.Module, nn.Module]:
    aside = learner.net.aside
    return cast(Backbone, aside["agnostic"]), aside["projector"], aside["predictor"]


def chosen_kl(teacher: Tensor, student: Tensor, new: Tensor) -> float:
    """KL(softmax(teacher / 2) || softmax(student / 2)) over the new classes' images, in loops."""
    total = 0.0
    for i in new.nonzero()[:, 0].tolist():
        p, q = ((z[i] / 2).exp() / (z[i] / 2).exp().sum() for z in (teacher, student))
        total += sum(float(a) * log(float(a) / float(b)) for a, b in zip(p, q, strict=True))
    return total / int(new.sum())


def ce(logits: Tensor, y: Tensor) -> float:
    return sum(float(z.exp().sum().log() - z[k]) for z, k in zip(logits, y.tolist(), strict=True)) / len(y)


def test_every_term_of_the_loss() -> None:
    learner = build("tagfex")
    first, second, third = tasks(PROTOCOL, *data())
    seen = []

    def at_first(phase: Phase) -> None:
        agnostic, projector, _ = nets(learner)
        batch = pairs(first.train)
        z, terms = projector(agnostic.features(batch.x)), phase.loss(batch)
        assert set(terms) == {"ce", "contrast"}
        assert float(terms["ce"]) == pytest.approx(ce(learner.net.logits(batch.x), batch.y), rel=1e-5)
        assert float(terms["contrast"]) == pytest.approx(contrasted(z, z, 0.2), rel=1e-5)
        assert phase.views == 2

    learned(learner, first, before=at_first)
    learned(learner, second)
    old_agnostic, old_projector, _ = copy.deepcopy(nets(learner))
    memory = learner.memory.samples(third.train.source)

    def look(phase: Phase) -> None:
        *_, auxiliary, attention, trans = cast(list[nn.Module], phase.trains)
        agnostic, projector, predictor = nets(learner)
        batch = pairs(third.train + memory)
        new = batch.y >= 4
        assert 0 < int(new.sum()) < len(new)
        out, terms = learner.net(batch.x), phase.loss(batch)
        z = projector(agnostic.features(batch.x))
        then, former = (
            old_projector(predictor(agnostic.features(batch.x))),
            old_projector(old_agnostic.features(batch.x)),
        )
        merged = trans(attention(out.maps[-1], agnostic(batch.x)[-1]))
        expected = {
            "ce": ce(out.logits, batch.y),
            "aux": 2 * ce(auxiliary(out.features[:, 2 * WIDTH :]), (batch.y - 3).clamp(min=0)),
            "contrast": (1 - 4 / 6) * contrasted(z, z, 0.2),
            "distil": 2 * 4 / 6 * contrasted(then, former, 0.2),
            "trans": ce(merged[new], batch.y[new] - 4),
        }
        gate = expected["trans"] < expected["ce"]
        expected["transfer"] = chosen_kl(merged, out.logits[:, 4:], new) if gate else 0.0
        assert set(terms) == set(expected)
        for name, value in expected.items():
            assert float(terms[name]) == pytest.approx(value, rel=1e-4, abs=1e-6), name
        seen.append(expected["distil"])

    learned(learner, third, before=look, after=look)
    assert abs(seen[0] - seen[1]) > 1e-3  # the net learns, and what it is compared with stays


def test_the_new_branch_is_taught_only_where_the_merged_features_know_more() -> None:
    learner = build("tagfex", epochs=1)
    first, second, _ = tasks(PROTOCOL, *data())
    learned(learner, first)

    def look(phase: Phase) -> None:
        attention, trans = cast(list[nn.Module], phase.trains)[-2:]
        batch = pairs(second.train)
        bias = {name: module.get_parameter("bias") for name, module in (("head", learner.net.head), ("trans", trans))}
        start = {name: value.clone() for name, value in bias.items()}
        for module in ("head", "trans", "both alike"):
            for name, value in bias.items():
                value.copy_(start[name])
            if module == "both alike":
                break
            bias[module][0] += 50.0  # everything is taken for one class, by the head or by the merged features
            terms = phase.loss(batch)
            out = learner.net(batch.x)
            merged = trans(attention(out.maps[-1], learner.net.aside["agnostic"](batch.x)[-1]))
            kl = chosen_kl(merged, out.logits[:, 2:], batch.y >= 2)
            assert kl > 1e-4
            assert bool(terms["trans"] < terms["ce"]) is (module == "head")
            assert float(terms["transfer"]) == pytest.approx(kl if module == "head" else 0.0, rel=1e-3)

    learned(learner, second, before=look)


def test_a_batch_without_new_classes_has_nothing_to_merge() -> None:
    learner = build("tagfex", epochs=1)
    first, second, _ = tasks(PROTOCOL, *data())
    learned(learner, first)

    def look(phase: Phase) -> None:
        terms = phase.loss(pairs(first.train))
        assert (float(terms["trans"]), float(terms["transfer"])) == (0.0, 0.0)
        assert all(bool(term.isfinite()) for term in terms.values())

    learned(learner, second, before=look)


def test_what_reaches_the_net_without_labels() -> None:
    learner = build("tagfex", epochs=1)
    first, second, _ = tasks(PROTOCOL, *data())
    learned(learner, first)

    def look(phase: Phase) -> None:
        agnostic, projector, predictor = nets(learner)
        for item in phase.trains:
            item.requires_grad_(True)
        learner.net.head.get_parameter("bias")[0].data.add_(50.0)  # so that merged features teach
        terms = phase.loss(pairs(second.train))
        of: dict[str, nn.Module] = {
            "agnostic": agnostic,
            "projector": projector,
            "predictor": predictor,
            "branch": learner.net.newest,
        }
        of |= dict(zip(("attention", "trans"), cast(list[nn.Module], phase.trains)[-2:], strict=True))
        reached = {
            term: {name for name, module in of.items() if any(
                g is not None and g.any()
                for g in torch.autograd.grad(value, list(module.parameters()), retain_graph=True, allow_unused=True))}
            for term, value in terms.items()
        }  # fmt: skip
        assert reached == {
            "ce": {"branch"},
            "aux": {"branch"},
            "contrast": {"agnostic", "projector"},
            "distil": {"agnostic", "predictor"},
            "trans": {"branch", "attention", "trans"},
            "transfer": {"branch"},  # merged features teach, and do not learn from it
        }
        for item in phase.trains:
            item.requires_grad_(False)

    learned(learner, second, before=look)


# --- what is kept, and what classifies


def test_the_net_without_labels_is_kept_counted_and_never_asked() -> None:
    learner = build("tagfex", epochs=1)
    records, rival = run(learner), run(build("der", epochs=1))
    projector = (WIDTH + 1) * HIDDEN + (HIDDEN + 1) * PROJECTED
    for record, other in zip(records, rival, strict=True):
        held = record.footprint
        assert held.auxiliary_parameters == TINY_PARAMETERS + projector + (WIDTH + 1) * WIDTH
        assert held.parameters == other.footprint.parameters  # as large as DER where it classifies
        assert held.model_bytes > other.footprint.model_bytes + 4 * held.auxiliary_parameters
    attention = 5 * (WIDTH + 1) * WIDTH + 4 * WIDTH
    head, auxiliary, trans = (3 * WIDTH + 1) * 6, 3 * (WIDTH + 1), 2 * (WIDTH + 1)
    trained = TINY_PARAMETERS + head + auxiliary + trans + attention + records[-1].footprint.auxiliary_parameters
    assert records[-1].phases[0]["parameters"] == trained
    assert records[0].phases[0]["parameters"] == 2 * TINY_PARAMETERS + projector + (WIDTH + 1) * 2
    x = draw(5, 3, 8, 8)
    scores = learner.net.logits(x)
    for parameter in learner.net.aside.parameters():
        parameter.zero_()
    assert torch.equal(learner.net.logits(x), scores)


@pytest.mark.parametrize(("width", "sizes"), [(512, (2048, 1024)), (64, (512, 128)), (8, (64, 16))])
def test_projectors_are_the_authors_and_of_a_rule_elsewhere(width: int, sizes: tuple[int, int]) -> None:
    def flat() -> Backbone:
        return Backbone(width, nn.Identity(), [nn.Conv2d(3, width, 1)])

    for config, expected in ((Config(), sizes), (Config(hidden=5, projected=3), (5, 3))):
        learner = TagFex(config, flat, PROTOCOL.budget)
        learner.net.add_branch()
        inner, _, outer = cast(nn.Sequential, learner.make_aside()["projector"])
        assert (inner.in_features, inner.out_features, outer.out_features) == (width, *expected)


@pytest.mark.parametrize("name", ["resnet8", "resnet32", "convnet2"])
def test_three_tasks_on_a_backbone_for_small_images(name: str) -> None:
    small = {f: replace(r.limited(1), batch_size=64) for f, r in vars(Config()).items() if isinstance(r, Recipe)}
    learner = TagFex(Config(**small), backbone_factory(name), PROTOCOL.budget)
    records = run_stream(learner, PROTOCOL, *data(), seed=0)
    assert [len(record.predictions["linear"]) > 0 for record in records] == [True] * 3
    assert len(learner.net.branches) == 3


def test_the_numbers_are_the_authors() -> None:
    assert Config() == Config(
        initial=Recipe(200, lr=0.1, weight_decay=5e-4, milestones=(60, 120, 170)),
        expand=Recipe(170, lr=0.1, weight_decay=2e-4, milestones=(80, 120, 150)),
        auxiliary=2.0,
        contrast=1.0,
        distil=2.0,
        trans=1.0,
        transfer=1.0,
        temperature=0.2,
        transfer_temperature=2.0,
        share=0.05,
        zero_new_columns=True,
    )
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"share": 1.5}, "share must lie in"),
        ({"heads": -1}, "heads must not be negative"),
    ]
    for fields, message in wrong:
        with pytest.raises(ValueError, match=message):
            Config(**fields)
