"""What is timed: the phases and passes of real methods, on nets and images of CIFAR-100 B0I10's size."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from bench.machine import synchronise
from bench.usual import UsualTrainer
from grace.methods import method
from grace.methods.grace import GRACE
from grace.nets import backbone_factory
from grace.nets.arithmetic import computing, flops
from grace.nets.incremental import IncrementalNet
from grace.streams.catalogue import Augmentation, DatasetSpec
from grace.streams.images import TensorImages
from grace.streams.protocol import Budget
from grace.streams.samples import Batch, Samples, Task
from grace.training import trainables
from grace.training.engine import Engine
from grace.training.expansion import expand
from grace.training.phase import Phase, Recipe
from grace.training.steps import WARM, Steps, arithmetic, sgd
from grace.training.trainer import Progress, Trainer

BATCH = 128
SPEC = DatasetSpec(
    name="cifar-sized", kind="toy", classes=100, size=32, mean=(0.5071, 0.4867, 0.4408), std=(0.2675, 0.2565, 0.2761),
    augmentation=Augmentation(padding=4, flip=True, brightness=63 / 255),
)  # fmt: skip
TESTED = 1000 / 7000  # test images per training image and class step: B0I10 trains a task on 7,000 and tests 1,000 more


@dataclass(frozen=True)
class Case:
    """A phase of training: `train` builds its net for a trainer and fits it."""

    name: str
    frozen: int  # branches at rest beside the one that learns
    compress: bool = False

    @property
    def tasks(self) -> int:
        """Tasks seen when this happens in B0I10: as many as branches at most."""
        return self.frozen + (not self.compress)

    def floating_point_operations(self, backbone: str) -> int:
        """Return those of one training image: three forwards for what learns, one for what rests (heads aside)."""
        each = flops(backbone_factory(backbone)(), (3, SPEC.size, SPEC.size))
        return (3 + self.frozen) * each

    def train(self, trainer: Trainer, backbone: str, recipe: Recipe) -> None:
        """Fit the phase once."""
        task = trainer.task
        learner = _grace(backbone, trainer.device, recipe)
        net = learner.net
        net.head.to(trainer.device)
        if self.compress:
            for index in range(self.frozen):
                net.add_branch(like=net.newest if index else None)
                net.add_classes(task.size)
            learner.state.branch_classes = [task.size] * self.frozen
            watch(trainer, _as_large(net, self.frozen - 1))
            learner._compress(net, task, trainer)
            return
        for index in range(self.frozen):
            net.add_branch(like=net.newest if index else None)
            net.add_classes(task.size)
        watch(trainer, net)
        expand(net, task, task.train, trainer, recipe)


CASES = [
    Case("one branch", 0),
    Case("expansion, 1 frozen", 1),
    Case("expansion, 4 frozen", 4),
    Case("expansion, 9 frozen", 9),
    Case("compression, 2 into 1", 2, compress=True),
]


def _grace(backbone: str, device: torch.device, recipe: Recipe) -> GRACE:
    learner_class, config = method("grace")
    learner = learner_class(config(compress=recipe), backbone_factory(backbone), Budget(2000), device)
    assert isinstance(learner, GRACE)
    learner.memory.by_class = {0: torch.arange(20)}
    return learner


def _as_large(net: IncrementalNet, branches: int) -> IncrementalNet:
    """Return a net with fewer branches: as much work to evaluate as the student has."""
    small = net.blank()
    for _ in range(branches):
        small.add_branch()
    small.add_classes(sum(net.increments))
    return small


def watch(trainer: Trainer, net: IncrementalNet) -> None:
    """Let the usual pipeline look at the test accuracy of `net`."""
    if isinstance(trainer, UsualTrainer):
        trainer.evaluated = net.logits


def images(count: int, device: torch.device) -> TensorImages:
    """Return random images of CIFAR's size with labels in turns."""
    x = torch.randint(0, 256, (count, 3, SPEC.size, SPEC.size), dtype=torch.uint8)
    return TensorImages(x.to(device), torch.arange(count) % 10, SPEC)


