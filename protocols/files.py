"""A user's own protocols and datasets, from small TOML files.

    dataset = "cifar100"        # a registered dataset, in any spelling; or a table, for one of your own:

    [dataset]
    name = "flowers"            # then flowers-b10i4, flowers-b0i17+aa, ... are protocols too
    kind = "folder"             # "folder": PATH/train/CLASS/*.jpg and PATH/test/CLASS/*.jpg (or val); "parquet": shards
                                # as the Hugging Face hub lays them out; or a registered dataset to start from
    path = "flowers"            # absolute, beside this file, or in the data folder
    classes = 102
    size = 224                  # side of the input, pixels
    channels = 3                # 1 for grey
    mean = [0.485, 0.456, 0.406]
    std = [0.229, 0.224, 0.225]
    [dataset.augmentation]      # left out: random resized crops above 64 pixels, padded crops up to there
    crop = "resized"            # or "pad" with padding = 4, or "none"
    flip = true
    brightness = 0.0            # below 1
    autoaugment = false
    cutout = 0                  # side of the hole, pixels

    [[protocol]]                # as many as you like; a single one may be written [protocol]
    base = 0                    # classes of the first task; 0: as many as the others
    increment = 10
    memory = 2000               # exemplars in total, or "20/class"
    backbone = "resnet18"       # `list backbones`
    schedule = 1.0              # fraction of every recipe's epochs
    name = "my-flowers"         # left out: the canonical name, such as flowers-b0i10
    source = "who uses it"

The first protocol of the file that describes a dataset also says what memory, backbone and schedule are usual on it.
Further keys of a dataset: `per_class`, `train_images`, `test_images` (counts, checked against memory), `source`,
`licence`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from grace.streams.protocol import Budget, Protocol
from grace.streams.registry import DATASETS, add, dataset, plain, spellings
from protocols.described import DATASET_KEYS, described, usual_on
from protocols.grammar import meaning
from protocols.registry import REGISTERED, USUAL, Usual, class_incremental, register
from protocols.suffixes import budget_of, named_after
from protocols.tables import Table

_PROTOCOL = ("name", "base", "increment", "memory", "backbone", "schedule", "source")


@dataclass(frozen=True)
class _File:
    where: str
    folder: Path
    described: Table | None  # the [dataset] table, if the dataset is the user's own
    dataset: str
    protocols: list[Table]


def load(path: Path) -> list[Protocol]:
    """Register the datasets and protocols in a TOML file, or in every one of a folder, and return the protocols.

    Loading a file again changes nothing. Raises ValueError, in one line with file, key and what is wanted, for the
    first fault; then nothing is registered.
    """
    files = [_parsed(file) for file in _found(path)]
    tables: list[dict[str, Any]] = [DATASETS, USUAL, REGISTERED]
    before = [dict(table) for table in tables]
    try:
        for file in files:
            _describe(file)
        loaded = [protocol for file in files for protocol in _protocols(file)]
        _unambiguous(path)
    except ValueError:
        for table, saved in zip(tables, before, strict=True):
            table.clear()
            table.update(saved)
        raise
    return loaded


def _found(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder; protocols are TOML files (new protocol writes one)")
    files = sorted(path.glob("*.toml"))
    if not files:
        raise ValueError(f"{path}: holds no .toml file (new protocol writes one)")
    return files


def _parsed(path: Path) -> _File:
    where = str(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{where}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{where}: not a text file") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{where}: not TOML: {error}") from None
    top = Table(values, where, ("dataset", "protocol"))
    own = isinstance(values.get("dataset"), dict)
    own_table = Table(values["dataset"], f"{where}: [dataset]", DATASET_KEYS) if own else None
    name = own_table.text("name", wanted="a name") if own_table else top.text("dataset", wanted="a dataset's name")
    listed = values.get("protocol", [])
    listed = listed if isinstance(listed, list) else [listed]
    if not listed and not own_table:
        raise ValueError(f"{where}: a [protocol] table is missing")
    numbered = [f"[protocol] {number}" if len(listed) > 1 else "[protocol]" for number in range(1, len(listed) + 1)]
    tables = [Table(one, f"{where}: {place}", _PROTOCOL) for one, place in zip(listed, numbered, strict=True)]
    return _File(where, path.resolve().parent, own_table, name, tables)


def _describe(file: _File) -> None:
    """Register the dataset that a file describes, if it does, and what is usual on it."""
    table = file.described
    if table is None:
        return
    if meaning(file.dataset) is not None:
        raise ValueError(f'{table.where}: name: "{file.dataset}" is a protocol already; choose another name')
    try:
        add(described(table, file.folder))
    except ValueError as error:
        raise _placed(error, file, table) from None
    first = file.protocols[0] if file.protocols else Table({}, table.where, _PROTOCOL)
    settings = _settings(first, usual_on(table, DATASETS[file.dataset]))
    if USUAL.setdefault(file.dataset, settings) != settings:
        raise ValueError(f'{table.where}: another file describes "{file.dataset}" with other usual settings')


def _settings(table: Table, usual: Usual) -> Usual:
    """Return what is usual once a protocol table has had its say."""
    backbone = _backbone(table, "")
    return replace(
        usual,
        budget=_budget(table, usual.budget),
        schedule=_schedule(table, usual.schedule),
        backbone=backbone or usual.backbone,
        after_base="" if backbone else usual.after_base,
    )


def _protocols(file: _File) -> list[Protocol]:
    """Register the protocols of a file."""
    found = []
    for table in file.protocols:
        try:
            found.append(register(_protocol(table, dataset(file.dataset).name)))
        except ValueError as error:
            raise _placed(error, file, table) from None
    return found


def _placed(error: ValueError, file: _File, table: Table) -> ValueError:
    """Return the error with its place in front, if it does not say it."""
    said = str(error)
    return ValueError(said if said.startswith(file.where) else f"{table.where}: {said}")


def _protocol(table: Table, name: str) -> Protocol:
    classes = DATASETS[name].classes
    base, increment = table.whole("base", 0, low=0, high=classes), table.whole("increment", low=1, high=classes)
    head = class_incremental(name, base=base, increment=increment)
    changed = replace(
        head,
        budget=_budget(table, head.budget),
        backbone=_backbone(table, head.backbone),
        schedule=_schedule(table, head.schedule),
    )
    return replace(_named(table, head, changed), source=table.text("source", ""))


def _named(table: Table, head: Protocol, changed: Protocol) -> Protocol:
    """Return the protocol under the name it was given, or under its canonical one."""
    if "name" not in table:
        if changed.schedule != head.schedule:
            raise ValueError(f'"name" is missing: {head.name} has a schedule of {head.schedule}, this one needs a name')
        return named_after(head, changed)
    name = table.text("name").strip().lower()
    same = meaning(name)
    if same is not None and same.identity() == changed.identity():
        return same
    if same is not None or plain(name) in spellings():
        raise ValueError(f'name: "{name}" has a meaning already; choose another name')
    if not re.fullmatch(r"[a-z0-9][a-z0-9._/-]*", name):
        raise table.refused("name", "letters, digits, dots, dashes and slashes")
    return replace(changed, name=name)


def _budget(table: Table, default: Budget) -> Budget:
    value = table.values.get("memory", str(default))
    try:
        return budget_of(str(value) if type(value) in (int, str) else "")
    except ValueError:
        raise table.refused("memory", 'a number of exemplars such as 2000, or "20/class",') from None


def _backbone(table: Table, default: str) -> str:
    name = table.text("backbone", default, "a backbone's name").strip().lower()
    if "backbone" in table and not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise table.refused("backbone", "a backbone's name")
    return name


def _schedule(table: Table, default: float) -> float:
    return table.number("schedule", default, low=0.001, high=100)


def _unambiguous(path: Path) -> None:
    """Raise ValueError where a name of a protocol is also the name of a dataset or spells another protocol."""
    for name, protocol in REGISTERED.items():
        same = meaning(name)
        if plain(name) in spellings() or (same is not None and same.identity() != protocol.identity()):
            raise ValueError(f'{path}: "{name}" would mean two things; choose another name for the dataset')
