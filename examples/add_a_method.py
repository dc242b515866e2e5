"""A method of one's own in one file: replay whose newest classes are learned with smoothed labels.

Run it as it is: `python examples/add_a_method.py`. To sweep it, move Config and the class to
`grace/methods/smoothed.py` and add one line to `grace/methods/__init__.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

import protocols
from grace import Batch, Learner, Phase, Recipe, Task, Trainer, backbone_factory, load, run_stream


@dataclass(frozen=True)
class Config:
    """Hyper-parameters, each with its source."""

    initial: Recipe = Recipe(20, milestones=(12, 17))
    later: Recipe = Recipe(10, weight_decay=2e-4, milestones=(6, 8))
    smoothing: float = 0.1  # Szegedy et al. 2016, sec. 7


class Smoothed(Learner):
    """Cross-entropy with label smoothing on the new classes and the exemplars."""

    title = "Smoothed"
    family = "single backbone"
    config: Config

    def learn(self, task: Task, trainer: Trainer) -> None:
        """Train the whole net; the engine does the loop, evaluation, exemplars, checkpoints and accounts."""
        if task.known == 0:
            self.net.add_branch()
        self.net.add_classes(task.size)

        def loss(batch: Batch) -> dict[str, Tensor]:
            logits = self.net.logits(batch.x)
            return {"ce": F.cross_entropy(logits, batch.y, label_smoothing=self.config.smoothing)}

        recipe = self.config.later if task.known else self.config.initial
        trainer.fit(Phase(name="learn", trains=[self.net], data=self.replayed(task), loss=loss, recipe=recipe))


def main(seed: int = 0) -> list[float]:
    """Learn the digits two classes at a time; return the accuracy on all classes seen after every task."""
    protocol = protocols.get("digits-b0i2")
    train, test = load(protocol.dataset, Path("data"), protocol.class_order(1993))
    learner = Smoothed(Config(), backbone_factory(protocol.backbone), protocol.budget)
    records = run_stream(learner, protocol, train, test, seed=seed)
    for record in records:
        held = f"{record.footprint.parameters:,} parameters, {record.footprint.exemplars} exemplars"
        print(f"{record.seen:2d} classes: {record.accuracy:6.1%}  {held}")
    return [record.accuracy for record in records]


if __name__ == "__main__":
    main()
