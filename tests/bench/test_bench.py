"""The benchmarks measure what they say: the usual pipeline trains, traffic is counted, every case runs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bench.cases import CASES, SPEC, bare, images, ours, task_of
from bench.traffic import Traffic
from bench.usual import UsualTrainer
from grace.nets import backbone_factory
from grace.nets.incremental import IncrementalNet
from grace.streams.samples import Batch, Samples, Task
from grace.training.engine import Engine
from grace.training.phase import Losses, Phase, Recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_trains_what_it_says(case: object) -> None:
    assert case in CASES
    task = task_of(case, 256, CPU)  # type: ignore[arg-type]
    assert task.size == 10
    assert set(task.train.y.tolist()) == set(range(task.known, task.seen))
    engine = Engine("fp32", "eager")
    assert bare(case, "resnet8", engine, CPU, 1) > 0  # type: ignore[arg-type]
    assert ours(case, "resnet8", engine, CPU, 128, 1) > 0  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_the_usual_pipeline_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    source = images(256, CPU)
    source.y = torch.arange(256) % 2
    source.x[source.y == 1] //= 4  # dark and bright
    every = Samples(source, torch.arange(256))
    task = Task(0, 0, 2, every, every)
    torch.manual_seed(0)
    net = IncrementalNet(backbone_factory("convnet2"), CPU)
    net.add_branch()
    net.add_classes(2)
    trainer = UsualTrainer(task, seed=0, device=CPU)
    trainer.evaluated = net.logits

    def loss(batch: Batch) -> Losses:
        return {"ce": F.cross_entropy(net.logits(batch.x), batch.y)}

    trainer.fit(Phase(name="learn", trains=[net], data=every, loss=loss, recipe=Recipe(3, lr=0.01, batch_size=32)))
    assert trainer.accuracy(net.logits, every) > 0.95
    assert len(trainer.epoch_seconds) == 3
    assert 0 < trainer.starting < sum(trainer.epoch_seconds) * 2
    assert not any(p.requires_grad for p in net.parameters())
    trainer.close()
    torch.use_deterministic_algorithms(before)
    torch.backends.cudnn.deterministic = False


def test_traffic_counts_what_is_read_and_written() -> None:
    a, b = torch.ones(10), torch.ones(10)
    with Traffic() as counter:
        (a + b).view(2, 5)
    assert counter.bytes == 3 * 10 * 4
    x, kernels = torch.ones(1, 3, 8, 8), torch.ones(4, 3, 3, 3)
    with Traffic() as counter:
        F.conv2d(x, kernels)
    assert counter.bytes == 4 * (3 * 64 + 4 * 27 + 4 * 36)


def test_images_have_the_size_they_stand_for() -> None:
    assert images(3, CPU).x.shape == (3, 3, 32, 32)
    assert SPEC.bytes_per_image == 3072
