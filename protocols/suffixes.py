"""What may follow a protocol's name, such as `+net=resnet18`, `+aa` or `+m=5000`; each is about one property."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches

from grace.streams.protocol import Budget, Protocol
from protocols.alignment import aligned_with, megabytes, point

CACHED = 256  # pixels: what the test view of ImageNet's 224 is cut from


@dataclass(frozen=True)
class Suffix:
    """One property that a name can change. `read` raises ValueError for a value that it cannot use."""

    keys: tuple[str, ...]  # the first is canonical
    form: str  # for messages
    read: Callable[[Protocol, str | None], Protocol]
    spell: Callable[[Protocol], str]  # the same for two protocols that do not differ in it


def budget_of(text: str) -> Budget:
    """Return the memory budget spelled `2000` or `20/class`; raises ValueError for anything else."""
    found = re.fullmatch(r"([0-9]{1,9})\s*(/\s*class)?", text.strip().lower())
    if found is None:
        raise ValueError(f'memory is a number of exemplars such as 2000, or 20/class, not "{text}"')
    return Budget(int(found[1]), "class" if found[2] else "total")


def _net(protocol: Protocol, value: str | None) -> Protocol:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", value or ""):
        raise ValueError("+net names a backbone, as in +net=resnet18")
    return replace(protocol, backbone=str(value))


def _autoaugment(protocol: Protocol, value: str | None) -> Protocol:
    """Add AutoAugment, and Cutout of half the side (16 pixels on CIFAR) unless crops are resized, as on ImageNet."""
    if value is not None:
        raise ValueError("+aa takes no value")
    view = protocol.dataset.augmentation
    if view.autoaugment:
        return protocol
    cutout = 0 if view.crop == "resized" else protocol.dataset.size // 2
    return replace(
        protocol, dataset=replace(protocol.dataset, augmentation=replace(view, autoaugment=True, cutout=cutout))
    )


def _cache(protocol: Protocol, value: str | None) -> Protocol:
    """Take the images from a copy of shorter side 256, made once: other training crops, so another protocol."""
    if value is not None:
        raise ValueError("+cache256 takes no value")
    spec = protocol.dataset
    if not spec.encoded:
        raise ValueError(f"+cache256 is for images decoded on demand, {spec.name} is held in memory; leave it out")
    try:
        return replace(protocol, dataset=replace(spec, cache=CACHED))
    except ValueError as error:
        raise ValueError(f"+cache256: {error}; leave it out") from None


def _shots(protocol: Protocol, value: str | None) -> Protocol:
    """Train on the first so many images of each class: less data, so another protocol. The test images stay."""
    if not re.fullmatch(r"[1-9][0-9]{0,6}", value or ""):
        raise ValueError("+shots is a number of training images per class, as in +shots=100")
    spec, count = protocol.dataset, int(value or 0)
    if spec.per_class is not None and count > spec.per_class:
        raise ValueError(f"+shots={count}: a class of {spec.name} has {spec.per_class} images; ask for at most those")
    few = replace(spec, shots=count, train_images=None)
    if spec.per_class is not None:
        few = replace(few, per_class=count, train_images=count * spec.classes)
    return replace(protocol, dataset=few)


def _memory(protocol: Protocol, value: str | None) -> Protocol:
    return replace(protocol, budget=budget_of(value or ""))


def _megabytes(protocol: Protocol, value: str | None) -> Protocol:
    return _aligned(protocol, megabytes(value or ""))


def _align(protocol: Protocol, value: str | None) -> Protocol:
    return _aligned(protocol, aligned_with(value or ""))


def _point(protocol: Protocol, value: str | None) -> Protocol:
    return _aligned(protocol, point(protocol, value or ""))


def _aligned(protocol: Protocol, alignment: str) -> Protocol:
    if protocol.alignment not in ("", alignment):
        raise ValueError(f"memory is aligned twice, by +{protocol.alignment} and +{alignment}; leave one out")
    return replace(protocol, alignment=alignment)


def _spelled(kind: str) -> Callable[[Protocol], str]:
    """Return the speller of one kind of alignment."""
    return lambda protocol: f"+{protocol.alignment}" if protocol.alignment.startswith(f"{kind}=") else ""


SUFFIXES = (  # in canonical order
    Suffix(("net",), "+net=BACKBONE", _net, lambda p: f"+net={p.backbone}"),
    Suffix(("aa",), "+aa", _autoaugment, lambda p: "+aa" if p.dataset.augmentation.autoaugment else ""),
    Suffix(("cache256",), "+cache256", _cache, lambda p: "+cache256" if p.dataset.cache else ""),
    Suffix(("shots",), "+shots=NUMBER", _shots, lambda p: f"+shots={p.dataset.shots}" if p.dataset.shots else ""),
    Suffix(("m", "mem"), "+m=NUMBER or +m=NUMBER/class", _memory, lambda p: f"+m={p.budget}"),
    Suffix(("mb",), "+mb=MIB", _megabytes, _spelled("mb")),
    Suffix(("align",), "+align=METHOD", _align, _spelled("align")),
    Suffix(("auc",), "+auc=POINT", _point, _spelled("auc")),
)
FORMS = ", ".join(suffix.form for suffix in SUFFIXES)


def varied(head: Protocol, texts: list[str]) -> Protocol:
    """Return `head` as the suffixes change it, under its canonical name; raises ValueError for a bad suffix."""
    chosen: dict[str, str | None] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        canonical = next((suffix.keys[0] for suffix in SUFFIXES if key in suffix.keys), None)
        if canonical is None:
            near = get_close_matches(key, [k for suffix in SUFFIXES for k in suffix.keys], n=1, cutoff=0.4)
            hint = f'did you mean "+{near[0]}"? ' if near else ""
            raise ValueError(f'unknown suffix "+{text.strip()}"; {hint}known: {FORMS}')
        if canonical in chosen:
            raise ValueError(f'suffix "+{canonical}" is given twice')
        chosen[canonical] = value if equals else None
    changed = head
    for suffix in SUFFIXES:
        if suffix.keys[0] in chosen:
            changed = suffix.read(changed, chosen[suffix.keys[0]])
    return named_after(head, changed)


def named_after(head: Protocol, changed: Protocol) -> Protocol:
    """Return `changed` under the name of `head` and the suffixes by which it differs, in canonical order."""
    suffixes = "".join(s.spell(changed) for s in SUFFIXES if s.spell(changed) != s.spell(head))
    return replace(changed, name=head.name + suffixes, source=changed.source if not suffixes else "")
