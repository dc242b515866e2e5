"""Weights & Biases: a group per sweep in project WANDB_PROJECT or grace-suite; WANDB_MODE=offline needs no login."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from suite.spec import RunSpec
from suite.trackers import Axis, Place, settings

os.environ["WANDB_SILENT"] = "true"  # read by its import: the screen is the live view's, nobody could answer a question
import wandb

STEPS = {"task": "task", "classes": "classes_seen", "epoch": "epoch"}


class WeightsAndBiases:
    """Figures are `task/accuracy`, `classes/accuracy`, `epoch/<phase>/<loss>`, each with its own step."""

    def __init__(self, place: Place) -> None:
        self._place = place
        place.folder.mkdir(parents=True, exist_ok=True)
        self._runs: dict[str, Any] = {}

    def begin(self, spec: RunSpec) -> None:
        """Open a run, or the one that an earlier launch began."""
        run = self._runs[spec.key] = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "grace-suite"),
            id=f"{self._place.sweep}-{spec.key}",
            name=spec.label,
            group=self._place.sweep,
            config=settings(spec),
            dir=str(self._place.folder),
            resume="allow",
            reinit="create_new",  # several are open at a time
            settings=wandb.Settings(console="off"),
        )
        for axis, step in STEPS.items():
            run.define_metric(step)
            run.define_metric(f"{axis}/*", step_metric=step)

    def log(self, key: str, axis: Axis, step: int, values: Mapping[str, float], time: float) -> None:
        """Send figures."""
        self._runs[key].log({STEPS[axis]: step, **{f"{axis}/{name}": value for name, value in values.items()}})

    def end(self, key: str, state: str) -> None:
        """Close the run."""
        self._runs.pop(key).finish(exit_code=int(state == "failed"))


open_tracker = WeightsAndBiases
