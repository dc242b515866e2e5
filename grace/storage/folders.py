"""Folders of either kind: on a disk, or below a name in an object store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from grace.storage.objects import Entry, ObjectPath

SCHEMES = ("s3", "gs")  # stores whose objects appear whole, unlike files of hdfs, which grow
AT_ONCE = 16  # requests
CHUNK = 64  # answers held at a time

T = TypeVar("T")
S = TypeVar("S")

Folder = Path | ObjectPath


def folder(place: str | Folder) -> Folder:
    """Return what a user names: a path, or a URI of an object store. Raises ValueError for one that cannot be."""
    text = str(place)
    scheme, found, rest = text.partition("://")
    if not found or isinstance(place, ObjectPath):
        return place if isinstance(place, ObjectPath) else Path(text)
    if scheme == "file":
        return Path(urlsplit(text).path)
    if scheme not in SCHEMES:
        raise ValueError(f"{text}: a folder, {' or '.join(f'{name}://' for name in SCHEMES)} is wanted")
    name, _, query = rest.partition("?")
    name = "/".join(part for part in name.split("/") if part)
    if not name:
        raise ValueError(f"{text}: name a bucket, as in {scheme}://bucket/results")
    if "@" in name:
        raise ValueError("a URI with credentials would be kept in sweeps and commands: put them in the environment")
    return ObjectPath(scheme, name, query)


def entries(place: Folder) -> dict[str, Entry]:
    """Return what lies right in a folder, by name in order; nothing where there is no such folder. One request."""
    if isinstance(place, ObjectPath):
        return place.entries()
    found = {}
    with suppress(FileNotFoundError), os.scandir(place) as scan:
        for each in scan:
            with suppress(FileNotFoundError):  # removed meanwhile
                stat = each.stat()
                found[each.name] = Entry(stat.st_size, stat.st_mtime_ns, each.is_dir())
    return dict(sorted(found.items()))


def names(place: Folder) -> list[str]:
    """Return the names of what lies right in a folder; nothing where there is no such folder. One request."""
    if isinstance(place, ObjectPath):
        return list(place.entries())
    with suppress(FileNotFoundError):
        return os.listdir(place)
    return []


def below(place: Folder, root: Folder) -> str:
    """Return the way from a root to what lies below it, for people."""
    if isinstance(place, ObjectPath):
        return place.path.removeprefix(f"{root.path}/" if isinstance(root, ObjectPath) else "")
    return str(place.relative_to(root) if isinstance(root, Path) else place)


def size(place: Folder) -> int:
    """Return the bytes of a file, or of everything that lies below a folder."""
    if isinstance(place, ObjectPath):
        return place.size()
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(file.stat().st_size for file in files if file.is_file())


def remove_tree(place: Folder) -> None:
    """Remove a folder with all that lies in it, as far as that can be done."""
    if isinstance(place, ObjectPath):
        place.remove_tree()
    else:
        shutil.rmtree(place, ignore_errors=True)


def at_once(place: Folder, ask: Callable[[T], S], of: Iterable[T]) -> Iterator[S]:
    """Yield what `ask` answers to each, in order; where `place` is far away, many are asked at the same time."""
    if not isinstance(place, ObjectPath):
        yield from map(ask, of)
        return
    waiting = iter(of)
    with ThreadPoolExecutor(AT_ONCE, "storage") as pool:
        while chunk := list(islice(waiting, CHUNK)):  # more would fill the memory
            yield from pool.map(ask, chunk)
