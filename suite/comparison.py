"""Finished runs beside published numbers: how far apart they are, and the first setting that keeps them from equal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, NamedTuple

from suite.account import MIB
from suite.grouping import Group, Row
from suite.published import METRICS, SETTINGS, THREE_ORDERS, UNKNOWN, Published, identity_of, of, part, settings_of
from suite.stats import Summary, summarise
from suite.sweep import usual_settings

HEADS = {"student": ("student", "linear")}  # of a source: the readouts that it may be here, if not of the same name
LENGTH = ("epochs", "milestones")  # the fields of a recipe that say how long
UNSAID = "the source does not say"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One published number beside the runs that come nearest to it, in percent and points."""

    method: str
    variant: str  # of its settings, where a protocol has runs with several
    protocol: str
    readout: str
    ours: Summary  # of a curve: its mean
    difference: float  # ours minus the published; of a curve the mean distance of its points
    verdict: str  # "agrees", "differs", "unverified" (would differ if anybody had checked it), "not comparable"
    setting: str  # the first that differs, where not comparable
    why: str  # what it is here and there
    remarks: tuple[str, ...]
    published: Published

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        names = ("method", "variant", "protocol", "readout", "difference", "verdict", "setting", "why")
        return {
            **{name: getattr(self, name) for name in names},
            "metric": self.published.metric,
            **self.ours._asdict(),
            "remarks": list(self.remarks),
            "published": self.published.plain(),
        }


class _Figure(NamedTuple):
    """Our figure by one readout, and how far it is from the published one."""

    readout: str
    ours: Summary
    difference: float


def compared(group: Group, identities: Mapping[str, Mapping[str, Any]], tolerance: float) -> Iterator[Compared]:
    """Yield what is published on the protocols of a group's runs, or else one setting away, beside those runs.

    `identities` are the protocols' by their id, as records hold them; the tolerance is in points.
    """
    for (name, id_), runs in group.runs.items():
        kept, identity = any(run["exemplars"] for run in runs), spent(identities[id_], runs[0])
        apart = [(entry.differing(identity, kept=kept), entry) for entry in of(group.method)]
        near = [(differing, entry) for differing, entry in apart if len(differing) <= 1]
        # where none is the same: the protocols of which the setting that differs weighs least
        least = max((_rank(differing) for differing, _ in near), default=0)
        for differing, entry in sorted(near, key=lambda pair: METRICS.index(pair[1].metric)):
            if _rank(differing) == least:
                yield from _beside(group, name, runs, identity, entry, differing, tolerance)


