"""One run: its record, what it says on the way, and every way in which it can end."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from grace.checks import DataError
from grace.training.trainer import NonFiniteLoss, Stopped
from suite import execute as module
from suite import logs
from suite.attempt import attempt
from suite.diagnosis import failure_of
from suite.errors import Exit, SuiteError
from suite.events import Event
from suite.execute import device_for, exact
from suite.launch import LaunchOptions
from suite.provenance import code, environment
from suite.store import Store
from tests.suite.runs_for_tests import TASKS, spec, too_many_exemplars

CODE = {"version": "1", "commit": "abc", "dirty": False}


@pytest.fixture
def options(tmp_path: Path) -> LaunchOptions:
    return LaunchOptions(root=tmp_path / "results", data=tmp_path / "data", gpus_per_run=0, checkpoint_seconds=0)


@pytest.fixture
def store(options: LaunchOptions) -> Store:
    return Store.open(options.root, write=True)


def never() -> bool:
    return False


def run(one: Any, store: Store, options: LaunchOptions, stop: Callable[[], bool] = never) -> tuple[Event, list[Event]]:
    events: list[Event] = []
    return attempt(one, store, options, events.append, stop, CODE), events


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*arguments: Any, **named: Any) -> Any:
        raise error

    monkeypatch.setattr(module, "run_stream", raising)


def test_a_run_leaves_a_record_and_nothing_else(store: Store, options: LaunchOptions) -> None:
    one = spec()
    end, events = run(one, store, options)
    assert (end.kind, end.key) == ("finished", one.key)
    assert end.fields["seconds"] > 0
    assert store.done(one.key)
    assert not store.work(one.key).exists()
    assert store.failures() == {}
    record = store.read(one.key)
    assert [task.seen for task in record.tasks] == [2, 4, 6, 8, 10]
    assert [event.fields["task"] for event in events if event.kind == "task"] == list(range(TASKS))
    last = [event for event in events if event.kind == "task"][-1].fields
    top = record.tasks[-1].predictions["linear"][:, 0]
    assert last["accuracy"] == pytest.approx((top == record.tasks[-1].labels).mean())
    assert last["work"] == TASKS  # one epoch per task


def test_a_record_says_where_it_comes_from(store: Store, tmp_path: Path) -> None:
    one = spec()
    options = LaunchOptions(root=store.root, data=tmp_path, gpus_per_run=0, sources={one.key: "a paper"})
    run(one, store, options)
    found = store.read(one.key).provenance
    assert {name: found[name] for name in CODE} == CODE
    assert found["preset"] == "a paper"
    assert (found["threads"], found["engine"]) == (1, "auto")
    assert all(found[name] for name in ("torch", "numpy", "python", "host", "device"))
    assert found["method"] == {
        "title": "Replay",
        "family": "single backbone",
        "reference": found["method"]["reference"],
    }
    assert found["started"] <= found["finished"]
    assert found["started"].endswith("Z")
    other = Store.open(tmp_path / "other", write=True)
    run(spec(seed=1), other, options)
    assert other.read(spec(seed=1).key).provenance["data"] == found["data"]  # the same images


def test_runs_of_any_precision_share_a_process(store: Store, options: LaunchOptions, tmp_path: Path) -> None:
    runs = {name: replace(spec(), precision=name) for name in ("fp32", "bf16", "tf32")}
    for one in runs.values():
        assert run(one, store, options)[0].kind == "finished"
    found = {name: store.read(one.key) for name, one in runs.items()}
    assert {name: record.spec["precision"] for name, record in found.items()} == {name: name for name in runs}
    losses = {name: [phase["losses"] for task in r.tasks for phase in task.phases] for name, r in found.items()}
    assert losses["fp32"] == losses["tf32"]  # on a CPU; and bf16 in between left nothing behind
    assert losses["fp32"] != losses["bf16"]


def test_the_engine_is_written_down_and_changes_no_more_than_rounding(store: Store, tmp_path: Path) -> None:
    found = {}
    for way in ("plain", "eager"):
        other = Store.open(tmp_path / way, write=True)
        run(spec(), other, LaunchOptions(root=other.root, data=tmp_path, gpus_per_run=0, engine=way))
        found[way] = other.read(spec().key)
    for way, record in found.items():
        assert record.provenance["engine"] == way
        assert [phase["way"] for task in record.tasks for phase in task.phases] == [way] * TASKS
    first = [record.tasks[0].phases[0]["losses"]["ce"] for record in found.values()]
    assert first[0] == pytest.approx(first[1], rel=1e-3)


def test_progress_is_told_of_at_most_once_a_second(store: Store, options: LaunchOptions) -> None:
    _, events = run(spec(epochs=3), store, options)
    progress = [event for event in events if event.kind == "progress"]
    assert progress[0].fields["phase"] == "initial"
    assert progress[0].fields["work"] == 1
    assert progress[0].fields["images_per_second"] > 0
    assert all(later.time - sooner.time > 0.9 for sooner, later in pairwise(progress))
    json.dumps([event.fields for event in events])  # plain values, cheap to send


def test_a_finished_run_is_not_worked_on_again(
    store: Store, options: LaunchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(spec(), store, options)
    fail_with(AssertionError("worked again"), monkeypatch)
    end, events = run(spec(), store, options)
    assert (end.kind, end.fields) == ("finished", {"already": True})
    assert events == []


def test_a_stopped_run_goes_on_to_the_same_result(store: Store, options: LaunchOptions, tmp_path: Path) -> None:
    one = spec(epochs=2)
    asked = iter(range(1000))
    end, _ = run(one, store, options, lambda: next(asked) == 4)  # in the second task
    assert end.kind == "stopped"
    assert store.work(one.key).is_dir()
    assert not store.done(one.key)
    assert run(one, store, options)[0].kind == "finished"
    whole = Store.open(tmp_path / "whole", write=True)
    run(one, whole, options)
    assert store.read(one.key).result() == whole.read(one.key).result()


def hold(root: Path, key: str, held: Any, let_go: Any) -> None:
    with Store.open(root).lock(key):
        held.set()
        let_go.wait(60)


def test_a_run_that_another_process_works_on_is_left_to_it(store: Store, options: LaunchOptions) -> None:
    start = multiprocessing.get_context("spawn")
    held, let_go = start.Event(), start.Event()
    other = start.Process(target=hold, args=(store.root, spec().key, held, let_go))
    other.start()
    try:
        assert held.wait(60)
        end, events = run(spec(), store, options)
        assert (end.kind, end.key, events) == ("elsewhere", spec().key, [])
    finally:
        let_go.set()
        other.join()
    assert run(spec(), store, options)[0].kind == "finished"


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (KeyError("gone"), "error", "KeyError: 'gone'"),
        (ValueError("first line\nsecond"), "error", "ValueError: first line"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "oom", "OutOfMemoryError: CUDA out of memory. Tried"),
        (MemoryError(), "oom", "MemoryError"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "oom", None),
        (NonFiniteLoss("task 1, phase learn, epoch 3: ce"), "non-finite", "task 1, phase learn, epoch 3: ce"),
        (DataError("data/x.bin: cut short; fetch it again"), "data", "data/x.bin: cut short; fetch it again"),
        (SuiteError("replay.initial: a table is wanted"), "error", "replay.initial: a table is wanted"),
        (PermissionError(errno.EACCES, "Permission denied"), "error", None),
    ],
)
def test_what_goes_wrong_in_a_run_is_kept_as_its_failure(
    error: Exception,
    kind: str,
    reason: str | None,
    store: Store,
    options: LaunchOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_with(error, monkeypatch)
    end, _ = run(spec(), store, options)
    assert end.kind == "failed"
    found = store.failures()[spec().key]
    assert vars(found) == end.fields
    assert found.kind == kind
    assert found.reason == (reason or found.reason)
    assert "\n" not in found.reason
    assert found.label == "replay toy-b0i2 o1993 s0"
    assert "Traceback" in found.traceback
    assert "execute.py" in found.where


def test_a_failure_is_forgotten_when_the_run_succeeds(
    store: Store, options: LaunchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        fail_with(ValueError("no"), broken)
        run(spec(), store, options)
    assert spec().key in store.failures()
    assert run(spec(), store, options)[0].kind == "finished"
    assert not list((store.root / "failed").iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_ends_the_launch_in_one_line(
    number: int, store: Store, options: LaunchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(OSError(number, "full"), monkeypatch)
    options = replace(options, patience_minutes=0)
    with pytest.raises(SuiteError, match=f"cannot write to {options.root}: .*the same command goes on") as caught:
        run(spec(), store, options)
    assert caught.value.code is Exit.ENVIRONMENT
    with store.lock(spec().key).acquire(timeout=0):
        pass  # let go of


def test_a_run_waits_for_a_disk_that_is_full_for_now_and_goes_on(
    store: Store, options: LaunchOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the second checkpoint, as torch says it: in an error of its own."""
    saved: list[Path] = []
    whole = module.run_stream

    def full_once(*arguments: Any, **named: Any) -> Any:
        from grace.training import checkpoint

        real = checkpoint.save

        def save(path: Path, state: dict[str, Any]) -> None:
            saved.append(path)
            if len(saved) == 2:
                try:
                    raise OSError(errno.ENOSPC, "No space left on device")
                except OSError as error:
                    raise RuntimeError("PytorchStreamWriter failed writing file") from error
            real(path, state)

        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, "save", save)
            return whole(*arguments, **named)

    monkeypatch.setattr(module, "run_stream", full_once)
    end, events = run(spec(), store, options)
    assert end.kind == "finished"
    waits = [event.fields["reason"] for event in events if event.fields.get("state") == "waiting"]
    assert waits == [f"waiting up to 10 minutes: cannot write to {options.root}: No space left on device"]
    monkeypatch.setattr(module, "run_stream", whole)
    other = Store.open(tmp_path / "other", write=True)
    run(spec(), other, replace(options, root=other.root))
    assert store.read(spec().key).digest() == other.read(spec().key).digest()


