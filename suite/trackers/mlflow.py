"""MLflow: an experiment per sweep, at MLFLOW_TRACKING_URI or in `tracking/mlflow.db` of the results root."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import mlflow
from mlflow.entities import Metric, Param, RunTag

from suite.spec import RunSpec
from suite.trackers import Axis, Place, settings

STATES = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "elsewhere": "KILLED"}
KEY = "grace_suite_key"  # tag by which a run is found again
BATCH = 100  # parameters that a server takes at once


class MLflow:
    """Metrics are `task/accuracy`, `classes/accuracy`, `epoch/<phase>/<loss>`: the axis is what a step counts."""

    def __init__(self, place: Place) -> None:
        for noisy in ("mlflow", "alembic"):  # the screen is the live view's
            logging.getLogger(noisy).setLevel(logging.WARNING)
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            place.folder.parent.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{place.folder.parent / 'mlflow.db'}"
        self._client = mlflow.MlflowClient(uri)
        found = self._client.get_experiment_by_name(place.sweep)
        self._experiment = found.experiment_id if found else self._client.create_experiment(place.sweep)
        self._runs: dict[str, str] = {}  # key -> MLflow's id

    def begin(self, spec: RunSpec) -> None:
        """Open a run, or the one that an earlier launch began."""
        known = self._client.search_runs([self._experiment], f"tags.{KEY} = '{spec.key}'", max_results=1)
        if known:
            self._runs[spec.key] = known[0].info.run_id
            self._client.update_run(known[0].info.run_id, status="RUNNING")
            return
        run = self._client.create_run(self._experiment, run_name=spec.label)
        params = [Param(name, value) for name, value in settings(spec).items()]
        self._client.log_batch(run.info.run_id, tags=[RunTag(KEY, spec.key)])
        for start in range(0, len(params), BATCH):
            self._client.log_batch(run.info.run_id, params=params[start : start + BATCH])
        self._runs[spec.key] = run.info.run_id

    def log(self, key: str, axis: Axis, step: int, values: Mapping[str, float], time: float) -> None:
        """Send metrics."""
        metrics = [Metric(f"{axis}/{name}", value, int(1000 * time), step) for name, value in values.items()]
        self._client.log_batch(self._runs[key], metrics=metrics)

    def end(self, key: str, state: str) -> None:
        """Close the run."""
        self._client.set_terminated(self._runs.pop(key), STATES[state])


open_tracker = MLflow
