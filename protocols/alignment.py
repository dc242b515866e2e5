"""Equal memory as part of a protocol: how much all methods get, by the survey's count, and on which backbones.

The survey's count (Zhou et al., TPAMI 2024; MEMO, ICLR 2023): 4 bytes per backbone parameter kept after the last task,
and the pixels of the exemplars. A protocol's alignment is one of

* `mb=23.5`: so many MiB (2^20 bytes);
* `align=METHOD`: what that method needs on the protocol as it is: known beforehand where its backbones follow from the
  number of tasks (DER's with 2,000 exemplars is the survey's alignment), measured where the images decide (GRACE);
* `auc=K`: point K of a ladder of budgets, for accuracy as a function of memory.
"""

from __future__ import annotations

import re

from grace.streams.protocol import Protocol

REFERENCE = "der"  # the method that others are aligned to, and that memory saved is measured against
# The survey's ladders, smallest point first, by the protocol's own backbone: point 1 is the budget of one such
# backbone, the others that of one of these per task, with the protocol's exemplars. Methods that grow use these.
LADDERS = {
    "resnet32": ("convnet2", "resnet14", "resnet20", "resnet26", "resnet32"),
    "resnet18": ("convnet4", "resnet10", "resnet18", "resnet26-bottleneck", "resnet34", "resnet50"),
}
STEMMED = re.compile(r"resnet(10|18|26-bottleneck|34|50)")  # backbones that there are with other stems


def ladder(backbone: str) -> tuple[str, ...]:
    """Return the backbones of the points for a protocol's own backbone, with its stem; raises ValueError for none."""
    found = re.fullmatch(rf"({'|'.join(LADDERS)})(-3x3|-3x3-maxpool)?", backbone)
    if found is None or (found[2] and not STEMMED.fullmatch(found[1])):
        raise ValueError(f"there is no ladder for {backbone}; there is one for {' and '.join(LADDERS)}, as +net=...")
    stem = found[2] or ""
    return tuple(name + stem if STEMMED.fullmatch(name) else name for name in LADDERS[found[1]])


def megabytes(text: str) -> str:
    """Return the spelling `mb=23.5` of a budget in MiB; raises ValueError for what is no such number."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) or float(text) == 0:
        raise ValueError(f'+mb is a budget in MiB such as +mb=23.5, not "{text}"')
    whole, _, rest = text.partition(".")
    rest = rest.rstrip("0")
    return f"mb={int(whole)}{'.' if rest else ''}{rest}"


def aligned_with(text: str) -> str:
    """Return the spelling `align=METHOD`; whether there is such a method is for those who know the methods."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", text):
        raise ValueError(f'+align names the method whose memory all get, as in +align={REFERENCE}, not "{text}"')
    return f"align={text}"


def point(protocol: Protocol, text: str) -> str:
    """Return the spelling `auc=K` of a point on the protocol's ladder."""
    count = len(ladder(protocol.backbone))
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= count:
        raise ValueError(f'+auc=K is a point from 1 to {count} of the ladder for {protocol.backbone}, not "{text}"; '
                         "+auc alone, in a sweep, is all of them")  # fmt: skip
    return f"auc={int(text)}"


def points(name: str) -> list[str]:
    """Return the names of all points where a protocol's name ends in a bare `+auc`, else the name alone."""
    head, suffix, rest = name.partition("+auc")
    if not suffix or rest.strip().startswith("="):
        return [name]
    from protocols.grammar import get

    bare = get(head + rest)
    return [f"{bare.name}+auc={k}" for k in range(1, len(ladder(bare.backbone)) + 1)]
