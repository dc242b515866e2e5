"""Metrics of class-incremental learning, from labels and predictions: fractions in [0, 1], never rounded.

Notation: a[t, j] is the accuracy on the test images of task j after training task t (j <= t < T), N_j their number.
Every published variant of a metric has its own name, since papers mix them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class Scores:
    """Right answers per task: hits [T, T] of task j's images after task t (0 for j > t), counts [T] of its images."""

    hits: NDArray[np.int64]
    counts: NDArray[np.int64]

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Accuracies a[t, j], float64 [T, T], NaN where task j was still to come."""
        a = self.hits / self.counts
        a[np.triu_indices(len(a), k=1)] = np.nan
        return a


def score(seen: Sequence[int], labels: Sequence[Labels], predictions: Sequence[Labels], top: int = 1) -> Scores:
    """Count the right answers per task.

    `seen` [T] classes seen after each task; per task `labels` [n_t] in stream order and `predictions` [n_t, k], best
    first. An answer is right when the label is among the first `top` predictions, or among all where there are fewer
    classes. Raises ValueError when the test images of a task are none, or not the same after every task.
    """
    tasks = len(seen)
    known = [0, *seen[:-1]]
    task_of_class = np.repeat(np.arange(tasks), np.subtract(seen, known))
    hits, counts = np.zeros((2, tasks, tasks), dtype=np.int64)
    for t, (truth, best) in enumerate(zip(labels, predictions, strict=True)):
        if len(truth) != len(best) or (len(truth) and not 0 <= truth.min() <= truth.max() < seen[t]):
            raise ValueError(f"task {t}: labels must be one per prediction and below {seen[t]}, the classes seen")
        right = (best[:, :top] == truth[:, None]).any(axis=1)
        hits[t] = np.bincount(task_of_class[truth[right]], minlength=tasks)
        counts[t] = np.bincount(task_of_class[truth], minlength=tasks)
    if not all((counts[t, : t + 1] == counts[-1, : t + 1]).all() for t in range(tasks)) or not counts[-1].all():
        raise ValueError("every task needs test images, and the same ones after every task that follows")
    return Scores(hits, counts[-1])


def curve(scores: Scores) -> list[float]:
    """A_t, t = 0 .. T-1: accuracy on the images of all classes seen, sum_j N_j a[t, j] / sum_j N_j."""
    return [float(h) for h in scores.hits.sum(axis=1) / scores.counts.cumsum()]


def task_curve(scores: Scores) -> list[float]:
    """Mean over the tasks so far of a[t, j]; equals A_t only when tasks have equally many images."""
    return [_mean(row[: t + 1]) for t, row in enumerate(scores.matrix)]


def avg(scores: Scores) -> float:
    """Average incremental accuracy: mean over tasks of A_t, the first included (iCaRL, CVPR 2017)."""
    return _mean(curve(scores))


def avg_inc(scores: Scores) -> float | None:
    """Mean of A_t without the first task; None when it is the only one."""
    return _mean(curve(scores)[1:]) if len(scores.counts) > 1 else None


def last(scores: Scores) -> float:
    """Last accuracy: A_{T-1}."""
    return curve(scores)[-1]


def avg_task(scores: Scores) -> float:
    """Mean over tasks of the task-averaged accuracy (GEM, NeurIPS 2017, eq. 2, after every task)."""
    return _mean(task_curve(scores))


def last_task(scores: Scores) -> float:
    """Task-averaged accuracy after the last task (GEM, NeurIPS 2017, eq. 2)."""
    return task_curve(scores)[-1]


def drop(scores: Scores) -> float:
    """Performance drop: A_0 - A_{T-1}."""
    return curve(scores)[0] - last(scores)


def old(scores: Scores) -> list[float | None]:
    """Accuracy after each task on the classes known before it; None for the first task."""
    earlier = zip(scores.hits[1:], scores.counts.cumsum(), strict=False)
    return [None, *(float(row[:t].sum() / count) for t, (row, count) in enumerate(earlier, start=1))]


def new(scores: Scores) -> list[float]:
    """Accuracy after each task on its own classes: a[t, t]."""
    return [float(a) for a in np.diag(scores.matrix)]


def intransigence(scores: Scores, upper: Scores) -> list[float]:
    """A_t of an upper bound minus A_t, per task (Chaudhry et al., ECCV 2018; here over all classes seen)."""
    return [bound - reached for bound, reached in zip(curve(upper), curve(scores), strict=True)]


# Forgetting: the mean over the earlier tasks j < T-1 of an accuracy once reached minus a[T-1, j].
# With a single task nothing can be forgotten, and every variant is 0.0.


def forget_max(scores: Scores) -> float:
    """Forgetting from the best of rows j .. T-1, so never negative (PyCIL's form)."""
    a = scores.matrix
    return _forgetting(a, lambda j: a[j:, j].max())


def forget_prev(scores: Scores) -> float:
    """Forgetting from the best of rows j .. T-2; negative where the last task helped (Chaudhry et al. 2018; FACIL)."""
    a = scores.matrix
    return _forgetting(a, lambda j: a[j:-1, j].max())


def forget_diag(scores: Scores) -> float:
    """Forgetting from a[j, j], the accuracy when the task was learned (Avalanche); equals minus `bwt`."""
    a = scores.matrix
    return _forgetting(a, lambda j: a[j, j])


def forget_lib(scores: Scores) -> float:
    """LibContinual's form: as `forget_diag` but without the task before the last, and still divided by T-1."""
    a = scores.matrix
    tasks = len(a)
    return fsum(a[j, j] - a[-1, j] for j in range(tasks - 2)) / max(tasks - 1, 1)


def bwt(scores: Scores) -> float:
    """Backward transfer: mean over j < T-1 of a[T-1, j] - a[j, j] (GEM, NeurIPS 2017, eq. 3); 0.0 for one task."""
    return 0.0 - forget_diag(scores)


SCALARS: dict[str, Callable[[Scores], float | None]] = {
    "avg": avg,
    "last": last,
    "avg_inc": avg_inc,
    "avg_task": avg_task,
    "last_task": last_task,
    "forget_max": forget_max,
    "forget_prev": forget_prev,
    "forget_diag": forget_diag,
    "forget_lib": forget_lib,
    "bwt": bwt,
    "drop": drop,
}


def _forgetting(a: NDArray[np.float64], reached: Callable[[int], float]) -> float:
    return _mean([reached(j) - a[-1, j] for j in range(len(a) - 1)]) if len(a) > 1 else 0.0


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    return fsum(values) / len(values)
