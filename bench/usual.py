"""The field's usual pipeline, as a Trainer: the yardstick of the benchmarks, and not of the library.

PIL transforms image by image, a DataLoader with two worker processes started anew for every pass, fp32 as torch has it,
operations as written, plain SGD, and the accuracy on the test images of all classes seen every five epochs. Written
for this purpose after the description of what such code does; the losses and nets are the library's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms as T

from grace.streams.images import TensorImages
from grace.streams.samples import Batch, Samples, View
from grace.training import trainables
from grace.training.phase import Phase
from grace.training.steps import learning_rate
from grace.training.trainer import Trainer

WORKERS = 2
EVERY = 5  # epochs between two looks at the test accuracy


def as_usual() -> None:
    """Set torch as such code finds it: its defaults, and cuDNN told to be deterministic."""
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.conv.fp32_precision = "tf32"  # type: ignore[attr-defined]


class Pictures(TorchDataset[tuple[Tensor, int]]):
    """Some images of a split, one by one, as NumPy arrays that become PIL images."""

    def __init__(self, samples: Samples, view: View) -> None:
        source = samples.source
        assert isinstance(source, TensorImages)
        spec = source.spec
        self.pixels = source.x[samples.rows.to(source.x.device)].cpu().permute(0, 2, 3, 1).squeeze(-1).numpy()
        self.labels = samples.y.tolist()
        drawn = [T.RandomCrop(spec.size, padding=spec.augmentation.padding), T.RandomHorizontalFlip()]
        if spec.augmentation.brightness:
            drawn.append(T.ColorJitter(brightness=spec.augmentation.brightness))
        plain = [T.ToTensor(), T.Normalize(spec.mean, spec.std)]
        self.transform = T.Compose([T.ToPILImage(), *(drawn if view == "train" else []), *plain])

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one view, [C, H, W], and its label."""
        return self.transform(self.pixels[index]), self.labels[index]


class UsualTrainer(Trainer):
    """Trains any phase in the usual way; `evaluated` is the net whose test accuracy is looked at."""

    evaluated: Callable[[Tensor], Tensor] | None = None
    epoch_seconds: list[float]
    starting: float  # seconds until the first batch of a pass and after its last: workers start and end; all passes

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.epoch_seconds, self.starting = [], 0.0
        as_usual()

    def fit(self, phase: Phase) -> None:
        """Optimise what the phase lists."""
        trainables.place(phase.trains, self.device)
        params = trainables.thaw(phase.trains)
        recipe = phase.recipe
        optimiser = torch.optim.SGD(params, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
        log = {"name": phase.name, "epochs": recipe.epochs, "images": 0, "seconds": 0.0, "parameters": 0,
               "peak_bytes": 0, "losses": {}, "way": "usual"}  # fmt: skip
        self.phases.append(log)
        for epoch in range(recipe.epochs):
            started = time.perf_counter()
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(recipe, epoch)
            total = 0.0
            for batch in self._loaded(phase.data, "train", recipe.batch_size):
                terms = phase.loss(batch)
                loss = torch.stack(list(terms.values())).sum()
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                total += loss.item()
            log["images"] += len(phase.data)  # type: ignore[operator]
            if self.evaluated is not None and epoch % EVERY == 0:
                trainables.rest(phase.trains)
                self.accuracy(self.evaluated, self.task.test)
                trainables.thaw(phase.trains)
            self.epoch_seconds.append(time.perf_counter() - started)
        log["seconds"] = sum(self.epoch_seconds)
        trainables.rest(phase.trains)

    @torch.no_grad()
    def map(self, fn: Callable[[Tensor], Tensor], samples: Samples, view: View = "test", purpose: str = "") -> Tensor:
        """Return fn(x) over every sample in order."""
        return torch.cat([fn(batch.x) for batch in self._loaded(samples, view, 128, shuffle=False)])

    @torch.no_grad()
    def accuracy(self, logits: Callable[[Tensor], Tensor], samples: Samples) -> float:
        """Return the accuracy, batch by batch as such code computes it."""
        right = 0
        for batch in self._loaded(samples, "test", 128, shuffle=False):
            right += int((logits(batch.x).argmax(1) == batch.y).sum().item())
        return right / len(samples)

    def _loaded(self, samples: Samples, view: View, size: int, shuffle: bool = True) -> Iterator[Batch]:
        batches = iter(DataLoader(Pictures(samples, view), size, shuffle=shuffle, num_workers=WORKERS))
        first, found = True, True
        while found:
            asked = time.perf_counter()
            batch = next(batches, None)
            found = batch is not None
            self.starting += time.perf_counter() - asked if first or not found else 0.0
            first = False
            if batch is not None:
                x, y = batch
                grey = x.shape[1] == 1
                yield Batch((x.expand(-1, 3, -1, -1) if grey else x).to(self.device), y.to(self.device))