def spent(identity: Mapping[str, Any], run: Row) -> Mapping[str, Any]:
    """Return the protocol that an aligned one comes to for a run: with the exemplars and the backbone that it got.

    What is published at equal memory is known by its number of exemplars. Others are returned as they are.
    """
    if not identity.get("alignment") or run.get("budget_mb") is None:
        return identity
    plain = {name: value for name, value in identity.items() if name != "alignment"} | {"backbone": run["backbone"]}
    if not run["exemplars"]:
        return plain
    image = round(run["exemplar_mb"] * MIB / run["exemplars"])
    room = round(run["budget_mb"] * MIB) - 4 * run["backbone_params_final"]
    return plain | {"budget": {"exemplars": max(0, room // image), "per": "total"}}


def _rank(differing: Sequence[str]) -> int:
    return SETTINGS.index(differing[0]) if differing else len(SETTINGS)


def _beside(
    group: Group,
    name: str,
    runs: Sequence[Row],
    identity: Mapping[str, Any],
    entry: Published,
    differing: Sequence[str],
    tolerance: float,
) -> Iterator[Compared]:
    """Yield the comparison with one published number; nothing where the runs have no such figure."""
    ordered = [run for run in runs if entry.orders in (str(run["order_seed"]), THREE_ORDERS, UNKNOWN)]
    used = ordered or runs
    own = _figure(used, entry, _readouts(used, entry.head))
    figure = own or _figure(used, entry, _readouts(used, UNKNOWN))
    if figure is None:
        return
    within = abs(figure.difference) <= tolerance + entry.error
    setting, why = "", ""
    if differing:
        setting, why = differing[0], _both(identity, entry, differing[0])
    elif not ordered or (entry.orders == THREE_ORDERS and len(_orders(runs)) < 3):
        setting, why = "class orders", f"{', '.join(map(str, _orders(runs)))}, published {entry.orders}"
    elif own is None:
        setting, why = "head", f"{figure.readout}, published {entry.head}"
    elif entry.recipe:
        setting, why = "recipe", f"published: {entry.recipe}"
    else:
        setting, why = _recipe(group.method, used, identity, entry)
    if not setting and not within:
        setting = next(iter(_unsaid(entry)), "")
        why = UNSAID if setting else ""
    verdict = "agrees" if within else "differs" if entry.verified else "unverified"
    yield Compared(
        method=group.method,
        variant=group.variant,
        protocol=name,
        readout=figure.readout,
        ours=figure.ours,
        difference=figure.difference,
        verdict="not comparable" if setting else verdict,
        setting=setting,
        why=why,
        remarks=tuple(_remarks(group.method, runs, used, entry, figure.readout)),
        published=entry,
    )


def _unsaid(entry: Published) -> list[str]:
    """Return the settings of the protocol that a source leaves open."""
    return [name for name in SETTINGS if getattr(entry, name) == UNKNOWN]


def _orders(runs: Sequence[Row]) -> list[int]:
    return sorted({run["order_seed"] for run in runs})


def _readouts(runs: Sequence[Row], head: str) -> list[str]:
    """Return the readouts that may be a source's head: any where that is unknown, the headline first."""
    kept = [key.removesuffix("_avg") for key in runs[0] if key.endswith("_avg") and not key.endswith("top5_avg")]
    names = [runs[0]["readout"], *(name for name in kept if name != runs[0]["readout"])]
    return names if head == UNKNOWN else [name for name in HEADS.get(head, (head,)) if name in kept][:1]


def _figure(runs: Sequence[Row], entry: Published, readouts: Sequence[str]) -> _Figure | None:
    """Return our figure by whichever of the readouts comes nearest, None where the runs have none."""
    found = [figure for readout in readouts if (figure := _by(runs, entry, readout))]
    return min(found, key=lambda figure: abs(figure.difference), default=None)


def _by(runs: Sequence[Row], entry: Published, readout: str) -> _Figure | None:
    """Return our figure by one readout, None where a run lacks it. Curves are kept of the headline only."""
    if entry.metric == "curve":
        curves = [run["curve"] for run in runs if run["readout"] == readout and len(run["curve"]) == len(entry.values)]
        ours = summarise(100 * fsum(curve) / len(curve) for curve in curves)
        if ours is None or ours.n < len(runs):
            return None
        means = [100 * fsum(points) / ours.n for points in zip(*curves, strict=True)]
        apart = [abs(mean - value) for mean, value in zip(means, entry.values, strict=True)]
        return _Figure(readout, ours, fsum(apart) / len(apart))
    values = [run.get(f"{readout}_{entry.metric}") for run in runs]
    ours = summarise(None if value is None else 100 * value for value in values)
    return None if ours is None or ours.n < len(runs) else _Figure(readout, ours, ours.mean - entry.values[0])


def _both(identity: Mapping[str, Any], entry: Published, setting: str) -> str:
    """Return what a setting is here and there, in words that tell them apart."""
    ours, said = settings_of(identity)[setting], getattr(entry, setting)
    if ours != said:
        return f"{ours}, published {said}"
    here, there = part(identity, setting), part(identity_of(entry.protocol), setting)
    names = [name for name in here if here[name] != there.get(name)] if isinstance(here, dict) else []
    return f"{ours}, of another {names[0]}" if names else ours


def _recipe(method: str, runs: Sequence[Row], identity: Mapping[str, Any], entry: Published) -> tuple[str, str]:
    """Return "recipe" or "epochs" and what differs from the preset or default settings on the published protocol."""
    usual = usual_settings(method, entry.protocol.name)
    found = [] if usual is None else list(_changes(runs[0]["config"], usual))
    long = [text for path, text in found if path.rpartition(".")[2] in LENGTH]
    other = [text for path, text in found if path.rpartition(".")[2] not in LENGTH]
    if other:
        return "recipe", other[0]
    if any(run["smoke"] for run in runs):
        return "epochs", "cut short by --limit-epochs"
    if identity["schedule"] != entry.protocol.schedule:
        return "epochs", f"{identity['schedule']:g} of the usual, published {entry.protocol.schedule:g}"
    return ("epochs", long[0]) if long else ("", "")


def _changes(ours: Mapping[str, Any], usual: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and words of every setting that is not as usual."""
    for name in dict.fromkeys([*usual, *ours]):
        here, there = ours.get(name), usual.get(name)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            yield from _changes(here, there, f"{path}{name}.")
        elif here != there:
            yield f"{path}{name}", f"{path}{name} {json.dumps(here)}, usual {json.dumps(there)}"


def _remarks(method: str, runs: Sequence[Row], used: Sequence[Row], entry: Published, readout: str) -> Iterator[str]:
    """Yield what to mind that is no reason not to compare."""
    if used[0]["precision"] != "fp32":
        yield used[0]["precision"]
    if used[0]["workers"] > 1:
        yield f"{used[0]['workers']} workers"
    if entry.head == UNKNOWN:
        yield f"by {readout}: the head is not said"
    if len(used) < len(runs):
        yield f"{len(runs) - len(used)} of other class orders left out"
    if entry.orders == THREE_ORDERS:
        yield "other class orders"
    yield from (f"{what} not said" for what in [*_unsaid(entry), *["orders"] * (entry.orders == UNKNOWN)])
    if usual_settings(method, entry.protocol.name) is None:
        yield "settings unchecked"
