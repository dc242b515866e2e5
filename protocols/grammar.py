"""Names of protocols: every spelling in use is read, one canonical form is written.

    DATASET-bBASEiINCREMENT[+net=BACKBONE][+aa][+cache256][+shots=NUMBER][+m=EXEMPLARS|+m=EXEMPLARS/class]
        [+mb=MIB|+align=METHOD|+auc=POINT]

Base 0 means that the first task is as large as the others. Case and separators do not matter: `CIFAR-100 Base0 Inc10`,
`cifar100/B0I10`, `cifar100_b0-10`, `cifar_b50_10` (CIL_Survey), `cifar100_aa_b0i10` (GRACE), `cifar100-50-10` and
`cil50-10` (PyCIL's and TagFex's first-increment), `b50-10-6` (LibContinual's base-increment-tasks), `B50 5 steps`
(papers: the base is no step) and `B50 6 tasks` (FACIL: it is one).
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from grace.streams.catalogue import DatasetSpec
from grace.streams.protocol import Protocol
from grace.streams.registry import DATASETS, nearest, plain, spellings
from protocols.registry import REGISTERED, affordable, class_incremental, names
from protocols.suffixes import FORMS, varied

_FORM = f"DATASET-bBASEiINCREMENT, then any of {FORMS}"
_N, _ANY, _GAP = r"([0-9]{1,7})", r"[-_/:\s]*", r"[-_/:\s]+"
_B = rf"(?:base|b|initial|init){_ANY}"
_COUNTED = r"(steps?|phases?|stages?|tasks?)"
_BASE_INCREMENT = re.compile(rf"{_B}{_N}{_ANY}(?:increment|inc|i){_ANY}{_N}")
_BASE_COUNT = re.compile(rf"{_B}{_N}{_GAP}{_N}{_ANY}{_COUNTED}")
_NUMBERS = re.compile(rf"(?:{_B}|cil{_ANY})?{_N}{_GAP}{_N}(?:{_GAP}{_N})?")
_COUNT = re.compile(rf"{_N}{_ANY}{_COUNTED}")
_STREAM_AT_END = re.compile(rf"(.*?){_ANY}({_B}[0-9].*|(?:cil)?[0-9]+{_GAP}[0-9]+)")


def get(name: str) -> Protocol:
    """Return the protocol of that name, in any spelling, registered or not; `.name` is the canonical one.

    Raises ValueError, in one line with the nearest valid name, for a name that cannot be read or does not fit.
    """
    name = "".join(mark if mark.isprintable() else " " for mark in name)
    head, *suffixes = name.strip().lower().split("+")
    known = REGISTERED.get(head.strip())
    try:
        found = varied(known, suffixes) if known else _read(head.strip(), suffixes)
        found = affordable(found)
    except ValueError as error:
        raise ValueError(f'protocol "{name}": {error}') from None
    return REGISTERED.get(found.name, found)


def meaning(name: str) -> Protocol | None:
    """Return what the grammar alone makes of a name, whatever is registered under it; None if nothing."""
    head, *suffixes = name.strip().lower().split("+")
    try:
        return _read(head.strip(), suffixes)
    except ValueError:
        return None


def _read(head: str, suffixes: list[str]) -> Protocol:
    spec, rest = _split(head)
    tokens = re.split(_GAP, rest)
    if len(tokens) > 1 and "aa" in (tokens[0], tokens[-1]):  # GRACE's name for the dataset with AutoAugment
        rest = re.sub(rf"^aa{_GAP}|{_GAP}aa$", "", rest)
        suffixes = ["aa", *(text for text in suffixes if text.strip() != "aa")]
    return varied(_stream(spec, rest), suffixes)


def _split(head: str) -> tuple[DatasetSpec, str]:
    """Return the dataset that a name starts with (the longest that fits) and the rest of the name."""
    known = spellings()
    for end in range(len(head), 0, -1):
        rest = head[end:]
        if plain(head[:end]) in known and (not rest or re.match(rf"{_GAP}|{_B}[0-9]|cil", rest)):
            return DATASETS[known[plain(head[:end])]], re.sub(rf"^{_GAP}", "", rest)
    raise _unreadable(head)


def _unreadable(head: str) -> ValueError:
    """Return the error for a name that starts with no dataset."""
    split = _STREAM_AT_END.fullmatch(head)
    if split is None:
        near = get_close_matches(head, names(), n=1, cutoff=0.5)
        return ValueError(
            f'no such protocol; did you mean "{near[0]}"?' if near else f"no such protocol; write {_FORM}"
        )
    name, stream = split[1], split[2]
    if not name:
        return ValueError(f"no dataset is named; write {_FORM}")
    near_dataset = nearest(name)
    if near_dataset is None:
        return ValueError(f'unknown dataset "{name}"; known: {", ".join(sorted(DATASETS))}')
    try:
        hint = _stream(DATASETS[near_dataset], stream).name
    except ValueError:
        hint = near_dataset
    return ValueError(f'unknown dataset "{name}"; did you mean "{hint}"? (list datasets)')


def _stream(spec: DatasetSpec, text: str) -> Protocol:
    """Return the protocol on a dataset that the second part of a name spells."""
    tasks = None
    if found := _BASE_INCREMENT.fullmatch(text):
        base, increment = int(found[1]), int(found[2])
    elif found := _BASE_COUNT.fullmatch(text):
        base = int(found[1])
        increment = _divided(spec, base, int(found[2]), found[3])
    elif found := _NUMBERS.fullmatch(text):
        base, increment = int(found[1]), int(found[2])
        tasks = int(found[3]) if found[3] else None
    elif found := _COUNT.fullmatch(text):
        base, increment = 0, _divided(spec, 0, int(found[1]), found[2])
    else:
        known = [name for name in names() if REGISTERED[name].dataset == spec]
        near = get_close_matches(f"{spec.name}-{text}", known, n=1, cutoff=0) or [f"{spec.name}-b0i2"]
        what = f'"{text}" is no stream' if text else f"{spec.name} is a dataset; say how its classes arrive"
        raise ValueError(f'{what}; did you mean "{near[0]}"? (bBASEiINCREMENT)')
    protocol = _fitted(spec, base, increment)
    made = len(protocol.increments)
    if tasks not in (None, made):
        raise ValueError(f'these are {made} tasks, not {tasks}; did you mean "{protocol.name}"?')
    return protocol


def _fitted(spec: DatasetSpec, base: int, increment: int) -> Protocol:
    """Return B{base}I{increment}, or raise ValueError with the nearest that fits."""
    if 0 <= base <= spec.classes and 1 <= increment <= spec.classes:
        return class_incremental(spec.name, base=base, increment=increment)
    near = class_incremental(spec.name, base=min(base, spec.classes), increment=min(max(increment, 1), spec.classes))
    what = f"a first task of {base}" if base > spec.classes else f"an increment of {increment}"
    raise ValueError(f'{what} does not fit the {spec.classes} classes of {spec.name}; did you mean "{near.name}"?')


def _divided(spec: DatasetSpec, base: int, count: int, unit: str) -> int:
    """Return the increment that makes `count` equal steps after the base (or tasks, the base being one)."""
    left = spec.classes - base
    steps = count - 1 if base and unit.startswith("task") else count
    if left >= 1 and steps >= 1 and left % steps == 0:
        return left // steps
    if left < 1:
        raise ValueError(f"a first task of {base} leaves none of the {spec.classes} classes of {spec.name}")
    near = min((n for n in range(1, left + 1) if left % n == 0), key=lambda n: abs(n - steps))
    name = class_incremental(spec.name, base=base, increment=left // near).name
    raise ValueError(f'{left} classes do not divide into {steps} equal steps; {near} do: "{name}"')
