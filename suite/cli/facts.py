"""Everything there is to say about one protocol, method, dataset or backbone, as plain values."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

import protocols
from grace.methods import METHODS
from grace.nets import BACKBONES
from grace.streams.protocol import Protocol
from grace.streams.registry import DATASETS, dataset
from suite.alignment import allocate, bare, budget, grown, reference
from suite.configure import plain
from suite.declared import declared
from suite.errors import SuiteError
from suite.plugin import PluginError
from suite.presets import preset
from suite.spec import Allocation
from suite.sweep import find_protocol

Facts = dict[str, Any]


def facts_of(name: str, orders: list[int]) -> Facts:
    """Return the facts about whatever is called `name`; raises SuiteError with the nearest name."""
    if name.lower() in METHODS:
        return method_facts(name.lower())
    if name.lower() in BACKBONES:
        return backbone_facts(name.lower())
    try:
        return dataset_facts(dataset(name).name)
    except ValueError:
        pass
    try:
        return protocol_facts(find_protocol(name), orders)
    except SuiteError:
        if any(mark.isdigit() for mark in name) and any(mark in name for mark in "-_/+ "):
            raise  # meant as a protocol: its own complaint says more
        near = get_close_matches(name.lower(), [*METHODS, *BACKBONES, *DATASETS, *protocols.names()], n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"?' if near else "list shows all of them"
        raise SuiteError(f'unknown name "{name}"; {hint}') from None


def method_facts(name: str) -> Facts:
    """Return a method's declaration, its settings with their sources, and the protocols it is tuned for."""
    found = declared(name)
    presets = {of: preset(name, protocols.get(of)) for of in protocols.names()}
    return {
        "kind": "method",
        "name": name,
        "title": found.title,
        "about": found.about,
        "doc": found.doc,
        "family": found.family,
        "reference": found.reference,
        "growth": found.growth,
        "uses_memory": found.uses_memory,
        "cumulative": found.cumulative,
        "module": found.module,
        "fields": [
            {"field": field, "default": value, "comment": found.comments.get(field, "")}
            for field, value in plain(found.config()).items()
        ],
        "presets": [
            {"protocol": of, "values": chosen.values, "source": chosen.source}
            for of, chosen in presets.items()
            if chosen.exact and chosen.source
        ],
    }


def backbone_facts(name: str) -> Facts:
    """Return a backbone's entry, and the registered protocols on it."""
    return {
        "kind": "backbone",
        "name": name,
        **asdict(BACKBONES[name]),
        "protocols": [of for of in protocols.names() if protocols.get(of).backbone == name],
    }


def dataset_facts(name: str) -> Facts:
    """Return a dataset's declaration, and the registered protocols on it."""
    spec = DATASETS[name]
    return {
        "kind": "dataset",
        "read_as": spec.kind,
        **{field: value for field, value in asdict(spec).items() if field != "kind"},
        "bytes_per_exemplar": spec.bytes_per_image,
        "protocols": [of for of in protocols.names() if protocols.get(of).dataset.name == name],
    }


def protocol_facts(protocol: Protocol, orders: list[int]) -> Facts:
    """Return a protocol's stream task by task, its memory, net and views, and whose settings methods would use."""
    spec, entry = protocol.dataset, BACKBONES[protocol.backbone]
    presets = {name: preset(name, bare(protocol)) for name in METHODS}
    return {
        "kind": "protocol",
        "name": protocol.name,
        "stream": protocols.describe(protocol),
        "increments": list(protocol.increments),
        "dataset": {
            key: getattr(spec, key) for key in ("name", "classes", "size", "channels", "train_images", "test_images")
        },
        "backbone": {"name": protocol.backbone, "parameters": entry.parameters, "width": entry.width},
        "memory": {
            "budget": str(protocol.budget),
            "exemplars": protocol.budget.exemplars,
            "per": protocol.budget.per,
            "bytes": None if protocol.budget.per == "class" else protocol.budget.exemplars * spec.bytes_per_image,
        },
        "augmentation": asdict(spec.augmentation),
        "schedule": protocol.schedule,
        "source": protocol.source,
        "alignment": _alignment(protocol) if protocol.alignment else None,
        "tasks": _tasks(protocol),
        "orders": {str(seed): list(protocol.class_order(seed)) for seed in orders},
        "presets": {name: {"source": p.source, "exact": p.exact} for name, p in presets.items() if p.source},
    }


def _alignment(protocol: Protocol) -> Facts:
    """Return an aligned protocol's budget in bytes and what it buys each method; what is measured is None."""
    waits, tasks = reference(protocol), len(protocol.increments)
    size = None if waits else budget(protocol)
    shares = []
    for name in METHODS:
        with suppress(PluginError):
            about = declared(name)
            backbones: Any = {"fixed": 1, "per-task": tasks}.get(about.growth)
            found = allocate(about, protocol, size) if size is not None and backbones else None
            shares.append(
                {
                    "method": name,
                    "backbone": grown(about, protocol),
                    "backbones": backbones,
                    "exemplars": found.exemplars or 0 if isinstance(found, Allocation) else None,
                    "reason": found if isinstance(found, str) else "" if found else "known after a run",
                }
            )
    return {"by": protocol.alignment, "bytes": size, "measured_of": waits.name if waits else None, "shares": shares}


def _tasks(protocol: Protocol) -> list[Facts]:
    tasks, seen = [], 0
    for index, size in enumerate(protocol.increments):
        seen += size
        share, most = protocol.budget.share(seen), protocol.dataset.per_class
        kept = share if most is None else min(share, most)
        tasks.append({"task": index, "classes": size, "seen": seen, "exemplars_per_class": kept})
    return tasks
