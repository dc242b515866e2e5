"""The training loop: what it optimises, records, addresses and refuses."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from grace.seeds import derive
from grace.streams.catalogue import Augmentation, DatasetSpec
from grace.streams.datasets import load
from grace.streams.encoded import decode
from grace.streams.images import EncodedImages, TensorImages
from grace.streams.samples import Batch, Dataset, Samples, Task, View
from grace.training import checkpoint
from grace.training.phase import Losses, Phase, Recipe
from grace.training.trainer import NonFiniteLoss, Progress, Trainer

CPU = torch.device("cpu")


class Points(Dataset):
    """Numbers instead of images: row i is the vector (i, 1); a train view adds what its seed and row say."""

    bytes_per_image = 1

    def __init__(self, n: int) -> None:
        self.y = torch.arange(n) % 2

    def batch(self, rows: Tensor, view: View, seed: int) -> Tensor:
        x = torch.stack([rows.float(), torch.ones(len(rows))], dim=1)
        return x + (torch.tensor([derive(seed, r) % 97 for r in rows.tolist()])[:, None] if view == "train" else 0)


def task(n: int = 10, index: int = 0) -> Task:
    samples = Samples(Points(n), torch.arange(n))
    return Task(index, 0, 2, samples, samples)


def fit_once(trainer: Trainer, recipe: Recipe, log: list[Batch]) -> nn.Linear:
    torch.manual_seed(5)
    net = nn.Linear(2, 2)
    net.requires_grad_(False)

    def loss(batch: Batch) -> Losses:
        log.append(batch)
        return {"ce": F.cross_entropy(net(batch.x / 100), batch.y), "twice": 2 * net.weight.square().sum()}

    trainer.fit(Phase(name="learn", trains=[net], data=trainer.task.train, loss=loss, recipe=recipe))
    return net


def test_every_image_once_per_epoch_in_an_order_and_view_of_its_own() -> None:
    log: list[Batch] = []
    trainer = Trainer(task(), seed=1, device=CPU)
    fit_once(trainer, Recipe(2, batch_size=4), log)
    assert [len(b.y) for b in log] == [4, 4, 2, 4, 4, 2]  # the last partial batch is kept
    epochs = [torch.cat([b.x for b in log[i : i + 3]]) for i in (0, 3)]
    assert not torch.equal(epochs[0].sort(0).values, epochs[1].sort(0).values)  # other views
    again: list[Batch] = []
    fit_once(Trainer(task(), seed=1, device=CPU), Recipe(2, batch_size=4), again)
    assert all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in zip(log, again, strict=True))
    other: list[Batch] = []
    fit_once(Trainer(task(index=1), seed=1, device=CPU), Recipe(2, batch_size=4), other)
    assert not torch.equal(log[0].x, other[0].x)


def test_a_last_image_alone_joins_the_batch_before() -> None:
    log: list[Batch] = []
    fit_once(Trainer(task(9), seed=1, device=CPU), Recipe(1, batch_size=4), log)
    assert [len(b.y) for b in log] == [4, 5]
    fit_once(Trainer(task(1), seed=1, device=CPU), Recipe(1, batch_size=4), log)
    assert len(log[-1].y) == 1


def test_the_record_holds_the_mean_of_each_term_per_image() -> None:
    log: list[Batch] = []
    told: list[Progress] = []
    trainer = Trainer(task(), seed=0, device=CPU, tasks=3, observe=lambda p: bool(told.append(p)))
    recipe = Recipe(1, lr=1e-12, momentum=0.0, weight_decay=0.0, batch_size=4)
    net = fit_once(trainer, recipe, log)
    ce = sum(float(F.cross_entropy(net(b.x / 100), b.y)) * len(b.y) for b in log) / 10
    (phase,) = trainer.phases
    assert phase["losses"]["ce"] == [pytest.approx(ce, rel=1e-5)]
    assert phase["losses"]["twice"] == [pytest.approx(2 * float(net.weight.square().sum()), rel=1e-5)]
    assert (phase["name"], phase["epochs"], phase["images"], phase["parameters"]) == ("learn", 1, 10, 6)
    assert [(p.task, p.tasks, p.phase, p.epoch, p.epochs) for p in told] == [(0, 3, "learn", 0, 1)]
    assert told[0].losses["ce"] == phase["losses"]["ce"][0]


def test_one_step_is_sgd_with_weight_decay() -> None:
    points = task(4)
    net = nn.Linear(2, 1, bias=False)
    net.requires_grad_(False)
    start = net.weight.clone()
    recipe = Recipe(1, lr=0.5, weight_decay=0.1, batch_size=4)

    def loss(batch: Batch) -> Losses:
        return {"sum": net.weight.sum()}

    Trainer(points, seed=0, device=CPU).fit(
        Phase(name="learn", trains=[net], data=points.train, loss=loss, recipe=recipe)
    )
    assert torch.allclose(net.weight, start - 0.5 * (1 + 0.1 * start))


def test_gradients_may_be_edited_and_lone_parameters_trained() -> None:
    points, number, other = task(), nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    for p in (number, other):
        p.requires_grad_(False)

    def keep_first() -> None:
        assert number.grad is not None
        number.grad[1] = 0

    phase = Phase(
        name="learn",
        trains=[number],
        data=points.train,
        loss=lambda batch: {"a": (number - 1).square().sum() + other.sum()},
        recipe=Recipe(3, weight_decay=0.0),
        after_backward=keep_first,
    )
    Trainer(points, seed=0, device=CPU).fit(phase)
    assert number[0] > 0
    assert number[1] == 0
    assert other == 0
    assert not number.requires_grad


def test_two_phases_of_one_name_are_refused() -> None:
    trainer = Trainer(task(), seed=0, device=CPU)
    fit_once(trainer, Recipe(1), [])
    with pytest.raises(ValueError, match="learn"):
        fit_once(trainer, Recipe(1), [])


def test_a_loss_that_is_not_finite_names_its_place() -> None:
    points, number = task(index=3), nn.Parameter(torch.zeros(1))

    def loss(batch: Batch) -> Losses:
        return {"good": number.sum(), "bad": number.sum() * math.nan}

    phase = Phase(name="learn", trains=[number], data=points.train, loss=loss, recipe=Recipe(1))
    with pytest.raises(NonFiniteLoss) as caught:
        Trainer(points, seed=0, device=CPU).fit(phase)
    place = f"{__file__}:{loss.__code__.co_firstlineno}"
    assert str(caught.value) == f"task 3, phase learn, epoch 0, step 0, learning rate 0.1: bad is nan ({place})"


def test_map_is_in_order_and_its_train_view_is_addressed() -> None:
    points = task(700)  # more than one evaluation batch
    trainer = Trainer(points, seed=0, device=CPU)
    plain = trainer.map(lambda x: x, points.train)
    assert plain[:, 0].tolist() == list(range(700))
    one, same, two = (trainer.map(lambda x: x, points.train, "train", p) for p in ("a", "a", "b"))
    assert torch.equal(one, same)
    assert not torch.equal(one, two)
    assert not plain.requires_grad


def test_generators_are_addressed() -> None:
    def draw(seed: int, index: int, purpose: str) -> list[int]:
        trainer = Trainer(task(index=index), seed=seed, device=CPU)
        return torch.randperm(50, generator=trainer.generator(purpose)).tolist()

    assert draw(0, 0, "a") == draw(0, 0, "a")
    assert len({tuple(draw(*address)) for address in [(0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "b")]}) == 4


def test_addresses_do_not_collide() -> None:
    places = [(1, 11), (11, 1), ("1", 1, 1), (1, "a b"), (1, "a", "b"), ()]
    assert len({derive(0, *p) for p in places}) == len(places)
    assert all(0 <= derive(s, "x") < 2**63 for s in range(100))


def test_checkpoints_are_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.pt"
    assert checkpoint.load(path) is None
    checkpoint.save(path, {"a": torch.arange(3), "b": [1, None, "x"], "c": {"d": 0.5}})
    saved = checkpoint.load(path)
    assert saved is not None
    assert saved["a"].tolist() == [0, 1, 2]
    assert saved["b"] == [1, None, "x"]
    assert [p.name for p in path.parent.iterdir()] == ["state.pt"]
    path.write_bytes(b"not a checkpoint")
    assert checkpoint.load(path) is None
    assert not path.exists()


def test_checkpoints_in_a_thread_hold_what_was_there_when_they_were_asked_for(tmp_path: Path) -> None:
    writer, values, log = checkpoint.Writer(), torch.zeros(1000), {"losses": {"ce": [1.0]}}
    for number in range(5):
        values.fill_(number)
        writer.save(tmp_path / f"{number}.pt", {"values": [values], "log": log})
        log["losses"]["ce"].append(2.0)
    values.fill_(-1)
    writer.close()
    for number in range(5):
        saved = checkpoint.load(tmp_path / f"{number}.pt")
        assert saved is not None
        assert saved["values"][0].eq(number).all()
        assert len(saved["log"]["losses"]["ce"]) == number + 1


def test_what_goes_wrong_in_the_thread_is_raised_at_the_next_save_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, state: dict[str, object]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save", full)
    writer = checkpoint.Writer()
    writer.save(tmp_path / "a.pt", {})
    with pytest.raises(OSError, match="No space"):
        writer.save(tmp_path / "b.pt", {})
    writer.wait()  # raised once
    writer.save(tmp_path / "c.pt", {})
    with pytest.raises(OSError, match="No space"):
        writer.close()


def test_a_trainer_saves_in_time_for_the_next_one(tmp_path: Path) -> None:
    log: list[Batch] = []
    trainer = Trainer(task(), seed=1, device=CPU, folder=tmp_path, checkpoint_seconds=0.0)
    fit_once(trainer, Recipe(3, batch_size=4), log)
    trainer.close()
    assert [p.name for p in tmp_path.iterdir()] == ["task000-learn.pt"]
    again = Trainer(task(), seed=1, device=CPU, folder=tmp_path)
    before = len(log)
    fit_once(again, Recipe(3, batch_size=4), log)
    again.close()
    assert len(log) == before  # loaded, not trained
    assert again.phases[0]["losses"] == trainer.phases[0]["losses"]


@pytest.mark.parametrize(("seconds", "behind"), [(0.0, 0), (0.001, 1)])
def test_where_each_epoch_is_saved_the_next_one_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, behind: int
) -> None:
    begun, written = list[int](), list[int]()

    def slow(path: Path, state: dict[str, Any]) -> None:
        time.sleep(0.05)
        written.append(state["epoch"])

    def epoch(trainer: Trainer, phase: Phase, *rest: Any) -> dict[str, float]:
        begun.append(len(written))
        time.sleep(0.002)
        return {}

    monkeypatch.setattr(checkpoint, "save", slow)
    monkeypatch.setattr(Trainer, "_epoch", epoch)
    trainer = Trainer(task(), seed=1, device=CPU, folder=tmp_path, checkpoint_seconds=seconds)
    fit_once(trainer, Recipe(4, batch_size=4), [])
    trainer.close()
    assert written == [0, 1, 2, 3]
    assert begun == [max(0, number - behind) for number in range(4)]


# --- several views of each image


def fit_views(trainer: Trainer, recipe: Recipe, views: int) -> list[Batch]:
    """Fit a number on the task's images, whatever they are, in batches of some views; return the batches."""
    log: list[Batch] = []
    number = nn.Parameter(torch.zeros(1))

    def loss(batch: Batch) -> Losses:
        log.append(batch)
        return {"label": number.sum() * 0 + batch.y.float().mean()}

    phase = Phase(name="learn", trains=[number], data=trainer.task.train, loss=loss, recipe=recipe, views=views)
    trainer.fit(phase)
    return log


