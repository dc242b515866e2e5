"""A tiny stream, a tiny backbone and shortened methods, for tests of the engine and of every method."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from grace.learner import Learner
from grace.methods import method
from grace.nets.backbone import Backbone
from grace.run import TaskRecord, run_stream
from grace.streams.catalogue import Augmentation, DatasetSpec
from grace.streams.datasets import load
from grace.streams.protocol import Budget, Protocol
from grace.streams.samples import Dataset, View
from grace.training.phase import Recipe

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

SPEC = DatasetSpec(
    name="toy-six",
    kind="toy",
    classes=6,
    size=8,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    augmentation=Augmentation(padding=1, flip=True, brightness=0.1),
)
PROTOCOL = Protocol(
    name="toy-six-b0i2", dataset=SPEC, base=0, increment=2, budget=Budget(18), backbone="tiny", schedule=1.0
)
WIDTH = 8


def tiny() -> Backbone:
    """One convolution and one stage: 3 -> 8 -> 8 channels."""

    def block(cin: int, cout: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())

    return Backbone(WIDTH, block(3, WIDTH), [block(WIDTH, WIDTH)])


TINY_PARAMETERS = 3 * 8 * 9 + 16 + 8 * 8 * 9 + 16


def data(protocol: Protocol = PROTOCOL, order_seed: int = 1993) -> tuple[Dataset, Dataset]:
    return load(protocol.dataset, Path("unused"), protocol.class_order(order_seed))


def short(config: type, epochs: int, **fields: Any) -> Any:
    """A method's own defaults with every recipe cut to a few epochs of small batches."""
    recipes = {
        f.name: dataclasses.replace(f.default.limited(epochs), batch_size=32)
        for f in dataclasses.fields(config)
        if isinstance(f.default, Recipe)
    }
    return config(**{**recipes, **fields})


def build(
    name: str, epochs: int = 2, budget: Budget = PROTOCOL.budget, device: torch.device | None = None, **fields: Any
) -> Learner:
    learner_class, config = method(name)
    return learner_class(short(config, epochs, **fields), tiny, budget, device)


def run(learner: Learner, protocol: Protocol = PROTOCOL, seed: int = 0, **options: Any) -> list[TaskRecord]:
    train, test = (split.to(options.get("device") or torch.device("cpu")) for split in data(protocol))
    return run_stream(learner, protocol, train, test, seed=seed, **options)


def weights(learner: Learner) -> list[Tensor]:
    return list(learner.net.state_dict().values())


def lasting(record: TaskRecord) -> dict[str, Any]:
    """What of a record does not depend on how long anything took."""
    plain = {name: value for name, value in vars(record).items() if name != "seconds"}
    plain["phases"] = [{k: v for k, v in phase.items() if k != "seconds"} for phase in record.phases]
    plain["labels"] = record.labels.tolist()
    plain["predictions"] = {name: best.tolist() for name, best in record.predictions.items()}
    return plain


class Spy(Dataset):
    """Stands for a split and notes which rows are read."""

    def __init__(self, inner: Dataset) -> None:
        self.inner, self.y, self.bytes_per_image = inner, inner.y, inner.bytes_per_image
        self.read: set[int] = set()

    def batch(self, rows: Tensor, view: View, seed: int) -> Tensor:
        self.read |= set(rows.tolist())
        return self.inner.batch(rows, view, seed)
