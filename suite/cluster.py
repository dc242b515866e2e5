"""A cluster looked at before sweeps run on it: what its nodes found, set side by side. Imports no Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from grace.streams.registry import DATASETS
from suite.doctor import ROOM, Finding
from suite.errors import Exit, SuiteError
from suite.lanes.process import Driver, Ended, answers, own_folder
from suite.launch import LaunchOptions
from suite.node import Looked

SKEW = 2.0  # seconds between two clocks from which ages shown of other machines' news are wrong
FAR = 60.0  # seconds from which logs and records of two machines cannot be read side by side


@dataclass(frozen=True)
class Seen:
    """What is known of the nodes of a cluster, by their names."""

    here: Looked  # what all should have in common, where the command was given
    nodes: Mapping[str, Looked]
    broken: Mapping[str, str] = field(default_factory=dict)  # why a node cannot be looked at
    gone: int = 0  # nodes that were there once
    unread: Mapping[str, list[str]] = field(default_factory=dict)  # by reader, "here" too, whose files it does not see
    clocks: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # seconds ahead, and the error of that
    gpus: Mapping[str, int] = field(default_factory=dict)  # that Ray counts


def examine(options: LaunchOptions, observe: Callable[[Finding], None]) -> None:
    """Look at every node of the cluster at an address; tell of each finding. What was written is removed again.

    Raises SuiteError where no cluster answers, or where the results folder cannot be written from here.
    """
    answers(options.address)
    top = options.scratch.parent
    made = [path for path in (top, *top.parents) if not path.exists()]
    last: Ended | None = None
    try:
        with (
            own_folder(options.scratch) as folder,
            Driver(list(DATASETS.values()), options, folder, "suite.lanes.checkup") as driver,
        ):
            while last is None:
                message = driver.hear()
                if isinstance(message, Finding):
                    observe(message)
                elif isinstance(message, Ended):
                    last = message
    except OSError as error:
        raise SuiteError(
            f"results root {options.root} cannot be written: {error.strerror}", Exit.ENVIRONMENT
        ) from error
    finally:
        with suppress(OSError):
            for path in made:
                path.rmdir()
    if last.error:
        raise SuiteError(last.error, Exit(last.code))


def findings(address: str | None, seen: Seen) -> Iterator[Finding]:
    """Yield what there is to say: a line where all nodes agree, and one for each that differs."""
    number = len(seen.nodes) + len(seen.broken)
    gone = f"; {seen.gone} more have gone" if seen.gone else ""
    yield Finding("nodes", "good" if number else "bad", f"{number} at {address}: {', '.join(sorted(seen.nodes))}{gone}")
    for name, reason in seen.broken.items():
        yield Finding("node", "bad", f"cannot run the suite: {reason}", name)
    if not seen.nodes:
        return
    common = {name: [_versions(node, seen.here), _code(node, seen.here)] for name, node in seen.nodes.items()}
    yield from _side_by_side(common)
    yield from _side_by_side({name: list(node.findings) for name, node in seen.nodes.items()})
    yield from _counted(seen)
    yield from _side_by_side({name: [_root(name, seen), *_locks(node, seen.here)] for name, node in seen.nodes.items()})
    yield from _room(seen.nodes)
    yield from _clocks(seen.clocks)


def _side_by_side(found: Mapping[str, list[Finding]]) -> Iterator[Finding]:
    """Yield one line for what most nodes say of a thing, and one for each node that says something else."""
    for what in dict.fromkeys(each.what for several in found.values() for each in several):
        said = {name: each for name, several in found.items() for each in several if each.what == what}
        (usual, number), *_ = Counter(said.values()).most_common(1)
        if len(found) == 1:
            whom = ""
        elif number == 1 < len(said):
            yield from (replace(each, node=name) for name, each in said.items())
            continue
        else:
            whom = f" (on all {number} nodes)" if number == len(found) else f" (on {number} of {len(found)} nodes)"
        yield replace(usual, text=f"{usual.text}{whom}")
        yield from (replace(each, node=name) for name, each in said.items() if each != usual)


def _versions(node: Looked, here: Looked) -> Finding:
    """Compare the versions on a node with those here; a build for other devices is the same version."""
    differing = [
        f"{name} {found or 'is missing'}, but {here.versions.get(name) or 'none'} here"
        for name, found in node.versions.items()
        if _public(found) != _public(here.versions.get(name))
    ]
    if differing:
        return Finding("versions", "bad", "; ".join(differing))
    return Finding("versions", "good", ", ".join(f"{name} {found}" for name, found in here.versions.items() if found))


def _public(version: str | None) -> str:
    return (version or "").partition("+")[0]


def _code(node: Looked, here: Looked) -> Finding:
    if node.code == here.code:
        return Finding("code", "good", f"{here.code}, as it is here")
    hint = "something there goes before what is sent: uninstall grace-suite, empty PYTHONPATH"
    return Finding("code", "bad", f"{node.code}, but {here.code} here; {hint}")


def _counted(seen: Seen) -> Iterator[Finding]:
    """Compare how many GPUs Ray gives out with how many torch sees."""
    for name, node in seen.nodes.items():
        if seen.gpus.get(name, 0) > node.gpus:
            counts = f"Ray gives out {seen.gpus[name]}, torch sees {node.gpus}"
            yield Finding("GPUs", "bad", f"{counts}: a torch for CPUs, or a driver too old for its CUDA", name)


def _root(name: str, seen: Seen) -> Finding:
    """Say whether a node writes what others read, and reads what others write."""
    wrong, strays = seen.nodes[name].root, seen.unread.get("here", [])
    missing = [writer for writer in seen.unread.get(name, []) if writer not in strays]
    if name in strays:
        wrong = "not the folder that is here: what is written there is not seen here"
    elif missing:
        wrong = f"not one folder: files that {', '.join(missing)} wrote are not seen"
    if wrong:
        return Finding("results", "bad", f"{wrong}; --root must be a folder that all nodes share")
    return Finding("results", "good", "what each node writes, all others read")


def _locks(node: Looked, here: Looked) -> Iterator[Finding]:
    """Say whether locks are respected; they keep two commands from working on one run."""
    if "results" not in node.free:  # not seen, or no disk
        return
    if node.locks == "unseen":
        elsewhere = "a lock held elsewhere is not seen: let one command at a time work on these results"
        same = "a lock that another process holds is not seen"
        yield Finding(
            "locks", "bad" if node.host == here.host else "note", same if node.host == here.host else elsewhere
        )
    else:
        yield Finding("locks", "bad" if node.locks else "good", node.locks or "a lock held elsewhere is seen")


def _room(nodes: Mapping[str, Looked]) -> Iterator[Finding]:
    """Say how much room there is on the disks, and where it is short."""
    for what in dict.fromkeys(what for node in nodes.values() for what in node.free):
        free = {name: node.free[what] for name, node in nodes.items() if what in node.free}
        least = f"{min(free.values()) / 10**9:.1f} GB free{' or more' if len(free) > 1 else ''}"
        short = {name: number for name, number in free.items() if number < ROOM}
        if not short:
            yield Finding(f"room for {what}", "good", least)
        for name, number in short.items():
            yield Finding(f"room for {what}", "note", f"{number / 10**9:.1f} GB free", name)


def _clocks(clocks: Mapping[str, tuple[float, float]]) -> Iterator[Finding]:
    """Say how far the clocks are from the one here, beyond what the measurement may be wrong by."""
    off = {name: ahead for name, (ahead, error) in clocks.items() if abs(ahead) - error > SKEW}
    for name, ahead in off.items():
        hint = "ages of news and times in records will mislead; set the clock (NTP)"
        yield Finding(
            "clock",
            "bad" if abs(ahead) > FAR else "note",
            f"{abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}: {hint}",
            name,
        )
    if clocks and not off:
        most = max(abs(ahead) + error for ahead, error in clocks.values())
        yield Finding("clocks", "good", f"within {max(most, 0.01):.2f} s of the one here")
