"""Phases that runs share: the same bits as without, once for all, and never for what could differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import nn

from grace.conformance.subject import difference, lasting
from grace.learner import Learner
from grace.nets.incremental import IncrementalNet
from grace.run import TaskRecord
from grace.streams.samples import Batch, Dataset, Samples, Task
from grace.streams.stream import tasks
from grace.training.engine import Engine
from grace.training.phase import Phase, Recipe
from grace.training.shared import Busy, CrossEntropy, Sharing
from grace.training.trainer import Progress
from tests.grace.streams_for_tests import PROTOCOL, Spy, build, data, run, tiny

TWO = replace(PROTOCOL, base=4, increment=2)  # two tasks
ALIKE = ["der", "ewc", "finetune", "grace", "icarl", "joint", "lwf", "replay", "wa"]  # one beginning in two epochs
APART = ["bic", "foster", "podnet", "simplecil"]


def sharing(folder: Path, run: str = "first", facts: str = "") -> Sharing:
    folder.mkdir(exist_ok=True)
    return Sharing(folder, facts, run, lambda key: FileLock(folder / f"{key}.lock"))


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.pt"))


def plain(records: list[TaskRecord]) -> list[dict[str, Any]]:
    """What must be equal: all but times, and who trained."""
    found = [lasting(record) for record in records]
    for record in found:
        record["phases"] = [{k: v for k, v in phase.items() if k != "shared"} for phase in record["phases"]]
    return found


def marks(records: list[TaskRecord]) -> list[str]:
    return [phase.get("shared", "") for record in records for phase in record.phases]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TaskRecord]]:
    """A folder with the beginning that fine-tuning trained, and its records."""
    folder = tmp_path_factory.mktemp("shared")
    return folder, run(build("finetune"), TWO, sharing=sharing(folder))


@pytest.mark.parametrize("name", ALIKE)
def test_methods_that_begin_alike_take_up_one_beginning(name: str, begun: tuple[Path, list[TaskRecord]]) -> None:
    folder, first = begun
    alone = build(name)
    expected, (entry,) = run(alone, TWO), entries(folder)
    before, told, learner = entry.read_bytes(), list[Progress](), build(name)
    found = run(learner, TWO, sharing=sharing(folder, "second"), observe=lambda p: bool(told.append(p)))  # type: ignore[func-returns-value]
    assert difference(plain(expected), plain(found)) == ""
    assert difference(alone.state_dict(), learner.state_dict()) == ""
    assert marks(found)[0] == "first"
    assert set(marks(found)[1:]) <= {""}
    assert found[0].phases[0]["seconds"] == first[0].phases[0]["seconds"] > 0  # what it cost, whoever paid
    assert found[0].seconds["learn"] >= first[0].phases[0]["seconds"]
    assert (told[0].phase, told[0].trained) == ("evaluate", 2)  # no epoch of the first task, and both count
    assert entries(folder) == [entry]
    assert entry.read_bytes() == before


def test_the_first_to_come_is_not_marked(begun: tuple[Path, list[TaskRecord]]) -> None:
    assert set(marks(begun[1])) == {""}
    assert set(marks(run(build("replay"), TWO, sharing=sharing(begun[0])))) == {""}  # the same run once more


def test_another_net_has_a_beginning_of_its_own(tmp_path: Path) -> None:
    expected = plain(run(build("memo"), TWO))
    for who, mark in (("first", ""), ("second", "first")):
        found = run(build("memo"), TWO, sharing=sharing(tmp_path, who))
        assert difference(expected, plain(found)) == ""
        assert marks(found)[0] == mark
    run(build("replay"), TWO, sharing=sharing(tmp_path))
    assert len(entries(tmp_path)) == 2


@pytest.mark.parametrize("name", APART)
def test_methods_with_beginnings_of_their_own_take_up_nobody_elses(
    name: str, begun: tuple[Path, list[TaskRecord]]
) -> None:
    assert set(marks(run(build(name), TWO, sharing=sharing(begun[0], "second")))) <= {""}


class Killed(BaseException):
    """Stands for kill -9."""


def killed_after(epochs: int) -> Callable[[Progress], bool]:
    def observe(progress: Progress) -> bool:
        if progress.trained > epochs:
            raise Killed  # the one before it is on the disk
        return False

    return observe


def test_a_beginning_cut_short_is_gone_on_with_by_the_next(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(build("finetune", 4), TWO, sharing=sharing(tmp_path), observe=killed_after(2), checkpoint_seconds=0)
    told: list[int] = []
    learner = build("replay", 4)
    found = run(
        learner,
        TWO,
        sharing=sharing(tmp_path, "second"),
        observe=lambda p: bool(told.append(p.trained)),  # type: ignore[func-returns-value]
    )
    assert told[0] in (2, 3)  # epochs of the first are not trained again
    assert difference(plain(run(build("replay", 4), TWO)), plain(found)) == ""
    assert set(marks(found)) == {""}
    assert marks(run(build("wa", 4), TWO, sharing=sharing(tmp_path, "third")))[0] == "second"


def test_while_another_trains_it_the_run_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(build("finetune", 3), TWO, sharing=sharing(tmp_path), observe=killed_after(1), checkpoint_seconds=0)
    (entry,) = entries(tmp_path)
    half, told = entry.read_bytes(), list[Progress]()
    with FileLock(tmp_path / f"{entry.stem}.lock"):
        with pytest.raises(Busy) as busy:
            run(build("replay", 3), TWO, sharing=sharing(tmp_path), observe=lambda p: bool(told.append(p)))  # type: ignore[func-returns-value]
        assert busy.value.key == entry.stem
        assert told == []
        assert entry.read_bytes() == half
    run(build("replay", 3), TWO, sharing=sharing(tmp_path, "second"))
    with FileLock(tmp_path / f"{entry.stem}.lock"):  # somebody reads it: no reason to wait
        assert marks(run(build("wa", 3), TWO, sharing=sharing(tmp_path, "third")))[0] == "second"


@pytest.mark.parametrize("damage", ["cut short", "a bit flipped"])
def test_a_damaged_beginning_is_trained_anew(damage: str, tmp_path: Path) -> None:
    run(build("finetune"), TWO, sharing=sharing(tmp_path))
    (entry,) = entries(tmp_path)
    content = bytearray(entry.read_bytes())
    if damage == "cut short":
        del content[len(content) // 2 :]
    else:
        weights = torch.load(entry, weights_only=True)["weights"][0]["head.weight"]
        place = bytes(content).index(weights.numpy().tobytes())
        content[place + 2] ^= 1
    entry.write_bytes(content)
    found = run(build("replay"), TWO, sharing=sharing(tmp_path, "second"))
    assert difference(plain(run(build("replay"), TWO)), plain(found)) == ""
    assert set(marks(found)) == {""}
    assert marks(run(build("wa"), TWO, sharing=sharing(tmp_path, "third")))[0] == "second"


def test_a_run_that_began_alone_goes_on_alone(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(build("replay", 3), TWO, folder=tmp_path / "own", observe=killed_after(1), checkpoint_seconds=0)
    found = run(build("replay", 3), TWO, folder=tmp_path / "own", sharing=sharing(tmp_path / "shared"))
    assert difference(plain(run(build("replay", 3), TWO)), plain(found)) == ""
    assert entries(tmp_path / "shared") == []


# Keys


def first(train: Dataset | None = None, order_seed: int = 1993) -> Task:
    own, test = data(TWO, order_seed)
    return next(tasks(TWO, train or own, test))


def net(signed: bool = False, seed: int = 0) -> IncrementalNet:
    torch.manual_seed(seed)
    made = IncrementalNet(partial(tiny, signed), torch.device("cpu"))
    made.add_branch()
    made.add_classes(4)
    return made


def phase(task: Task, of: IncrementalNet, **changes: Any) -> Phase:
    return replace(
        Phase(name="initial", trains=[of], data=task.train, loss=CrossEntropy(of), recipe=Recipe(2)), **changes
    )


def key(task: Task, made: Phase, seed: int = 0, facts: str = "", **engine: Any) -> str:
    return Sharing(Path(), facts, "", lambda key: FileLock(key)).key(made, task, seed, Engine(**engine))


def test_the_key_is_of_the_content() -> None:
    task, of = first(), net()
    same = key(task, phase(task, of))
    assert len(same) == 32
    again = first()
    assert key(again, phase(again, net())) == same
    assert key(task, phase(task, of), way="eager") == same  # which is what auto comes to for so little
    longer, other = replace(task.train, rows=task.train.rows.flip(0)), first(order_seed=1994)
    keys = [
        key(task, phase(task, of, recipe=Recipe(3))),
        key(task, phase(task, of, recipe=Recipe(2, lr=0.2))),
        key(task, phase(task, of, name="another")),
        key(task, phase(task, of, data=longer)),
        key(other, phase(other, of)),
        key(task, phase(task, of), seed=1),
        key(task, phase(task, of), facts="other"),
        key(task, phase(task, of), way="plain"),
        key(task, phase(task, of), way="compiled"),
        key(task, phase(task, net(seed=1))),
    ]
    signed = net(signed=True)  # the same weights by name and value, and another function
    assert difference(signed.state_dict(), of.state_dict()) == ""
    keys.append(key(task, phase(task, signed)))
    with torch.no_grad():
        of.head.bias[0] = -0.0  # equal, and yet another start
    keys.append(key(task, phase(task, of)))
    assert len({same, *keys}) == 1 + len(keys)


class Other(CrossEntropy):
    """Who knows what it does."""


class Head(nn.Linear):
    """Of a method from elsewhere."""


def test_what_a_key_cannot_tell_is_not_shared() -> None:
    task, of = first(), net()

    def loss(batch: Batch) -> dict[str, torch.Tensor]:
        return {"ce": F.cross_entropy(of.logits(batch.x), batch.y)}

    spied = Samples(Spy(task.train.source), task.train.rows)
    others: list[dict[str, Any]] = [
        {"loss": loss},
        {"loss": Other(of)},
        {"loss": CrossEntropy(net())},
        {"trains": [of.newest, of.head]},
        {"trains": [of, nn.Linear(1, 1)]},
        {"views": 2},
        {"adapts": [of.newest]},
        {"after_backward": lambda: None},
        {"data": spied},
    ]
    assert [key(task, phase(task, of, **changes)) for changes in others] == [""] * len(others)
    later = replace(task, index=1)
    assert key(later, phase(later, of)) == ""
    strange = [net(), net(), net(), net()]
    strange[0].aside["head"] = Head(1, 1)
    strange[1].newest.register_forward_hook(lambda module, arguments, output: None)
    strange[2].head.forward = lambda features: features  # type: ignore[method-assign]
    strange[3].newest.stem.extra = object()  # type: ignore[assignment]
    assert [key(task, phase(task, each)) for each in strange] == [""] * 4


def test_a_method_from_elsewhere_shares_by_beginning_alike(begun: tuple[Path, list[TaskRecord]]) -> None:
    from grace.methods.replay import Replay

    class Mine(Replay):
        title = "Mine"

    def mine() -> Learner:
        known = build("replay")
        learner = Mine(known.config, partial(tiny, False), known.memory.budget)
        return learner

    found = run(mine(), TWO, sharing=sharing(begun[0], "mine"))
    assert marks(found)[0] == "first"
    assert difference(plain(run(mine(), TWO)), plain(found)) == ""
