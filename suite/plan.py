"""Plans: a sweep minus what is finished, and what the rest costs as far as that can be known beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from grace.nets import BACKBONES
from suite.alignment import measured
from suite.declared import declared
from suite.finished import judged, kind
from suite.packing import Peak
from suite.plugin import PluginError
from suite.resolver import Choice, Wish
from suite.spec import RunSpec
from suite.sweep import Sweep, resolution

if TYPE_CHECKING:
    from suite.record import Failure
    from suite.store import Store

Bounds = tuple[int, int]  # least and most; equal where the number is certain
KEPT = 5 * 2  # bytes per test image, task and readout: five classes of two bytes


@dataclass(frozen=True)
class Cost:
    """What one run of a method on a protocol takes. None is unknown."""

    epochs: Bounds  # of all phases of all tasks
    images: Bounds | None  # seen in training: in every epoch the new images and the exemplars
    parameters: Bounds  # of the backbones after the last task
    disk: int | None  # bytes of predictions before compression


@dataclass(frozen=True)
class Planned:
    """One run of a plan."""

    spec: RunSpec
    choice: Choice
    cost: Cost
    done: bool
    failure: Failure | None  # of an earlier try, if it is not done
    rate: float | None  # seconds per image of finished runs of its kind; None where there is none
    peak: Peak | None  # of the most GPU memory among those

    @property
    def failed(self) -> str:
        """Why it failed before, or nothing."""
        return self.failure.reason if self.failure else ""

    @property
    def seconds(self) -> tuple[float, float] | None:
        """Expected time on what the finished runs ran on; None is unknown."""
        images = self.cost.images
        return None if self.rate is None or images is None else (self.rate * images[0], self.rate * images[1])

    def row(self) -> dict[str, Any]:
        """Return the run as scripts read it."""
        spec = self.spec
        return {
            "key": spec.key,
            "method": spec.method,
            "protocol": spec.protocol.name,
            "order_seed": spec.order_seed,
            "train_seed": spec.train_seed,
            "precision": spec.precision,
            "workers": spec.workers,
            "done": self.done,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep in their order, and the wishes that are no runs yet or never will be."""

    runs: list[Planned]
    wishes: list[Wish] = field(default_factory=list)

    @property
    def left(self) -> list[Planned]:
        """The runs still to do, those that failed before among them."""
        return [run for run in self.runs if not run.done]

    @property
    def notes(self) -> list[str]:
        """Where settings were borrowed from another protocol."""
        choices = {(run.choice.method, run.choice.protocol.name): run.choice for run in self.runs}
        borrowed = [
            f"{method} on {name}: {choice.source}" for (method, name), choice in choices.items() if not choice.exact
        ]
        return [*borrowed, *dict.fromkeys(choice.remark for choice in choices.values() if choice.remark)]

    @property
    def waiting(self) -> list[Wish]:
        """What can be said only when another run is finished."""
        return [wish for wish in self.wishes if wish.waits_for]

    @property
    def unmet(self) -> list[Wish]:
        """What cannot be: a budget that a method does not fit in."""
        return [wish for wish in self.wishes if not wish.waits_for]

    @property
    def broken(self) -> list[str]:
        """What is wrong with plugins whose runs can only fail."""
        return list(dict.fromkeys(run.choice.broken for run in self.left if run.choice.broken))

    def total(self, what: str) -> Bounds | None:
        """Return `epochs` or `images` of the runs left, or None where one is unknown."""
        each: list[Bounds | None] = [getattr(run.cost, what) for run in self.left]
        known = [bounds for bounds in each if bounds is not None]
        return (sum(low for low, _ in known), sum(high for _, high in known)) if len(known) == len(each) else None

    @property
    def disk(self) -> int | None:
        """Bytes of predictions of the runs left, or None where one is unknown."""
        sizes = [run.cost.disk for run in self.left]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    @property
    def seconds(self) -> tuple[float, float]:
        """Expected time of those runs left of which it is known, one after the other."""
        known = [run.seconds for run in self.left if run.seconds is not None]
        return sum(low for low, _ in known), sum(high for _, high in known)

    @property
    def untimed(self) -> int:
        """How many of the runs left have no finished run to judge their time by."""
        return sum(run.seconds is None for run in self.left)


