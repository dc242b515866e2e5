"""The figures of a run that two methods may be compared by: what they are, how they are shown, which end is better."""

from __future__ import annotations

import re
from dataclasses import dataclass

from suite.errors import unknown


@dataclass(frozen=True)
class Metric:
    """A field of result rows; `scale` times a value is what is shown, in `unit`, with `digits`."""

    field: str
    title: str
    unit: str
    scale: float
    digits: int
    better: int  # 1 where more is better, -1 where less is

    def text(self, value: float, sign: str = "") -> str:
        """Return a value as it is shown; with sign "+" a difference."""
        return f"{round(value * self.scale, self.digits) + 0.0:{sign}.{self.digits}f}"  # adding zero mends -0.0


def _percent(field: str, title: str, better: int = 1) -> Metric:
    return Metric(field, title, "%", 100, 2, better)


def _points(field: str, title: str, better: int = -1) -> Metric:
    return Metric(field, title, "points", 100, 2, better)


METRICS = {
    metric.field: metric
    for metric in (
        _percent("avg", "Avg"),
        _percent("last", "Last"),
        _points("forgetting", "Forgetting"),
        _percent("avg_inc", "Avg without the first task"),
        _percent("avg_task", "Avg of task means"),
        _percent("last_task", "Last of task means"),
        _points("forget_max", "Forgetting (forget_max)"),
        _points("forget_prev", "Forgetting (forget_prev)"),
        _points("forget_diag", "Forgetting (forget_diag)"),
        _points("forget_lib", "Forgetting (forget_lib)"),
        _points("bwt", "Backward transfer", 1),
        _points("drop", "Drop"),
        _percent("top5_avg", "Avg top-5"),
        _percent("top5_last", "Last top-5"),
        Metric("params_final", "#P", "M", 1e-6, 3, -1),
        Metric("params_max", "#P max", "M", 1e-6, 3, -1),
        Metric("memory_mb", "MB", "MiB", 1, 2, -1),
        Metric("survey_mb", "MB (survey)", "MiB", 1, 2, -1),
        Metric("exemplars", "Exemplars", "images", 1, 0, -1),
        Metric("backbones_mean", "Backbones", "mean over tasks", 1, 2, -1),
        Metric("seconds", "Time", "s", 1, 1, -1),
    )
}
OF_READOUT = re.compile(r"([a-z0-9_]+)_(avg|last|forgetting|top5_avg|top5_last)")  # nme_avg, student_last


def metric_of(name: str) -> Metric:
    """Return a metric by its field, also of one readout (`nme_avg`); raises SuiteError with the nearest name."""
    if name in METRICS:
        return METRICS[name]
    found = OF_READOUT.fullmatch(name)
    # top5_forgetting and the like are no readout's
    if found is None or found[1] in ("top5", "forget", "params"):
        raise unknown("metric", name, METRICS, few=True)
    base = METRICS[found[2]]
    return Metric(name, f"{base.title} by {found[1]}", base.unit, base.scale, base.digits, base.better)
