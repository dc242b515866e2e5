"""The nodes of the cluster: what they have, and whether they take in our code and see the results root."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from suite.errors import Exit, SuiteError
from suite.lanes.lane import cause

IMPORTING = 180.0  # seconds for a node to take in our code

Node = Mapping[str, Any]  # as Ray describes it: NodeID, NodeManagerAddress, Resources


def alive() -> list[Node]:
    """Return the nodes of the cluster that work; raises ConnectionError when nobody knows."""
    try:
        nodes: list[Node] = ray.nodes()  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever stands between
        raise ConnectionError(
            f"Ray does not say which nodes there are: {cause(error)}; the same command goes on"
        ) from error
    return [node for node in nodes if node["Alive"]]


def on(node_id: str) -> NodeAffinitySchedulingStrategy:
    """Return what makes a task run on one node and no other."""
    return NodeAffinitySchedulingStrategy(node_id, soft=False)


@ray.remote(num_cpus=0)
def _sees(folder: str) -> bool:
    import suite.execute  # noqa: F401

    return Path(folder).is_dir()


def probe(nodes: Sequence[Node], folder: Path) -> None:
    """Check that every node takes in our code and sees the root; raises SuiteError naming the node that does not."""
    asked = {
        node["NodeManagerAddress"]: _sees.options(scheduling_strategy=on(node["NodeID"])).remote(str(folder))
        for node in nodes
    }
    for name, answer in asked.items():
        try:
            seen = ray.get(answer, timeout=IMPORTING)
        except Exception as error:
            raise SuiteError(f"node {name} cannot run the suite: {cause(error)}", Exit.ENVIRONMENT) from error
        if not seen:
            root = folder.parents[1]
            raise SuiteError(
                f"node {name} does not see {root}; --root must be a folder that all nodes share", Exit.ENVIRONMENT
            )


class Nodes:
    """The nodes that may work, looked at again and again: those that come are tried before they count."""

    def __init__(self, folder: Path | None, warn: Callable[[str], object]) -> None:
        self._folder, self._warn = folder, warn
        self._good: dict[str, Node] = {}
        self._bad: set[str] = set()
        self._asked: set[str] = set()

    def begin(self) -> None:
        """Take in the nodes that there are; raises SuiteError naming one that cannot work."""
        found = {node["NodeID"]: node for node in alive() if node["Resources"].get("CPU")}
        if self._folder is not None:
            probe(list(found.values()), self._folder)
        self._good = found

    def look(self) -> None:
        """See which nodes have gone and which have come; these are tried in a thread."""
        found = {node["NodeID"]: node for node in alive() if node["Resources"].get("CPU")}
        self._good = {name: node for name, node in self._good.items() if name in found}
        for name in found.keys() - self._good.keys() - self._bad - self._asked:
            self._asked.add(name)
            threading.Thread(target=self._admit, args=(name, found[name]), daemon=True).start()

    def _admit(self, name: str, node: Node) -> None:
        try:
            if self._folder is not None:
                probe([node], self._folder)
        except SuiteError as error:
            self._bad.add(name)
            self._warn(f"{error}; it is left out")
        else:
            self._good = {**self._good, name: node}
        self._asked.discard(name)

    @property
    def good(self) -> set[str]:
        """Ids of the nodes that may work."""
        return set(self._good)

    @property
    def resources(self) -> list[Mapping[str, float]]:
        """What each of them has."""
        return [node["Resources"] for node in self._good.values()]

    def selector(self, bare: bool) -> dict[str, str] | None:
        """Return where lanes may be placed, as Ray's label selector: with `bare` only on nodes without GPUs."""
        if bare:
            names = [name for name, node in self._good.items() if not node["Resources"].get("GPU")]
            return {"ray.io/node-id": f"in({','.join(sorted(names))})"}
        return {"ray.io/node-id": f"!in({','.join(sorted(self._bad))})"} if self._bad else None
