"""Finished runs of registered methods on real protocols, made up from the toy records."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import protocols
from suite.record import RunRecord
from suite.sweep import resolve, sweep_of
from tests.suite.records_for_tests import record


def finished(
    key: int,
    method: str,
    protocol: str,
    last: float,
    *,
    avg: float | None = None,
    config: dict[str, Any] | None = None,
    **settings: Any,
) -> RunRecord:
    """A record of the method with its usual settings, `config` over them, that ends at `last` and averages `avg` %.

    It has three tasks whatever the protocol, 5,000 images a task: both accuracies are exact to 0.02 %.
    """
    middle = last if avg is None else (3 * avg - last) / 2
    tasks = [round(50 * middle), round(100 * middle), round(150 * last)]
    spread = [[tasks[0]], [tasks[1] // 2, tasks[1] - tasks[1] // 2], [0, 0, 0]]
    spread[2] = [tasks[2] // 3, tasks[2] // 3, tasks[2] - 2 * (tasks[2] // 3)]
    made = record(key, "anchor", right=spread, per_class=2500, **settings)
    usual = resolve(sweep_of({"methods": [method], "protocols": [protocol]}, "test"))[0]
    identity = json.loads(json.dumps(protocols.get(protocol).identity()))
    spec = {**made.spec, "method": method, "protocol": identity, "config": {**usual.config, **(config or {})}}
    return replace(made, method=method, protocol=usual.protocol.name, spec=spec)