def task_of(case: Case, count: int, device: torch.device) -> Task:
    """Return a task of ten new classes after those that `case` has seen, on `count` training images."""
    source, test = images(count, device), images(max(BATCH, round(count * TESTED * case.tasks)), device)
    known = 10 * (case.tasks - 1)
    source.y += known
    test.y += known
    every = Samples(source, torch.arange(count))
    return Task(case.tasks - 1, known, known + 10, every, Samples(test, torch.arange(len(test.y))))


class BareTrainer(Trainer):
    """Takes the steps of a phase on one batch that is already there, and times them."""

    steps = 10
    rate = 0.0

    def fit(self, phase: Phase) -> None:
        """Take some steps, then `steps` more by the clock."""
        trainables.place(phase.trains, self.device)
        params, recipe = trainables.thaw(phase.trains), phase.recipe
        optimiser = sgd(params, recipe, self.engine)
        steps = Steps(phase, optimiser, params, self.engine)
        batch: Batch = next(iter(self._batches(phase.data, recipe.batch_size, phase.name, 0)))
        for _ in range(WARM + 2 if self.device.type == "cuda" else 2):
            steps(batch)
        synchronise()
        start = time.perf_counter()
        for _ in range(self.steps):
            steps(batch)
        synchronise()
        self.rate = self.steps * len(batch.y) / (time.perf_counter() - start)
        trainables.rest(phase.trains)


def bare(case: Case, backbone: str, engine: Engine, device: torch.device, steps: int) -> float:
    """(a) Return the images per second of the bare step."""
    trainer = BareTrainer(task_of(case, BATCH, device), seed=0, device=device, engine=engine)
    trainer.steps = steps
    with computing(arithmetic(engine, device)):
        case.train(trainer, backbone, Recipe(1, lr=1e-4, batch_size=BATCH))
    trainer.close()
    return trainer.rate


def ours(case: Case, backbone: str, engine: Engine, device: torch.device, count: int, epochs: int) -> float:
    """(b) Return the images per second of `Trainer.fit`, first epochs aside: compilers and captures are in there."""
    aside = WARM + 1 if device.type == "cuda" else 1
    times: list[float] = []

    def observe(progress: Progress) -> bool:
        synchronise()
        times.append(time.perf_counter())
        return False

    trainer = Trainer(task_of(case, count, device), seed=0, device=device, engine=engine, observe=observe)
    with computing(arithmetic(engine, device)):
        case.train(trainer, backbone, Recipe(epochs + aside, lr=1e-4, batch_size=BATCH))
    trainer.close()
    return count * epochs / (times[-1] - times[aside - 1])


def usual(case: Case, backbone: str, device: torch.device, count: int, epochs: int = 5) -> float:
    """(c) Return the images per second of the usual pipeline over five epochs and one look at the test images.

    Epochs here are shorter than real ones, so what it takes to start and end the loaders is counted for as many images
    as an epoch of B0I10 has.
    """
    trainer = UsualTrainer(task_of(case, count, device), seed=0, device=device)
    case.train(trainer, backbone, Recipe(epochs, lr=1e-4, batch_size=BATCH))
    trainer.close()
    real = (5000 if case.frozen == 0 else 7000) / count
    steady = sum(trainer.epoch_seconds) - trainer.starting
    return count * epochs * real / (steady * real + trainer.starting)


def traffic(case: Case, backbone: str) -> int:
    """Return the bytes that the operations of one training step read and write, per image, were none fused."""
    from bench.traffic import Traffic

    class Counting(BareTrainer):
        counted = 0

        def fit(self, phase: Phase) -> None:
            params = trainables.thaw(phase.trains)
            optimiser = sgd(params, phase.recipe, self.engine)
            steps = Steps(phase, optimiser, params, self.engine)
            batch = next(iter(self._batches(phase.data, BATCH, phase.name, 0)))
            steps(batch)
            with Traffic() as counter:
                steps(batch)
            Counting.counted = counter.bytes // len(batch.y)
            trainables.rest(phase.trains)

    trainer = Counting(task_of(case, BATCH, torch.device("cpu")), seed=0, device=torch.device("cpu"))
    case.train(trainer, backbone, Recipe(1))
    trainer.close()
    return Counting.counted
