"""The nodes of the cluster: what they have, and whether they take in our code and see the results root."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from grace.storage.folders import Folder
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


def ask(
    nodes: Sequence[Node], work: Callable[..., Any], *arguments: Any, patience: float = IMPORTING, **options: Any
) -> Iterator[tuple[Node, Any]]:
    """Call a function on each node, on all at once; yield every node with the answer, or with the exception.

    It takes no CPU there. `options` are Ray's for a task.
    """
    task = ray.remote(num_cpus=0)(work)
    answers = [task.options(scheduling_strategy=on(node["NodeID"]), **options).remote(*arguments) for node in nodes]
    for node, answer in zip(nodes, answers, strict=True):
        try:
            yield node, ray.get(answer, timeout=patience)
        except Exception as error:
            yield node, error


def _trouble(root: Folder, folder: Path) -> str:
    """Return what keeps a node from the results root; `folder` was made below it just now, if it is on a disk."""
    import suite.execute  # noqa: F401
    from suite.store import Store

    if isinstance(root, Path) and not folder.is_dir():
        return f"does not see {root}; --root must be a folder that all nodes share"
    gone = Store(root).away()
    return f"cannot work: {gone}" if gone else ""


def probe(nodes: Sequence[Node], root: Folder, folder: Path) -> None:
    """Check that every node takes in our code and sees the root; raises SuiteError naming the node that does not."""
    for node, trouble in ask(nodes, _trouble, root, folder):
        name = node["NodeManagerAddress"]
        if isinstance(trouble, Exception):
            raise SuiteError(f"node {name} cannot run the suite: {cause(trouble)}", Exit.ENVIRONMENT) from trouble
        if trouble:
            raise SuiteError(f"node {name} {trouble}", Exit.ENVIRONMENT)


class Nodes:
    """The nodes that may work, looked at again and again: those that come are tried before they count."""

    def __init__(self, root: Folder | None, folder: Path, warn: Callable[[str], object]) -> None:
        self._root, self._folder, self._warn = root, folder, warn  # no root: all is on this machine
        self._lock = threading.Lock()
        self._good: dict[str, Node] = {}
        self.there: set[str] = set()  # ids of all that are alive, also of those that are still being tried
        self._bad: set[str] = set()
        self._asked: set[str] = set()

    def begin(self) -> None:
        """Take in the nodes that there are; raises SuiteError naming one that cannot work."""
        found = {node["NodeID"]: node for node in alive() if node["Resources"].get("CPU")}
        if self._root is not None:
            probe(list(found.values()), self._root, self._folder)
        self._good, self.there = found, set(found)

    def look(self) -> None:
        """See which nodes have gone and which have come; these are tried in a thread."""
        found = {node["NodeID"]: node for node in alive() if node["Resources"].get("CPU")}
        self.there = set(found)
        with self._lock:
            self._good = {name: node for name, node in self._good.items() if name in found}
        for name in found.keys() - self._good.keys() - self._bad - self._asked:
            self._asked.add(name)
            threading.Thread(target=self._admit, args=(name, found[name]), daemon=True).start()

    def _admit(self, name: str, node: Node) -> None:
        try:
            if self._root is not None:
                probe([node], self._root, self._folder)
        except SuiteError as error:
            self._bad.add(name)
            self._warn(f"{error}; it is left out")
        else:
            with self._lock:
                self._good = {**self._good, name: node}
        self._asked.discard(name)

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
