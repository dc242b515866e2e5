"""A run: the tasks of a stream in order, one evaluation, and a checkpoint after every task."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from grace.contract import Contract, WatchedTrainer
from grace.footprint import Footprint, footprint
from grace.learner import Learner, Readouts
from grace.nets.arithmetic import PLAIN, computing
from grace.storage.folders import Folder
from grace.streams.protocol import Protocol
from grace.streams.samples import Dataset, Task
from grace.streams.stream import tasks
from grace.training import checkpoint
from grace.training.engine import Engine
from grace.training.parallel import ALONE, Ranks
from grace.training.shared import Sharing
from grace.training.steps import arithmetic
from grace.training.trainer import EVALUATION_BATCH, Observer, Progress, Stopped, Trainer

FAST = Engine()
TOP = 5  # predictions kept per test image


@dataclass(frozen=True)
class TaskRecord:
    """What one task left behind; every metric is computed from the predictions."""

    task: int
    known: int
    seen: int
    labels: Tensor  # int16 [n], stream order, of the test images of every class seen, in dataset order
    predictions: dict[str, Tensor]  # readout -> int16 [n, min(5, seen)], best first; the first readout is the headline
    footprint: Footprint
    notes: dict[str, Any]  # the method's own trace
    phases: list[
        dict[str, Any]
    ]  # name, epochs, images, seconds, parameters, peak_bytes, losses per term, epoch; shared
    seconds: dict[str, float]  # learn, remember, evaluate

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy of the headline readout on all classes seen, a fraction."""
        return float(self._hits.double().mean())

    @property
    def _hits(self) -> Tensor:
        return next(iter(self.predictions.values()))[:, 0] == self.labels

    @property
    def trained(self) -> int:
        """Epochs of all phases."""
        return sum(phase["epochs"] for phase in self.phases)


def run_stream(
    learner: Learner,
    protocol: Protocol,
    train: Dataset,
    test: Dataset,
    *,
    seed: int,
    folder: Folder | None = None,
    device: torch.device | None = None,
    observe: Observer = lambda progress: False,
    checkpoint_seconds: float = 60.0,
    engine: Engine = FAST,
    ranks: Ranks = ALONE,
    sharing: Sharing | None = None,
) -> list[TaskRecord]:
    """Learn every task of the stream, going on from whatever `folder` holds; return a record per task.

    `observe` is told after every epoch and task; when it returns True the state is saved and Stopped is raised.
    A method that breaks its contract ends with a ContractError that names file and line, see `grace.contract`.
    `engine` says in which precision and by which way backbones compute. With several `ranks` all of them call this with
    the same arguments; `observe` is asked, and `folder` written, on rank 0 alone. Raises RanksDiffer, see
    `grace.training.parallel`. With `sharing`, runs of the same beginning train it once, and Busy is raised while
    another is at it.
    """
    observe = ranks.observer(observe)
    device = device or torch.device("cpu")
    path = None if folder is None else folder / "stream.pt"
    saved = ranks.load(path)
    records = [] if saved is None else [_record(plain) for plain in saved["records"]]
    count, contract = len(protocol.increments), Contract(learner, train, test)
    with computing(arithmetic(engine, device)):
        if saved is not None:
            learner.load_state_dict(saved["learner"])
            _tidy(folder if ranks.leads else None, len(records))  # a kill may have come between a save and its tidying
        for task in tasks(protocol, contract.train, contract.test, start=len(records), cumulative=learner.cumulative):
            trainer = WatchedTrainer(
                contract,
                task,
                seed=seed,
                device=device,
                folder=folder,
                tasks=count,
                observe=observe,
                checkpoint_seconds=checkpoint_seconds,
                engine=engine,
                trained=sum(earlier.trained for earlier in records),
                ranks=ranks,
                sharing=sharing,
            )
            record = _learned(learner, task, trainer, contract)
            records.append(record)
            if path is not None and folder is not None and ranks.leads:
                checkpoint.save(path, {"learner": learner.state_dict(), "records": [_plain(r) for r in records]})
                _tidy(folder, len(records))
            if observe(_progress(records, count)):
                raise Stopped
    return records