def plan(sweep: Sweep, store: Store) -> Plan:
    """Return what the sweep wants and what of it the store lacks; raises SuiteError for whatever does not fit."""
    wanted = resolution(sweep, measured(store))
    pairs = wanted.runs
    done = store.finished(spec.key for spec, _ in pairs)
    failures = store.failures()
    costs: dict[tuple[str, str], Cost] = {}
    for spec, choice in pairs:  # runs of one kind share it; on an aligned protocol each may have its own memory
        if _alike(spec) not in costs:
            costs[_alike(spec)] = cost(replace(choice, protocol=spec.stream))
    rates, peaks = judged(store)
    kinds = ((spec, choice, kind(spec.identity())) for spec, choice in pairs)
    return Plan(
        [
            Planned(
                spec=spec,
                choice=choice,
                cost=costs[_alike(spec)],
                done=spec.key in done,
                failure=None if spec.key in done else failures.get(spec.key),
                rate=rates.get(of),
                peak=peaks.get(of),
            )
            for spec, choice, of in kinds
        ],
        wanted.wishes,
    )


def _alike(spec: RunSpec) -> tuple[str, str]:
    """Return what runs of equal cost have in common."""
    return spec.method, f"{spec.protocol.name} {spec.allocation}"


def cost(choice: Choice) -> Cost:
    """Return what one run takes, by its recipes and the dataset's counts.

    Of a Config's recipes the one called `initial` is the first task's and every other one each later task's; with
    `initial` alone every task has it, or no later one where those are solved. Where the images decide about growth,
    only the first of the others is certain.
    """
    try:
        method, protocol, spec = declared(choice.method), choice.protocol, choice.protocol.dataset
    except PluginError:  # its runs fail at once
        return Cost((0, 0), (0, 0), (0, 0), 0)
    recipes = {name: value["epochs"] for name, value in choice.config.items() if isinstance(value, dict)}
    first = recipes.pop("initial", 0) or sum(recipes.values())
    later = list(recipes.values()) or [0 if method.closed_form else first]
    least, most = sum(later[:1] if method.growth == "data" else later), sum(later)
    epochs: list[Bounds] = [(first, first), *[(least, most)] * (len(protocol.increments) - 1)]
    backbone, tasks = BACKBONES[protocol.backbone], len(protocol.increments)
    branch = backbone.last_stage if method.shared_stem else backbone.parameters
    stem = backbone.parameters - branch
    branches = {"fixed": (1, 1), "per-task": (tasks, tasks)}.get(method.growth, (1, tasks))
    seen = [sum(protocol.increments[: task + 1]) for task in range(tasks)]
    readouts = 2 if method.uses_memory and protocol.budget.exemplars else 1
    tested = None if spec.test_images is None else sum(spec.test_images * count // spec.classes for count in seen)
    return Cost(
        epochs=(sum(low for low, _ in epochs), sum(high for _, high in epochs)),
        images=_images(choice, epochs),
        parameters=(stem + branches[0] * branch, stem + branches[1] * branch),
        disk=None if tested is None else tested * readouts * KEPT,
    )


def _images(choice: Choice, epochs: list[Bounds]) -> Bounds | None:
    """Return the images that the epochs of all tasks go through, as if every class had as many as the mean."""
    method, protocol = declared(choice.method), choice.protocol
    if protocol.dataset.train_images is None:
        return None
    per_class = protocol.dataset.train_images / protocol.dataset.classes
    low, high, known = 0.0, 0.0, 0
    for size, (least, most) in zip(protocol.increments, epochs, strict=True):
        kept = min(protocol.budget.share(known), per_class) * known if known and method.uses_memory else 0.0
        images = per_class * size + (per_class * known if method.cumulative else kept)
        low, high, known = low + least * images, high + most * images, known + size
    return round(low), round(high)
