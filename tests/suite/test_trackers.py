"""Trackers: what they are told of a run, by real files where their package is at hand, by stand-ins elsewhere."""

from __future__ import annotations

import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from suite import trackers
from suite.errors import Exit, SuiteError
from suite.events import Event
from suite.trackers import Place, Tracking, check, figures, settings
from tests.suite.runs_for_tests import spec

ONE, TWO = spec(0), spec(1)
AFTER = {
    "accuracy": 0.75,
    "old": None,
    "new": 0.75,
    "seen": 2,
    "backbones": 1,
    "parameters": 400,
    "memory_bytes": 2**19,
}
LATER = {"accuracy": 0.5, "old": 0.25, "new": 0.75, "seen": 4, "backbones": 2, "parameters": 800, "memory_bytes": 2**20}


def story(key: str) -> Iterator[Event]:
    """Two tasks of one epoch each."""
    where = {"tasks": 2, "work": 1}
    yield Event("claimed", key, {"lane": "here", "attempt": 1}, 100.0)
    yield Event("progress", key, {**where, "task": 0, "losses": [(1, "initial", {"ce": 2.0})]}, 101.0)
    yield Event("task", key, {**where, "task": 0, "losses": [], **AFTER}, 102.0)
    yield Event(
        "task", key, {**where, "task": 1, "losses": [(2, "learn", {"ce": 1.0, "kd": float("inf")})], **LATER}, 103
    )


def track(name: str, root: Path, *events: Event, warn: Any = pytest.fail) -> None:
    with Tracking([name], Place(root, "sweep"), warn) as tracking:
        tracking.expect([ONE, TWO])
        for event in events:
            tracking.observe(event)


class Recorder:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def begin(self, run: Any) -> None:
        self.told.append(("begin", run.key))

    def log(self, key: str, axis: str, step: int, values: dict[str, float], time: float) -> None:
        self.told.append((axis, step, values, time))

    def end(self, key: str, state: str) -> None:
        self.told.append(("end", key, state))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    monkeypatch.setattr(trackers, "opened", lambda name, place: found)
    return found


def test_figures_have_two_axes_and_losses_a_third() -> None:
    first = {"accuracy": 0.75, "accuracy_new": 0.75, "backbones": 1, "parameters": 400, "memory_mib": 0.5}
    second = {"accuracy": 0.5, "accuracy_new": 0.75, "backbones": 2, "parameters": 800, "memory_mib": 1.0}
    second["accuracy_old"] = 0.25
    assert [figure for event in story("k") for figure in figures(event)] == [
        ("epoch", 1, {"initial/ce": 2.0}),
        ("task", 1, first),
        ("classes", 2, first),
        ("epoch", 2, {"learn/ce": 1.0}),
        ("task", 2, second),
        ("classes", 4, second),
    ]


def test_a_run_begins_with_its_first_figure_and_ends_as_it_does(recorder: Recorder, tmp_path: Path) -> None:
    done = Event("finished", TWO.key, {"already": True})  # nothing to tell of it
    track("tensorboard", tmp_path, done, *story(ONE.key), Event("failed", ONE.key), Event("claimed", "unknown"))
    assert recorder.told[0] == ("begin", ONE.key)
    assert recorder.told[-1] == ("end", ONE.key, "failed")
    assert recorder.told[1] == ("epoch", 1, {"initial/ce": 2.0}, 101.0)
    assert len(recorder.told) == 8


def test_a_run_that_is_at_work_when_the_sweep_ends_is_closed(recorder: Recorder, tmp_path: Path) -> None:
    track("tensorboard", tmp_path, *story(ONE.key))
    assert recorder.told[-1] == ("end", ONE.key, "stopped")


