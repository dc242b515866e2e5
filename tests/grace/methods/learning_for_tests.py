"""One task of a method, learned as the engine does it, with a look at each phase."""

from __future__ import annotations

from collections.abc import Callable

import torch

from grace.learner import Learner
from grace.streams.samples import Task
from grace.training.phase import Phase
from grace.training.trainer import Trainer


def learned(learner: Learner, task: Task, look: Callable[[Phase], None] = lambda phase: None) -> None:
    """Learn a task and choose its exemplars; `look` sees each phase before it is fitted and after."""

    class Watch(Trainer):
        def fit(self, phase: Phase) -> None:
            look(phase)
            super().fit(phase)
            look(phase)

    trainer = Watch(task, seed=0, device=torch.device("cpu"))
    learner.learn(task, trainer)
    learner.remember(task, trainer)
