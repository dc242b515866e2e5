"""Equal memory: what a budget buys each method. Model first, exemplars with the rest. Imports neither torch nor ray.

Everything is in bytes by the survey's count (protocols.alignment): 4 per backbone parameter kept after the last task,
and the pixels of the exemplars. What is solved for the end holds after every task, since no method's backbones shrink.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from grace.nets import BACKBONES
from grace.streams.protocol import Protocol
from protocols.alignment import ladder
from protocols.suffixes import named_after
from suite.declared import Declaration, declared
from suite.errors import SuiteError
from suite.spec import Allocation

if TYPE_CHECKING:
    from suite.store import Store

MIB = 2**20
TRIES = 3  # of a method whose size depends on its memory, after a run with the protocol's own


class Measured(NamedTuple):
    """What a finished run turned out to hold."""

    branches: int  # backbones after the last task
    size: int  # bytes by the survey's count, the most after any task


Look = Callable[[str], Measured | None]  # key of a run -> what it held, None where it is not finished


def measured(store: Store) -> Look:
    """Return the look at a store's finished runs."""
    from suite.account import branches, survey_bytes

    def look(key: str) -> Measured | None:
        record = next(store.records([key], arrays=False), None)
        if record is None:
            return None
        return Measured(branches(record)[-1], max(survey_bytes(task.footprint) for task in record.tasks))

    return look


def unseen(key: str) -> None:
    """Return that a run is not finished: the look of those who have no store."""


def bare(protocol: Protocol) -> Protocol:
    """Return the protocol without its alignment."""
    name = protocol.name.removesuffix(f"+{protocol.alignment}")
    return replace(protocol, alignment="", name=name) if protocol.alignment else protocol


def kind(protocol: Protocol) -> tuple[str, str]:
    """Return how a protocol is aligned and by what: `("mb", "23.5")`."""
    name, _, value = protocol.alignment.partition("=")
    return name, value


def reference(protocol: Protocol) -> Declaration | None:
    """Return the method whose measured memory all get, None where the budget is known beforehand."""
    name, value = kind(protocol)
    if name != "align":
        return None
    method = declared(value)
    return method if method.growth == "data" else None


def budget(protocol: Protocol, found: Measured | None = None) -> int:
    """Return the budget of an aligned protocol in bytes; `found` is the reference's run where it must be measured.

    Raises SuiteError where it names no method.
    """
    name, value = kind(protocol)
    if name == "mb":
        return int(float(value) * MIB)
    own = bare(protocol)
    if name == "auc":
        steps = ladder(own.backbone)
        if value == "1":
            return 4 * BACKBONES[own.backbone].parameters + _exemplar_bytes(own)
        return 4 * len(own.increments) * BACKBONES[steps[int(value) - 1]].parameters + _exemplar_bytes(own)
    method = declared(value)
    if method.growth == "data":
        if found is None:
            raise SuiteError(f"{protocol.name}: the memory of {method.title} is known only after its run")
        return found.size
    kept = _exemplar_bytes(own) if method.uses_memory else 0
    return 4 * parameters(method, own.backbone, len(own.increments)) + kept


def _exemplars(protocol: Protocol) -> int:
    """Return the exemplars that a protocol allows after its last task."""
    return protocol.budget.exemplars * (sum(protocol.increments) if protocol.budget.per == "class" else 1)


def _exemplar_bytes(protocol: Protocol) -> int:
    return protocol.dataset.bytes_per_image * _exemplars(protocol)


def grown(method: Declaration, protocol: Protocol) -> str:
    """Return the backbone that a method has: the ladder's for methods that grow, else the protocol's own."""
    name, value = kind(protocol)
    if name != "auc" or method.growth == "fixed":
        return protocol.backbone
    return ladder(protocol.backbone)[int(value) - 1]


def parameters(method: Declaration, backbone: str, tasks: int, branches: int | None = None) -> int:
    """Return the backbone parameters that a method keeps after `tasks` tasks.

    `branches` are those that it has where the images decide; left out, as many as it can have.
    """
    count = 1 if method.growth == "fixed" else branches or tasks
    entry = BACKBONES[backbone]
    return entry.parameters + (count - 1) * (entry.last_stage if method.shared_stem else entry.parameters)


def allocate(method: Declaration, protocol: Protocol, size: int, branches: int | None = None) -> Allocation | str:
    """Return how a method spends `size` bytes on an aligned protocol, or why it cannot do with them.

    `branches` is for how many backbones to solve where the images decide. Exemplars are capped at the images there are.
    """
    backbone, tasks = grown(method, protocol), len(protocol.increments)
    model = 4 * parameters(method, backbone, tasks, branches)
    count = 1 if method.growth == "fixed" else branches or tasks
    if model > size:
        nets = f"its {count} backbones take" if count > 1 else "its backbone takes"
        return f"{nets} {model / MIB:.2f} MiB, the budget is {size / MIB:.2f}"
    if not method.uses_memory:
        return Allocation(backbone, None, size, branches)
    own, classes = bare(protocol), sum(protocol.increments)
    if method.name == kind(protocol)[1] and backbone == own.backbone:
        return Allocation(
            backbone, own.budget.exemplars * (classes if own.budget.per == "class" else 1), size, branches
        )
    most = protocol.dataset.train_images
    exemplars = (size - model) // protocol.dataset.bytes_per_image
    exemplars = exemplars if most is None else min(exemplars, most)
    if exemplars < classes:
        words = f"{exemplars} exemplars are left beside the network for {classes} classes"
        return f"{words}, the budget is {size / MIB:.2f} MiB"
    return Allocation(backbone, exemplars, size, branches)


def pilot(method: Declaration, protocol: Protocol) -> Protocol:
    """Return the protocol on which a method first shows how many backbones it keeps: not aligned, backbone as here."""
    own = bare(protocol)
    return named_after(own, replace(own, backbone=grown(method, protocol)))
