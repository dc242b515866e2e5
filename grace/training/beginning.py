"""The beginning, the phase that most methods share: one branch and its head learn the first classes, plainly."""

from __future__ import annotations

from grace.nets.incremental import IncrementalNet
from grace.streams.samples import Samples, Task
from grace.training.phase import Phase, Recipe
from grace.training.shared import CrossEntropy
from grace.training.trainer import Trainer


def begin(net: IncrementalNet, task: Task, data: Samples, trainer: Trainer, recipe: Recipe) -> None:
    """Give an empty net a branch and a head for the classes seen, and train all of it on `data` by cross-entropy.

    Runs of the same beginning train it once, see `grace.training.shared`.
    """
    net.add_branch()
    net.add_classes(task.seen)
    trainer.fit(Phase(name="initial", trains=[net], data=data, loss=CrossEntropy(net), recipe=recipe))
