"""Something asked of every node of a cluster, in a task on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

IMPORTING = 180.0  # seconds for a node to take in our code
Node = Mapping[str, Any]  # as Ray describes it


def alive() -> list[Node]:
    """Return the nodes that are there."""
    nodes: list[Node] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def ask(
    nodes: Sequence[Node], work: Callable[..., Any], *arguments: Any, patience: float = IMPORTING, **options: Any
) -> Iterator[tuple[Node, Any]]:
    """Call a function on each node, on all at once; yield every node with the answer, or with the exception.

    It takes no CPU there. `options` are Ray's for a task.
    """
    task = ray.remote(num_cpus=0, max_retries=0)(work)
    answers = [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False), **options).remote(
            *arguments
        )
        for node in nodes
    ]
    for node, answer in zip(nodes, answers, strict=True):
        try:
            yield node, ray.get(answer, timeout=patience)
        except Exception as error:
            yield node, error


def sees(folder: str) -> bool:
    """Tell whether the node that this is called on has the folder; it has taken in our code, too."""
    import suite.execute  # noqa: F401

    return Path(folder).is_dir()