def test_a_phase_of_two_views_sees_each_image_twice_with_its_label() -> None:
    one, two = (fit_views(Trainer(task(), seed=1, device=CPU), Recipe(2, batch_size=4), views) for views in (1, 2))
    assert [len(b.y) for b in two] == [8, 8, 4, 8, 8, 4]
    for single, double in zip(one, two, strict=True):
        n = len(single.y)
        first, second = double.x.split(n)
        assert torch.equal(first, single.x)  # the first view is what a phase of one view sees
        assert torch.equal(double.y, torch.cat([single.y, single.y]))
        apart = second - first  # both are of the same rows, and differ by what their seeds say
        assert apart.ne(0).any(dim=1).float().mean() > 0.9
        assert torch.equal(apart[:, 0], apart[:, 1])
    assert not torch.equal(two[0].x[4:].sort(0).values, two[3].x[4:].sort(0).values)  # other ones in another epoch
    trainer = Trainer(task(9), seed=1, device=CPU)
    assert [len(b.y) for b in fit_views(trainer, Recipe(1, batch_size=4), 2)] == [8, 10]  # nine images: 4 and 5


def test_the_log_counts_every_view_and_averages_over_images() -> None:
    told: list[Progress] = []
    for views in (1, 2, 3):
        trainer = Trainer(task(9), seed=0, device=CPU, observe=lambda p: bool(told.append(p)))
        fit_views(trainer, Recipe(1, batch_size=4), views)
        (log,) = trainer.phases
        assert log["images"] == views * 9
        assert log["losses"]["label"] == [pytest.approx(4 / 9)]  # 0, 1, 0, ... 0
        assert told[-1].images_per_second * log["seconds"] == pytest.approx(views * 9)