def test_a_run_waits_for_a_root_that_is_gone_for_now_and_goes_on(
    store: Store, options: LaunchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = options.root.with_name("elsewhere")
    back = threading.Timer(1.5, lambda: beside.rename(options.root))
    events: list[Event] = []

    def observe(event: Event) -> None:
        events.append(event)
        if event.kind == "task" and event.fields["task"] == 1 and not back.ident:
            options.root.rename(beside)
            back.start()

    end = attempt(spec(), store, options, observe, never, CODE)
    assert end.kind == "finished"
    why = f"results root {options.root} is away: store.json: No such file or directory"
    assert [event.fields["reason"] for event in events if event.kind == "lane"] == [f"waiting up to 10 minutes: {why}"]
    assert store.done(spec().key)
    assert not beside.exists()
    tasks = [event.fields["task"] for event in events if event.kind == "task"]
    assert tasks in ([0, 1, 2, 3, 4], [0, 1, 1, 2, 3, 4], [0, 1, 2, 2, 3, 4])  # no more than one is learned again


def test_a_run_tells_its_log_how_it_goes(store: Store, options: LaunchOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    run(spec(), store, options)
    text = logs.path(store.root, spec().key).read_text()
    assert [line.partition(" ")[2].partition(":")[0] for line in text.splitlines()] == [
        f"run {spec().label} ({spec().key}) on {socket.gethostname()}, cpu, process {os.getpid()}",
        "task 1 of 5, initial, epoch 1 of 1",
        *(f"task {task} of 5" for task in range(1, 6)),
        "finished",
    ]
    fail_with(ValueError("it broke"), monkeypatch)
    run(spec(1), store, options)
    assert logs.last_words(logs.path(store.root, spec(1).key)).endswith("failed ValueError: it broke")


def test_a_loss_that_is_not_finite_is_found(store: Store, options: LaunchOptions) -> None:
    wild = {"initial": {"epochs": 3, "lr": 1e30, "batch_size": 8}, "later": {"epochs": 1}}
    end, _ = run(spec(config=wild), store, options)
    assert end.fields["kind"] == "non-finite"
    assert "task 0, phase initial, epoch" in end.fields["reason"]
    assert re.fullmatch(r".*/grace/training/shared\.py:\d+", end.fields["where"])
    assert end.fields["where"] in end.fields["reason"]
    assert "learning rate 1e+30: ce is " in end.fields["reason"]


def test_more_exemplars_than_images_is_a_failure_that_says_so(store: Store, options: LaunchOptions) -> None:
    end, _ = run(too_many_exemplars(), store, options)
    assert end.fields["kind"] == "data"
    assert "41/class exemplars are wanted, and a class of toy has 40 images" in end.fields["reason"]


def test_ctrl_c_is_not_a_failure(store: Store, options: LaunchOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(KeyboardInterrupt(), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(spec(), store, options)
    assert store.failures() == {}
    with store.lock(spec().key).acquire(timeout=0):
        pass


def test_the_frame_named_is_the_last_of_ours() -> None:
    def deep() -> None:
        json.loads("{")

    try:
        deep()
    except ValueError as error:
        found = failure_of(spec(), error)
    assert "decoder.py" in found.where  # none is ours: the very last
    assert found.where.rpartition(" in ")[2] == "raw_decode"


def test_a_gpu_is_set_up_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"PYTORCH_ALLOC_CONF": "the user's own"}
    monkeypatch.setattr(os, "environ", there)
    exact(1, torch.device("cpu"), "fp32")
    assert "CUBLAS_WORKSPACE_CONFIG" not in there
    exact(1, torch.device("cuda"), "fp32")
    assert there["CUBLAS_WORKSPACE_CONFIG"] in (":16:8", ":4096:8")  # the two that are deterministic
    assert there["PYTORCH_ALLOC_CONF"] == "the user's own"


@pytest.mark.parametrize("precision", ["tf32", "fp32", "bf16"])
def test_runs_are_exact(precision: str) -> None:
    exact(1, torch.device("cpu"), "fp32" if precision == "tf32" else "tf32")  # what a process did before
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    exact(1, torch.device("cpu"), precision)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == 1
    assert not torch.backends.cudnn.benchmark
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    assert torch.backends.cudnn.conv.fp32_precision == ("tf32" if precision == "tf32" else "ieee")
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"


def test_a_precision_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="precision fp8 is not known; known: fp32, tf32, bf16"):
        exact(1, torch.device("cpu"), "fp8")


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for what is missing")
def test_a_gpu_that_is_not_there() -> None:
    assert device_for(None).type == "cpu"
    assert device_for(0).type == "cpu"
    with pytest.raises(SuiteError, match="--gpus-per-run 0") as caught:
        device_for(0.5)
    assert caught.value.code is Exit.ENVIRONMENT


def test_options_that_cannot_be_meant(tmp_path: Path) -> None:
    for bad in ({"cpus_per_run": 0}, {"gpus_per_run": 2}, {"gpus_per_run": -0.5}, {"max_concurrent": 0}):
        with pytest.raises(SuiteError, match=rf"{next(iter(bad)).replace('_', '.')} must") as caught:
            LaunchOptions(root=tmp_path, data=tmp_path, **bad)  # type: ignore[arg-type]
        assert caught.value.code is Exit.USAGE
    with pytest.raises(SuiteError, match=r'unknown engine "egaer"; did you mean "eager"\? known: auto, ') as caught:
        LaunchOptions(root=tmp_path, data=tmp_path, engine="egaer")  # type: ignore[arg-type]
    assert caught.value.code is Exit.USAGE
    assert LaunchOptions(root=Path("here"), data=Path("there")).root.is_absolute()


def test_provenance_of_this_checkout() -> None:
    found = code()
    assert found["version"] or found["commit"]
    assert found["commit"] is None or len(found["commit"]) == 40
    assert environment("a device", 3, "eager")["engine"] == "eager"
    assert set(environment("a device", 3, "auto")) == {"python", "torch", "torchvision", "ray", "numpy", "device",
                                                       "threads", "engine", "host"}  # fmt: skip


def test_stopped_is_no_failure(store: Store, options: LaunchOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(Stopped(), monkeypatch)
    assert run(spec(), store, options)[0].kind == "stopped"
    assert store.failures() == {}
