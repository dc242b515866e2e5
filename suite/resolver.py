"""From what a sweep wants to runs: settings folded together, memory shared out, runs that others wait for put first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from grace.streams.protocol import Protocol
from suite import alignment
from suite.alignment import TRIES, Look, Measured
from suite.configure import amend, build, plain, recipes
from suite.declared import Declaration, declared
from suite.own_presets import folded, own_preset, settings_in
from suite.plugin import PluginError
from suite.plugins import digest_of
from suite.presets import preset
from suite.spec import Allocation, RunSpec

if TYPE_CHECKING:
    from suite.sweep import Sweep


@dataclass(frozen=True)
class Choice:
    """One method on one protocol: its resolved settings and where they come from."""

    method: str
    protocol: Protocol
    config: dict[str, Any]
    source: str
    exact: bool  # whether the preset is this protocol's own
    broken: str = ""  # why the method's plugin cannot even say what it wants: its runs will fail with it
    tuned_on: dict[str, Any] | None = None  # how a search found them, where one did; see suite.search
    remark: str = ""  # what the user may not expect of them


@dataclass(frozen=True)
class Wish:
    """A run that is wanted but not there to be done: its budget waits for another run, or cannot be met at all."""

    method: str
    protocol: str
    order_seed: int
    train_seed: int
    reason: str  # in words
    waits_for: str = ""  # label of the run that must be finished first; empty: it cannot be

    @property
    def label(self) -> str:
        """How people read it."""
        return f"{self.method} {self.protocol} o{self.order_seed} s{self.train_seed}"


@dataclass(frozen=True)
class Resolution:
    """What a sweep comes to: the runs that can be named, each with the choice of settings behind it, and the others."""

    runs: list[tuple[RunSpec, Choice]]
    wishes: list[Wish]


def resolved(sweep: Sweep, methods: list[str], streams: list[Protocol], look: Look) -> Resolution:
    """Return the runs protocol by protocol, seed by seed, so that tables fill evenly; each once."""
    found = _Resolver(sweep, look)
    for protocol in streams:
        for order, seed, name in product(sweep.orders, sweep.seeds, methods):
            found.add(name, protocol, order, seed)
    return Resolution(list(found.runs.values()), found.wishes)


class _Resolver:
    """Gathers runs by key, and wishes. `look` knows what finished runs hold."""

    def __init__(self, sweep: Sweep, look: Look) -> None:
        self.runs: dict[str, tuple[RunSpec, Choice]] = {}
        self.wishes: list[Wish] = []
        self._sweep, self._look = sweep, look
        self._choices: dict[tuple[str, str], Choice] = {}

    def add(self, name: str, protocol: Protocol, order: int, seed: int) -> None:
        """Take in one wanted run: itself, the run that it waits for, or why it cannot be."""
        if not protocol.alignment:
            self._take(name, protocol, order, seed)
            return
        wish = Wish(name, protocol.name, order, seed, "")
        try:
            method = declared(name)
        except PluginError:  # it fails with that, like any run of its
            self._take(name, protocol, order, seed)
            return
        measured = self._reference(protocol, order, seed)
        if isinstance(measured, RunSpec):
            words = f"its budget is what {measured.label} holds"
            self.wishes.append(replace(wish, reason=words, waits_for=measured.label))
            return
        size = alignment.budget(protocol, measured)
        share = self._share(method, protocol, order, seed, size)
        if isinstance(share, RunSpec):
            words = f"how many backbones it keeps is seen in {share.label}"
            self.wishes.append(replace(wish, reason=words, waits_for=share.label))
        elif isinstance(share, str):
            self.wishes.append(replace(wish, reason=share))
        else:
            spec = self._spec(name, protocol, order, seed, share)
            own = alignment.bare(protocol)
            if spec.stream.identity() == own.identity() and self._look(spec.key) is None:
                twin = self._take(name, own, order, seed)  # the same content without alignment: trained once
                if self._look(twin.key) is None:
                    words = f"it is {twin.label} under another name"
                    self.wishes.append(replace(wish, reason=words, waits_for=twin.label))
                    return
            self.runs.setdefault(spec.key, (spec, self._choice(name, protocol)))

    def _reference(self, protocol: Protocol, order: int, seed: int) -> Measured | RunSpec | None:
        """Return what the method that all are aligned to holds, or its run if that is not finished; None for none."""
        method = alignment.reference(protocol)
        if method is None:
            return None
        spec = self._spec(method.name, alignment.bare(protocol), order, seed)
        return self._look(spec.key) or self._take(method.name, alignment.bare(protocol), order, seed)

    def _share(
        self, method: Declaration, protocol: Protocol, order: int, seed: int, size: int
    ) -> Allocation | RunSpec | str:
        """Return how a method spends a budget, why it cannot, or the run that must be finished to know.

        Where the images decide about backbones it is solved for as many as the run with the protocol's own memory has.
        Other memory may lead to other decisions: then it is solved anew, a few times at most.
        """
        if method.growth != "data":
            return alignment.allocate(method, protocol, size)
        own = alignment.pilot(method, protocol)
        first = self._spec(method.name, own, order, seed)
        found = self._look(first.key)
        if found is None:
            return self._take(method.name, own, order, seed)
        seen = [found.branches]
        for _ in range(TRIES):
            share = alignment.allocate(method, protocol, size, seen[-1])
            if isinstance(share, str):
                return share
            found = self._look(self._spec(method.name, protocol, order, seed, share).key)
            if found is None or found.branches == seen[-1]:
                return share
            seen.append(found.branches)
        return f"how many backbones it keeps did not settle in {TRIES} tries: {', '.join(map(str, seen))}"

    def _take(self, name: str, protocol: Protocol, order: int, seed: int) -> RunSpec:
        spec = self._spec(name, protocol, order, seed)
        self.runs.setdefault(spec.key, (spec, self._choice(name, protocol)))
        return spec

    def _choice(self, name: str, protocol: Protocol) -> Choice:
        of = name, protocol.name
        if of not in self._choices:
            self._choices[of] = choice(self._sweep, name, protocol)
        return self._choices[of]

    def _spec(
        self, name: str, protocol: Protocol, order: int, seed: int, allocation: Allocation | None = None
    ) -> RunSpec:
        return RunSpec(
            method=name,
            config=self._choice(name, protocol).config,
            protocol=protocol,
            order_seed=order,
            train_seed=seed,
            precision=self._sweep.precision,
            workers=self._sweep.workers,
            plugin=digest_of(name),
            smoke=self._sweep.limit_epochs is not None,
            allocation=allocation,
        )


def choice(sweep: Sweep, name: str, protocol: Protocol) -> Choice:
    """Fold defaults, preset and the user's settings; epochs follow the protocol unless the user gave them."""
    try:
        kind = declared(name).config
    except PluginError as error:
        return Choice(name, protocol, {}, "", True, str(error))
    bare = alignment.bare(protocol)
    published, source, exact = preset(name, bare)
    own, tuned_on, remark = sweep.method.get(name, {}), None, ""
    if found := own_preset(sweep.presets, name, bare):
        own = folded(settings_in(found[1]), own)
        source, exact, tuned_on = found[1].get("source", ""), True, found[1].get("tuned_on")
    elif name in sweep.presets:
        remark = f"{name} on {bare.name}: --presets has no table for it, only for {', '.join(sweep.presets[name])}"
    base = build(kind, published, f"preset of {name}")
    config = amend(base, own, f"method.{name}")
    timed = {}
    for field, recipe in recipes(base).items():
        given = own.get(field, {})
        epochs = given.get("epochs")
        factor = protocol.schedule if epochs is None else epochs / recipe.epochs
        # what the user wrote stays as written; milestones not written move along with the epochs
        timed[field] = amend(recipe.scaled(factor), given, f"method.{name}.{field}")
        if sweep.limit_epochs is not None:
            timed[field] = timed[field].limited(sweep.limit_epochs)
    config = replace(config, **timed)
    return Choice(name, protocol, plain(config), source, exact, tuned_on=tuned_on, remark=remark)
