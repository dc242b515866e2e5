"""The figures of a run that two methods may be compared by: what they are, how they are shown, which end is better."""

from __future__ import annotations

import re
from dataclasses import dataclass

from suite.errors import unknown
from suite.tables.catalogue import CATALOGUE, SAVED, Kind


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


UNITS = {"mb": "MiB", "mega": "M"}  # by how a column's digits are chosen
OTHERS = {"exemplars": "images", "seconds": "s", "seconds_learn": "s", "gpu_peak_mb": "MiB"}
DIGITS = {"percent": 2, "mb": 2, "mega": 3}
NO_METRIC = {*SAVED, "images_per_second"}  # no figure of a run, or one of its machine alone


def _metric(name: str, kind: Kind) -> Metric:
    """Return the metric behind a column of tables: less is better of what takes room or time."""
    field, title = kind.field or name, kind.title.removesuffix(" (M)").removesuffix(" (s)")
    if kind.digits == "percent":
        unit = "points" if "in points" in kind.about else "%"
        return Metric(field, title, unit, kind.scale, 2, -1 if kind.best == "low" else 1)
    digits = DIGITS[kind.digits] if isinstance(kind.digits, str) else kind.digits
    return Metric(field, title, UNITS.get(str(kind.digits), OTHERS.get(name, "")), kind.scale, digits, -1)


METRICS = {name: _metric(name, kind) for name, kind in CATALOGUE.items() if name not in NO_METRIC}
METRICS["forgetting"] = METRICS["forget_max"]
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
