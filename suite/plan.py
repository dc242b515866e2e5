"""Plans: a sweep minus what is finished, and what the rest costs as far as that can be known beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from grace.nets import BACKBONES
from suite.alignment import measured
from suite.declared import declared
from suite.errors import SuiteError
from suite.plugin import PluginError
from suite.resolver import Choice, Wish
from suite.spec import RunSpec
from suite.sweep import Sweep, resolution

if TYPE_CHECKING:
    from suite.store import Store

Bounds = tuple[int, int]  # least and most; equal where the number is certain
KEPT = 5 * 2  # bytes per test image, task and readout: five classes of two bytes
SAMPLE = 100  # finished runs read to judge times by


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
    failed: str  # why it failed before, or nothing
    rate: float | None  # seconds per image of finished runs of its kind; None where there is none

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


def longest_first(runs: Sequence[Planned]) -> list[Planned]:
    """Return runs in the order in which several at a time are done soonest: those that take longest begin.

    By finished runs of the same kind; a kind without any is taken to be as fast per image as the others are in the
    middle. Runs of which nothing is known come first, equal ones stay in their order.
    """
    typical = median([run.rate for run in runs if run.rate is not None] or [1.0])

    def expected(run: Planned) -> float:
        images = run.cost.images
        return float("inf") if images is None else images[1] * (typical if run.rate is None else run.rate)

    return sorted(runs, key=expected, reverse=True)


def plan(sweep: Sweep, store: Store) -> Plan:
    """Return what the sweep wants and what of it the store lacks; raises SuiteError for whatever does not fit."""
    wanted = resolution(sweep, measured(store))
    pairs = wanted.runs
    done = {spec.key for spec, _ in pairs if store.done(spec.key)}
    failures = store.failures()
    costs: dict[tuple[str, str], Cost] = {}
    for spec, choice in pairs:  # runs of one kind share it; on an aligned protocol each may have its own memory
        if _alike(spec) not in costs:
            costs[_alike(spec)] = cost(replace(choice, protocol=spec.stream))
    rates = _rates(store)
    return Plan(
        [
            Planned(
                spec=spec,
                choice=choice,
                cost=costs[_alike(spec)],
                done=spec.key in done,
                failed=failures[spec.key].reason if spec.key in failures and spec.key not in done else "",
                rate=rates.get(_kind(spec.identity())),
            )
            for spec, choice in pairs
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


def _kind(spec: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what runs have in common whose time per image is alike; `spec` is a RunSpec's identity."""
    protocol = spec["protocol"]
    arithmetic = spec["precision"], spec.get("workers", 1)
    return spec["method"], protocol["backbone"], protocol["dataset"]["name"], *arithmetic


def _rates(store: Store) -> dict[tuple[Any, ...], float]:
    """Return the median seconds per training image of finished runs, by kind."""
    found: dict[tuple[Any, ...], list[float]] = {}
    for key in store.keys()[-SAMPLE:]:
        try:
            record = store.read(key, predictions=False)
        except SuiteError:  # damaged: set aside, and named by the store
            continue
        images = sum(phase["images"] for task in record.tasks for phase in task.phases)
        seconds = sum(value for task in record.tasks for value in task.seconds.values())
        if images:
            found.setdefault(_kind(record.spec), []).append(seconds / images)
    return {kind: median(rates) for kind, rates in found.items()}
