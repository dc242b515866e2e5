"""The registry: protocols by name, and what a protocol on a dataset has unless its name says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from grace.streams.protocol import Budget, Protocol
from grace.streams.registry import dataset


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What every protocol on one dataset has in common: the part that its name leaves out."""

    backbone: str
    budget: Budget
    schedule: float = 1.0
    after_base: str = ""  # backbone where the first task differs from the others; empty means the same
    called: str = ""  # how protocol names call the dataset; empty means by its name

    def backbone_for(self, base: int) -> str:
        """Return the backbone of B`base`, a larger first task being where the field changes the stem."""
        return self.after_base if base and self.after_base else self.backbone


REGISTERED: dict[str, Protocol] = {}
USUAL: dict[str, Usual] = {}


def usual(name: str, settings: Usual) -> None:
    """Declare what protocols on the dataset `name` have unless their name says otherwise."""
    USUAL[dataset(name).name] = settings


def class_incremental(name: str, *, base: int = 0, increment: int, source: str = "") -> Protocol:
    """Return B{base}I{increment} on the dataset `name` with its usual backbone, memory and schedule.

    A base equal to the increment is base 0, so that one stream has one name. Raises ValueError where the name is
    unknown or the numbers do not fit.
    """
    spec = dataset(name)
    settings, base = USUAL[spec.name], 0 if base == increment else base
    return Protocol(
        name=f"{settings.called or spec.name}-b{base}i{increment}",
        dataset=spec,
        base=base,
        increment=increment,
        budget=settings.budget,
        backbone=settings.backbone_for(base),
        schedule=settings.schedule,
        source=source,
    )


def register(protocol: Protocol) -> Protocol:
    """Add a protocol under its name and return it, or what is there already if that is the same stream.

    Raises ValueError when the name means another protocol, or more exemplars are wanted than there are images.
    """
    present = REGISTERED.setdefault(protocol.name, affordable(protocol))
    if present.identity() != protocol.identity():
        raise ValueError(f'protocol name "{protocol.name}" is taken by another protocol; choose another name')
    return present


def names() -> list[str]:
    """Return the names of the registered protocols, in the order of registration."""
    return list(REGISTERED)


def affordable(protocol: Protocol) -> Protocol:
    """Return the protocol; raises ValueError where its memory cannot be filled with the dataset's images."""
    spec, budget = protocol.dataset, protocol.budget
    most = spec.per_class if budget.per == "class" else spec.train_images
    if most is not None and budget.exemplars > most:
        images = f"{most} training images" + (" in its smallest class" if budget.per == "class" else "")
        raise ValueError(
            f"{spec.name} has {images}, too few for a memory of {budget}; at most {Budget(most, budget.per)}"
        )
    return protocol


def describe(protocol: Protocol) -> str:
    """Return the tasks in short: `6 tasks: 50+5x10`."""
    runs = [(size, len(list(group))) for size, group in groupby(protocol.increments)]
    sizes = "+".join(str(size) if count == 1 else f"{count}x{size}" for size, count in runs)
    tasks = len(protocol.increments)
    return f"{tasks} task{'s' if tasks > 1 else ''}: {sizes}"
