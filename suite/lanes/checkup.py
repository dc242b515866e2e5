"""Every node of a cluster looked at, in the process that holds Ray: `doctor --cluster`."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from grace.storage.folders import Folder
from suite import node as looking
from suite.cluster import Seen, findings
from suite.doctor import requirements
from suite.lanes import driver
from suite.lanes.lane import cause
from suite.lanes.nodes import Node, ask
from suite.lanes.process import Ended
from suite.launch import LaunchOptions
from suite.node import Looked

PINGS = 5
LOOKING = 900.0  # seconds for a node to look at itself: images may be many, and the disk slow
GPUS = {"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}}  # a task without GPUs sees them all


def main() -> None:
    """Be the process that holds Ray, and look."""
    driver.main(check)


def check(
    specs: Sequence[Any],
    options: LaunchOptions,
    code: Mapping[str, Any],
    folder: Path,
    tell: driver.Tell,
    asked: Callable[[], bool],
) -> Ended:
    """Tell what is to be said of the cluster; `specs` are of the datasets to look for.

    The files that it leaves in `folder` go with that, those in an object store by themselves.
    """
    root = options.root
    if isinstance(root, Path):
        return _check(specs, options, folder, tell)
    try:
        return _check(specs, options, root / "live" / folder.name, tell)
    finally:
        (root / "live" / folder.name).remove_tree()


def _check(specs: Sequence[Any], options: LaunchOptions, folder: Folder, tell: driver.Tell) -> Ended:
    nodes: list[Node] = ray.nodes()  # type: ignore[no-untyped-call]
    looking.leave(folder, looking.HERE)
    alive = _named([node for node in nodes if node["Alive"]])
    nodes_seen, broken = _looked(alive, folder, specs, options)
    fit = {name: alive[name] for name in nodes_seen}
    writers = [name for name, found in nodes_seen.items() if not found.root]
    seen = Seen(
        here=looking.own(),
        nodes=nodes_seen,
        broken=broken,
        gone=len(nodes) - len(alive),
        unread=_unread({name: fit[name] for name in writers}, folder),
        clocks={name: _clock(node) for name, node in fit.items()},
        gpus={name: int(node["Resources"].get("GPU", 0)) for name, node in fit.items()},
    )
    for finding in findings(options.address, seen):
        tell(finding)
    return Ended()


def _named(nodes: Sequence[Node]) -> dict[str, Node]:
    """Return the nodes by names that people know them by, and that tell them apart."""
    hosts = Counter(node["NodeManagerHostname"] for node in nodes)
    named = {}
    for node in nodes:
        host, port = node["NodeManagerHostname"], node["NodeManagerPort"]
        apart = f":{port}" if hosts[host] > 1 else ""
        named[f"{host} ({node['NodeManagerAddress']}{apart})"] = node
    return named


def _looked(
    nodes: Mapping[str, Node], folder: Folder, specs: Sequence[Any], options: LaunchOptions
) -> tuple[dict[str, Looked], dict[str, str]]:
    """Have each node look at itself; return what was found, and why nothing was where that is so."""
    names = {node["NodeID"]: name for name, node in nodes.items()}
    found, broken = dict[str, Looked](), dict[str, str]()
    arguments = (folder, options.data, {spec.name: spec for spec in specs}, requirements())
    for node, answer in ask(list(nodes.values()), _look, *arguments, patience=LOOKING, runtime_env=GPUS):
        if isinstance(answer, Exception):
            broken[names[node["NodeID"]]] = cause(answer)
        else:
            found[names[node["NodeID"]]] = answer
    return {name: found[name] for name in sorted(found)}, broken


def _look(folder: Folder, images: Path, specs: Mapping[str, Any], wanted: Sequence[str] | None) -> Looked:
    """Look at the node that this is called on."""
    context = ray.get_runtime_context()
    resources = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())["Resources"]  # type: ignore[no-untyped-call]
    works = bool(resources.get("CPU"))  # a node that takes no runs needs no images
    return looking.look(folder, context.get_node_id(), _temporary(), images, specs if works else {}, wanted)


def _temporary() -> Path:
    """Return where Ray keeps files of this node, by what its workers know."""
    own = getattr(ray._private.worker, "_global_node", None)
    return Path(own.get_session_dir_path() if own else tempfile.gettempdir())


def _unread(nodes: Mapping[str, Node], folder: Folder) -> dict[str, list[str]]:
    """Return whose files are not seen, by where; without those that are seen. `here` is this process."""
    names = {node["NodeID"]: name for name, node in nodes.items()}
    found = {"here": looking.unread(folder, list(names))}
    for node, answer in ask(list(nodes.values()), looking.unread, folder, list(names)):
        found[names[node["NodeID"]]] = list(names) if isinstance(answer, Exception) else answer
    return {reader: [names[mark] for mark in missing] for reader, missing in found.items() if missing}


def _clock(node: Node) -> tuple[float, float]:
    """Return how many seconds a node's clock is ahead of the one here, and by how much that may be wrong.

    Of several calls the quickest counts: the clock was read at some moment of it.
    """
    tries = []
    for _ in range(PINGS):
        before = time.time()
        (_, there), *_ = ask([node], _now)
        after = time.time()
        if isinstance(there, float):
            tries.append(((after - before) / 2, there - (before + after) / 2))
    error, ahead = min(tries, default=(0.0, 0.0))
    return ahead, error


def _now() -> float:
    return time.time()