def _progress(records: list[TaskRecord], count: int) -> Progress:
    """Return what is told of the last of the tasks learned so far."""
    record, hits = records[-1], records[-1]._hits.double()
    old, held = record.labels < record.known, record.footprint
    grown = round(held.backbone_parameters / max(records[0].footprint.backbone_parameters, 1))
    return Progress(
        record.task,
        count,
        "evaluate",
        0,
        1,
        trained=sum(each.trained for each in records),
        accuracy=record.accuracy,
        old=float(hits[old].mean()) if record.known else None,
        new=float(hits[~old].mean()),
        seen=record.seen,
        backbones=int(record.notes.get("backbones") or max(1, grown)),
        parameters=held.parameters,
        memory_bytes=held.model_bytes + held.exemplar_bytes,
    )


def _learned(learner: Learner, task: Task, trainer: Trainer, contract: Contract) -> TaskRecord:
    """Learn one task, and return what it left behind once every checkpoint of it is written."""
    times = [time.monotonic()]
    contract.begin(task)
    try:
        learner.learn(task, trainer)
    finally:
        trainer.close()
    contract.rests("learn", task)
    times.append(time.monotonic())
    learner.remember(task, trainer)
    contract.rests("remember", task)
    trainer.ranks.agree(f"exemplars after task {task.index}", learner.memory.by_class)
    trainer.ranks.agree(f"weights and state after task {task.index}", learner.state_dict())
    times.append(time.monotonic())
    readouts = learner.readouts(task, trainer)
    contract.evaluate(task)
    predictions = evaluate(_all_readouts(readouts, trainer), task, trainer)
    times.append(time.monotonic())
    # the training time of an interrupted phase is in its log, so a resumed task counts all of it
    trained = sum(phase["seconds"] for phase in trainer.phases)
    seconds = {
        "learn": max(times[1] - times[0], trained),
        "remember": times[2] - times[1],
        "evaluate": times[3] - times[2],
    }
    return TaskRecord(
        task.index,
        task.known,
        task.seen,
        task.test.y.to(torch.int16),
        predictions,
        footprint(learner, task.train.source.bytes_per_image, evaluation_flops(readouts, task, trainer)),
        trainer.notes,
        trainer.phases,
        seconds,
    )


def _all_readouts(kept: Readouts, trainer: Trainer) -> Readouts:
    """Return the learner's readouts followed by the nets that this task's training offered, whose sizes are noted."""
    if not trainer.offered:
        return kept
    trainer.note(offered={name: sum(p.numel() for p in net.parameters()) for name, net in trainer.offered.items()})
    return lambda x: {**kept(x), **{name: net.logits(x) for name, net in trainer.offered.items()}}


@torch.no_grad()
def evaluate(readouts: Readouts, task: Task, trainer: Trainer) -> dict[str, Tensor]:
    """Return per readout the best classes int16 [n, min(5, seen)] of every test image of the classes seen."""
    found: dict[str, list[Tensor]] = {}
    own = trainer.ranks.share(task.test.rows, least=1)
    for x in task.test.source.stream(own, EVALUATION_BATCH, "test", 0):
        for name, scores in readouts(x.to(trainer.device)).items():
            best = scores.topk(min(TOP, task.seen), dim=1).indices
            found.setdefault(name, []).append(best.to(torch.int16))
    best_of_all = {name: trainer.ranks.gathered(torch.cat(pieces), task.test.rows) for name, pieces in found.items()}
    return {name: best.cpu() for name, best in best_of_all.items()}


@torch.no_grad()
def evaluation_flops(readouts: Readouts, task: Task, trainer: Trainer) -> int:
    """Return the floating-point operations of classifying one image, by torch's counter.

    It counts convolutions and matrix products, two for each multiply-add. The readouts are computed operation by
    operation for it, whatever computes them otherwise.
    """
    from torch.utils.flop_counter import FlopCounterMode

    x = task.test.source.batch(task.test.rows[:1], "test", 0).to(trainer.device)
    with computing(PLAIN), FlopCounterMode(display=False) as counter:
        readouts(x)
    return int(counter.get_total_flops())


def _tidy(folder: Folder | None, done: int) -> None:
    """Remove the phase files of the first `done` tasks: the stream's checkpoint holds what they led to."""
    for path in [] if folder is None else folder.glob("task*-*.pt"):
        if int(path.name.removeprefix("task").partition("-")[0]) < done:
            path.unlink(missing_ok=True)


def _plain(record: TaskRecord) -> dict[str, Any]:
    return {**vars(record), "footprint": asdict(record.footprint)}


def _record(plain: dict[str, Any]) -> TaskRecord:
    return TaskRecord(**{**plain, "footprint": Footprint(**plain["footprint"])})