def test_a_tracker_that_fails_is_named_once_and_the_others_go_on(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Recorder()
    monkeypatch.setattr(broken, "log", lambda *_: [][1])
    monkeypatch.setattr(trackers, "opened", lambda name, place: broken if name == "mlflow" else recorder)
    said: list[str] = []
    with Tracking(["mlflow", "tensorboard"], Place(tmp_path, "s"), said.append) as tracking:
        tracking.expect([ONE])
        for event in story(ONE.key):
            tracking.observe(event)
    assert said == ["mlflow is told nothing more: list index out of range; the runs go on"]
    assert len(recorder.told) == 8


def test_a_tracker_that_hangs_holds_up_neither_runs_nor_the_end_for_long(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, said = threading.Event(), list[str]()
    monkeypatch.setattr(recorder, "begin", lambda run: free.wait(30))
    monkeypatch.setattr(trackers, "PARTING", 0.2)
    before = time.monotonic()
    track("tensorboard", tmp_path, *story(ONE.key), warn=said.append)
    assert time.monotonic() - before < 2
    assert said == ["tensorboard did not take all figures within 0.2 seconds"]
    free.set()


def test_a_package_that_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(SuiteError, match=r"--track wandb needs .*: pip install 'grace-suite\[wandb\]'") as caught:
        check(["wandb"])
    assert caught.value.code == Exit.ENVIRONMENT
    check([])


def test_what_a_run_is() -> None:
    found = settings(ONE)
    assert (found["protocol"], found["config.initial.epochs"], found["key"]) == ("toy-b0i2", "1", ONE.key)


def events_in(folder: Path) -> list[tuple[str, int, float, float]]:
    """Return tag, step, value and time of every scalar in a folder's event files."""
    from tensorboardX.proto.event_pb2 import Event as Record

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data, start = path.read_bytes(), 0
        while start < len(data):  # length, its checksum, the record, its checksum
            (length,) = struct.unpack_from("<Q", data, start)
            record = Record.FromString(data[start + 12 : start + 12 + length])
            found += [
                (value.tag, record.step, value.simple_value, record.wall_time)
                for value in record.summary.value
                if value.HasField("simple_value")
            ]
            start += length + 16
    return found


def test_tensorboard_s_files_hold_the_figures(tmp_path: Path) -> None:
    track(
        "tensorboard",
        tmp_path,
        *story(ONE.key),
        Event("finished", ONE.key, {"seconds": 1.0}),
        *list(story(TWO.key))[:3],
    )
    found = events_in(tmp_path / "tracking" / "sweep" / ONE.key)
    assert [each for each in found if each[0].endswith("/accuracy")] == [
        ("task/accuracy", 1, 0.75, 102.0),
        ("classes/accuracy", 2, 0.75, 102.0),
        ("task/accuracy", 2, 0.5, 103.0),
        ("classes/accuracy", 4, 0.5, 103.0),
    ]
    assert [each[:3] for each in found if each[0].startswith("epoch")] == [
        ("epoch/initial/ce", 1, 2.0),
        ("epoch/learn/ce", 2, 1.0),
    ]
    assert ("task/memory_mib", 2, 1.0, 103.0) in found
    assert len(events_in(tmp_path / "tracking" / "sweep" / TWO.key)) == 11


def test_tensorboard_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    first, second = list(story(ONE.key))[:3], list(story(ONE.key))[3:]
    track("tensorboard", tmp_path, *first)
    track("tensorboard", tmp_path, *second)
    steps = [step for tag, step, *_ in events_in(tmp_path / "tracking" / "sweep" / ONE.key) if tag == "task/accuracy"]
    assert sorted(steps) == [1, 2]


class Server:
    """Stands in for MLflow's client and what it talks to."""

    runs: dict[str, SimpleNamespace]

    def __init__(self, uri: str) -> None:
        self.uri = uri
        SERVERS.append(self)

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return f"experiment {name}"

    def search_runs(self, experiments: list[str], where: str, max_results: int) -> list[Any]:
        return [run for run in RUNS.values() if f"tags.grace_suite_key = '{run.tags.get('grace_suite_key')}'" == where]

    def create_run(self, experiment: str, run_name: str) -> Any:
        run = SimpleNamespace(
            info=SimpleNamespace(run_id=f"id{len(RUNS)}"), name=run_name, tags={}, params={}, metrics=[]
        )
        RUNS[run.info.run_id] = run
        return run

    def update_run(self, run_id: str, status: str) -> None:
        RUNS[run_id].status = status

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
        assert len(params) <= 100  # as a server does
        RUNS[run_id].tags |= dict(tags)
        RUNS[run_id].params |= dict(params)
        RUNS[run_id].metrics += metrics

    def set_terminated(self, run_id: str, status: str) -> None:
        RUNS[run_id].status = status


SERVERS: list[Server] = []
RUNS: dict[str, Any] = {}


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    SERVERS.clear()
    RUNS.clear()
    module: Any = ModuleType("mlflow")
    module.MlflowClient = Server
    entities: Any = ModuleType("mlflow.entities")
    entities.Metric, entities.Param, entities.RunTag = (lambda *fields: fields,) * 3
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.delitem(sys.modules, "suite.trackers.mlflow", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.usefixtures("mlflow")
def test_mlflow_has_a_run_per_run_and_goes_on_with_it(tmp_path: Path) -> None:
    first, second = list(story(ONE.key))[:3], list(story(ONE.key))[3:]
    track("mlflow", tmp_path, *first)
    assert RUNS["id0"].status == "KILLED"
    track("mlflow", tmp_path, *second, Event("finished", ONE.key, {"seconds": 1.0}))
    assert list(RUNS) == ["id0"]
    run = RUNS["id0"]
    assert (run.status, run.name, run.params["method"]) == ("FINISHED", ONE.label, "replay")
    assert [each for each in run.metrics if each[0] in ("task/accuracy", "classes/accuracy")] == [
        ("task/accuracy", 0.75, 102000, 1),
        ("classes/accuracy", 0.75, 102000, 2),
        ("task/accuracy", 0.5, 103000, 2),
        ("classes/accuracy", 0.5, 103000, 4),
    ]
    assert SERVERS[0].uri == f"sqlite:///{tmp_path}/tracking/mlflow.db"


@pytest.mark.usefixtures("mlflow")
def test_mlflow_s_own_setting_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker:5000")
    track("mlflow", tmp_path, *story(ONE.key))
    assert [server.uri for server in SERVERS] == ["http://tracker:5000"]


def test_wandb_has_a_group_per_sweep_and_its_own_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    class Run:
        def __init__(self, **options: Any) -> None:
            self.options, self.metrics, self.logged, self.code = options, list[Any](), list[Any](), -1
            opened.append(self)

        def define_metric(self, name: str, step_metric: str | None = None) -> None:
            self.metrics.append((name, step_metric))

        def log(self, values: dict[str, float]) -> None:
            self.logged.append(values)

        def finish(self, exit_code: int) -> None:
            self.code = exit_code

    module: Any = ModuleType("wandb")
    module.init, module.Settings = Run, SimpleNamespace
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delitem(sys.modules, "suite.trackers.wandb", raising=False)
    monkeypatch.delenv("WANDB_SILENT", raising=False)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    track("wandb", tmp_path, *story(ONE.key), Event("failed", ONE.key), *list(story(TWO.key))[:3])
    one, two = opened
    assert one.options["group"] == "sweep"
    assert (one.options["id"], one.options["project"]) == (f"sweep-{ONE.key}", "grace-suite")
    assert (one.code, two.code) == (1, 0)
    assert ("classes/*", "classes_seen") in one.metrics
    assert [(each["task"], each["task/accuracy"]) for each in one.logged if "task" in each] == [(1, 0.75), (2, 0.5)]
    assert [each["classes_seen"] for each in one.logged if "classes_seen" in each] == [2, 4]
    assert [(each["epoch"], each.get("epoch/learn/ce")) for each in one.logged if "epoch" in each] == [
        (1, None),
        (2, 1.0),
    ]
