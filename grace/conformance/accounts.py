"""What a method leaves on record: its size, its traces, and what its class says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args, get_type_hints

from torch import Tensor, nn

from grace.conformance.stream import PROTOCOL, SPEC, WIDTH, tiny
from grace.conformance.subject import Subject, run
from grace.learner import Learner
from grace.nets.heads import LinearHead
from grace.run import TaskRecord
from grace.training.trainer import Progress


def footprint(subject: Subject) -> None:
    """Is as large as its class variables declare, and as what its checkpoint holds."""
    learner = subject.build(epochs=1)
    counts: list[dict[str, int]] = []
    heads: list[type] = []

    def look(progress: Progress) -> bool:
        if progress.phase == "evaluate":
            counts.append(_counted(learner))
            heads.append(type(learner.net.head))
        return False

    records = run(learner, observe=look)
    for task, (record, counted) in enumerate(zip(records, counts, strict=True)):
        held, classes = record.footprint, 2 * (task + 1)
        for name, number in counted.items():
            found = getattr(held, name)
            subject.demand(found == number, f"task {task}: {name} is {found} on record and {number} in the checkpoint")
        branches = _branches(subject, record)
        stem, branch = _sizes(subject.learner.signed, subject.learner.shared_stem)
        wanted = stem + branches * branch
        subject.demand(
            held.backbone_parameters == wanted,
            f"task {task}: {held.backbone_parameters} parameters of backbones, growth {subject.learner.growth} and "
            f"{branches} branches make {wanted}",
        )
        if heads[task] is LinearHead:
            wanted = (WIDTH * branches + 1) * classes
            text = (
                f"task {task}: {held.head_parameters} parameters of a linear head on {branches} branches, not {wanted}"
            )
            subject.demand(held.head_parameters == wanted, text)
        if subject.learner.remember is Learner.remember:
            wanted = classes * PROTOCOL.budget.share(classes) if subject.learner.uses_memory else 0
            subject.demand(
                held.exemplars == wanted, f"task {task}: {held.exemplars} exemplars, not {wanted}", "remember"
            )


def records(subject: Subject) -> None:
    """Leaves records that tell everything a table needs."""
    found = run(subject.build())
    for task, record in enumerate(found):
        try:
            json.dumps([record.notes, record.phases])
        except (TypeError, ValueError) as error:
            subject.fail(f"task {task}: notes are plain values only: {error}")
        where = (record.task, record.known, record.seen)
        subject.demand(where == (task, 2 * task, 2 * task + 2), f"task {task} is on record as {where}")
        for name, best in record.predictions.items():
            shape = (len(record.labels), min(5, record.seen))
            text = f"task {task}: {name} scores {tuple(best.shape)}, {shape} is wanted"
            subject.demand(tuple(best.shape) == shape, text, "readouts")
            rows = best.tolist()
            sound = all(len(set(row)) == len(row) and min(row) >= 0 and max(row) < record.seen for row in rows)
            subject.demand(sound, f"task {task}: {name} gives classes twice, or classes not seen yet", "readouts")
        for phase in record.phases:
            whole = all(len(values) == phase["epochs"] for values in phase["losses"].values())
            subject.demand(whole, f"task {task}, phase {phase['name']}: not every epoch has each loss term")
            busy = phase["seconds"] > 0 and phase["images"] > 0 and phase["parameters"] > 0
            subject.demand(busy, f"task {task}, phase {phase['name']} trained nothing")
    _readouts(subject, found)


def class_variables(subject: Subject) -> None:
    """Says what it is: title, family, docstring; and its Config has defaults that are valid."""
    of, families = subject.learner, get_args(get_args(get_type_hints(Learner)["family"])[0])
    subject.demand(bool(getattr(of, "title", "")), "no title: class variable `title`, with the paper's capitals", "")
    family = getattr(of, "family", "")
    subject.demand(family in families, f'family "{family}" is none of {", ".join(families)}', "")
    bound = family == "upper bound"
    subject.demand(of.cumulative == bound, "cumulative and the family `upper bound` go together", "")
    subject.demand(
        bool((of.__doc__ or "").strip()), "no docstring: what it does and how it departs from its source", ""
    )
    try:
        subject.config()
    except Exception as error:
        subject.fail(f"Config() is not valid: {error}", "")


def _readouts(subject: Subject, found: list[TaskRecord]) -> None:
    """Check the names of the readouts: the headline first, the same in every task but those that depend on the task."""
    of = subject.learner
    names = [list(record.predictions) for record in found]
    subject.demand(all(names), "there is a task without a readout", "readouts")
    passing = [{"nme", *record.notes.get("offered", {})} for record in found]  # nme needs exemplars
    lasting = [set(each) - those for each, those in zip(names, passing, strict=True)]
    subject.demand(
        all(each == lasting[0] for each in lasting), f"readouts change from task to task: {names}", "readouts"
    )
    headline = of.headline if all(of.headline in each for each in names) else names[0][0]
    subject.demand(all(each[0] == headline for each in names), f"the headline {headline} comes first", "readouts")
    if of.readouts is Learner.readouts:
        wanted = {"linear", "nme"} if of.uses_memory else {"linear"}
        subject.demand(all(set(each) >= wanted for each in names), f"readouts {names[0]}, not {sorted(wanted)}")


def _counted(learner: Learner) -> dict[str, int]:
    """Count what the checkpoint holds, by another way than `grace.footprint`: by kind of tensor and by module."""
    net, saved = learner.net, learner.state_dict()
    entries = net.state_dict(keep_vars=True)
    backbone = sum(p.numel() for part in (net.stem, net.branches) if part is not None for p in part.parameters())
    head, aside = (sum(p.numel() for p in part.parameters()) for part in (net.head, net.aside))
    buffers = sum(t.numel() for t in entries.values() if not isinstance(t, nn.Parameter))
    state = list(_tensors(saved["state"]))
    exemplars = sum(len(rows) for rows in learner.memory.by_class.values())
    return {
        "parameters": backbone + head,
        "backbone_parameters": backbone,
        "head_parameters": head,
        "auxiliary_parameters": aside,
        "buffer_numbers": buffers,
        "state_numbers": sum(t.numel() for t in state),
        "model_bytes": sum(t.nbytes for t in [*entries.values(), *state]),
        "exemplars": exemplars,
        "exemplar_bytes": exemplars * SPEC.bytes_per_image,
    }


def _branches(subject: Subject, record: TaskRecord) -> int:
    """Return how many branches the class variable `growth` declares after a task."""
    if subject.learner.growth == "data":
        noted = record.notes.get("backbones")
        subject.demand(isinstance(noted, int), 'growth "data" is told by trainer.note(backbones=...) in every task')
        return int(noted or 0)
    return {"fixed": 1, "per-task": record.task + 1}[subject.learner.growth]


@cache
def _sizes(signed: bool, shared: bool) -> tuple[int, int]:
    """Return the parameters of a shared stem and of a branch of the tiny backbone."""
    parts = tiny(signed).split() if shared else (nn.Identity(), tiny(signed))
    front, rear = (sum(p.numel() for p in part.parameters()) for part in parts)
    return front, rear


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