def split_of(kind: str, folder: Path) -> Dataset:
    """The same twelve images, decoded when asked for, by a worker ahead, or held whole."""
    spec = DatasetSpec(
        name="mine",
        kind="folder",
        classes=3,
        size=8,
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.25, 0.3),
        augmentation=Augmentation(padding=2),
    )
    for place in [folder / "mine" / split / name for split in ("train", "test") for name in ("ant", "bee", "cat")]:
        place.mkdir(parents=True, exist_ok=True)
        for number in range(4):
            pixels = torch.Generator().manual_seed(derive(number, place.name) % 2**31)
            image = torch.randint(0, 256, (8, 8, 3), generator=pixels, dtype=torch.uint8)
            Image.fromarray(image.numpy()).save(place / f"{number}.png")
    train, _ = load(spec, folder, range(3), download=False, workers=int(kind == "ahead"))
    if kind != "whole":
        return train
    assert isinstance(train, EncodedImages)
    source = train.decoder.source
    held = [torch.frombuffer(bytearray(decode(source, row, 3).tobytes()), dtype=torch.uint8) for row in range(12)]
    return TensorImages(torch.stack(held).view(12, 8, 8, 3).permute(0, 3, 1, 2).contiguous(), train.y, spec)


def test_views_are_the_same_however_the_images_are_held(tmp_path: Path) -> None:
    seen = []
    for kind in ("whole", "when asked for", "ahead"):
        samples = Samples(split_of(kind, tmp_path), torch.arange(12))
        trainer = Trainer(Task(0, 0, 3, samples, samples), seed=2, device=CPU)
        seen.append(fit_views(trainer, Recipe(2, batch_size=5), 2))
    assert [len(b.y) for b in seen[0]] == [10, 10, 4] * 2
    first, second = seen[0][0].x.split(5)
    assert not torch.equal(first, second)
    for other in seen[1:]:
        assert all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in zip(seen[0], other, strict=True))
