"""Store: a folder of results that can be copied, merged by copying, and read without us.

`records/<key>.parquet` is the done mark of a run and appears whole, after its `predictions/<key>.parquet`.
`work/<key>/` holds the checkpoints of a run that is not finished, `work/<key>.lock` says that somebody is at it,
`failed/<key>.json` why one ended, `sweeps/` what was asked for, `damaged/` what could not be read, never deleted.
`index/` is a copy of figures that records hold (suite/index.py) and may be deleted at any time. In an object store
`locks/` stands for the files `work/*.lock` (suite/lease.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from grace.storage.folders import Folder, at_once, entries, folder, names, remove_tree
from grace.storage.objects import Entry
from grace.storage.writing import abandoned, place, probe
from suite.damage import set_aside
from suite.errors import Exit, SuiteError
from suite.lease import Lock, lock
from suite.record import Damaged, Failure, RunRecord, decode, encode, newer
from suite.spec import SCHEMA, schema_of

FOLDERS = ("records", "predictions", "work", "failed", "sweeps")
KEY = re.compile(r"[0-9a-f]{16}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class Store:
    """Records, failures, checkpoints and sweeps under one root. Nothing is created by a store opened for reading."""

    def __init__(self, root: Folder) -> None:
        self.root = root
        self.damaged: list[str] = []  # a line for each record that cannot be used

    @classmethod
    def open(cls, root: str | Folder, *, write: bool = False) -> Store:
        """Return the store at `root`, made ready if it is to be written.

        Raises SuiteError (environment) when `root` is no folder, cannot be written or was made by a newer version.
        """
        store = cls(folder(root))
        mark = store.root / "store.json"
        with store._guard("opened"):
            if isinstance(store.root, Path) and store.root.exists() and not store.root.is_dir():
                raise SuiteError(f"results root {root} is not a folder: name another with --root", Exit.ENVIRONMENT)
            marked = mark.is_file()
            if marked:
                newer(schema_of(mark), f"results root {root}")
        if write:
            with store._guard("written"):
                for name in FOLDERS:
                    (store.root / name).mkdir(parents=True, exist_ok=True)
                # a full or read-only disk should show before the first run, not after it
                (probe if marked else place)(mark, json.dumps({"schema": SCHEMA}).encode())
        return store

    @property
    def exists(self) -> bool:
        """Whether the root holds a store at all."""
        with self._guard("read"):
            return (self.root / "records").is_dir() or (self.root / "store.json").is_file()

    def away(self) -> str:
        """Return why the store cannot be used for now, in a line; nothing where its mark is there and can be read."""
        try:
            schema_of(self.root / "store.json")
        except OSError as error:
            return f"results root {self.root} is away: store.json: {error.strerror or error}"
        except SuiteError as error:
            return str(error)
        return ""

    def keys(self) -> list[str]:
        """Keys of the runs that have a record, by file name alone, sorted."""
        return self._names("records", ".parquet")

    def stamps(self) -> dict[str, str]:
        """Sizes and times of change of each run's two files, by key in order: equal as long as neither is replaced.

        A run of which one file is not there has an empty stamp.
        """
        with self._guard("read"):
            records, predictions = (entries(self.root / kind) for kind in ("records", "predictions"))
        found = {}
        for key in _keys(records, ".parquet"):
            pair = [records[f"{key}.parquet"], predictions.get(f"{key}.parquet")]
            found[key] = "-".join(f"{file.st_size}-{file.st_mtime_ns}" for file in pair if file) if all(pair) else ""
        return found

    def done(self, key: str) -> bool:
        """Tell whether a run has a whole record and the predictions that belong to it; damaged ones are set aside."""
        return self._whole(key, False, *self._files(key)) is not None

    def finished(self, among: Iterable[str]) -> set[str]:
        """Return those of the runs that are done."""
        return {record.key for record in self.records(sorted(set(self.keys()).intersection(among)), arrays=False)}

    def read(self, key: str, *, predictions: bool = True) -> RunRecord:
        """Return a record; raises SuiteError when there is none, or only a damaged one, which is set aside."""
        record = self._whole(key, predictions, *self._files(key))
        if record is None:
            damage = "".join(f": {line}" for line in self.damaged if key in line)
            raise SuiteError(f"no record of run {key} under {self.root}{damage}", Exit.NOTHING)
        return record

    def records(self, among: Iterable[str] | None = None, *, arrays: bool = True) -> Iterator[RunRecord]:
        """Yield the whole records in the order of their keys; `among` are the keys to look at, by default all.

        Without `arrays` their predictions are checked and left out.
        """
        keys = self.keys() if among is None else list(among)
        for key, files in zip(keys, at_once(self.root, self._files, keys), strict=True):
            whole = self._whole(key, arrays, *files)
            if whole is not None:
                yield whole

    def write(self, record: RunRecord) -> None:
        """Keep a record: predictions first, then the record that marks them as done; a failure of the run is forgotten.

        A whole record that is already there stays: it is the same result, and pairs must never mix.
        """
        if not self.done(record.key):
            whole, predictions = encode(record)
            with self._guard(f"written (record of run {record.key})"):
                place(self._path("predictions", record.key), predictions)
                place(self._path("records", record.key), whole)
        with self._guard("written"):
            (self.root / "failed" / f"{record.key}.json").unlink(missing_ok=True)

    def adopt(self, other: Store, key: str) -> bool:
        """Copy another store's record byte for byte, if it is whole; a whole one that is here stays. Tell whether."""
        if self.done(key) or not other.done(key):
            return False
        with self._guard(f"written (record of run {key})"):
            for kind in ("predictions", "records"):
                place(self._path(kind, key), other._path(kind, key).read_bytes())
        return True

    def fail(self, failure: Failure) -> None:
        """Keep why a run ended without a record, in place of an earlier reason."""
        with self._guard(f"written (failure of run {failure.key})"):
            place(self.root / "failed" / f"{failure.key}.json", json.dumps(asdict(failure), indent=1).encode())

    def failures(self) -> dict[str, Failure]:
        """Why runs failed, by key; without those that have a record by now, and without files cut short."""
        keys = sorted(set(self._names("failed", ".json")) - set(self.keys()))
        reasons = zip(keys, at_once(self.root, self._reason, keys), strict=True)
        return {key: reason for key, reason in reasons if reason is not None}

    def _reason(self, key: str) -> Failure | None:
        with suppress(ValueError, TypeError, OSError):  # a reason is a comfort, no result
            return Failure(**json.loads((self.root / "failed" / f"{key}.json").read_text()))
        return None

    def work(self, key: str) -> Folder:
        """Return the folder for the checkpoints of an unfinished run; it need not exist."""
        return self.root / "work" / key

    def lock(self, key: str) -> Lock:
        """Return the lock that whoever runs `key` must hold; not acquired. It is free when its holder has died."""
        return lock(self.root, key)

    def clean(self, key: str) -> None:
        """Remove a run's checkpoints, and what writers of it that were killed left behind. For the lock's holder."""
        with self._guard("written"):
            remove_tree(self.work(key))
            for kind in ("records", "predictions"):
                for left in abandoned(self.root / kind, start=f"{key}.", young=0.0):
                    left.unlink(missing_ok=True)

    def save_sweep(self, name: str, text: str, kind: Literal["toml", "json"] = "toml") -> Folder:
        """Keep what was asked for under a name, in place of an earlier sweep of that name; return the file."""
        if not NAME.fullmatch(name):
            raise SuiteError(f'sweep name "{name}": use letters, digits and . _ + - only')
        path = self.root / "sweeps" / f"{name}.{kind}"
        with self._guard(f"written (sweep {name})"):
            place(path, text.encode())
            path.with_name(f"{name}.{'json' if kind == 'toml' else 'toml'}").unlink(missing_ok=True)
        return path

    def sweeps(self) -> dict[str, Folder]:
        """Files of the sweeps kept, by name."""
        return {file.stem: file for file in sorted(self._sweeps())}

    def newest(self) -> Folder | None:
        """Return the file of the sweep that was kept last, if there is any."""
        found = self._sweeps()
        return max(found, key=lambda file: found[file].st_mtime_ns, default=None)

    def _sweeps(self) -> dict[Folder, Entry]:
        folder, ends = self.root / "sweeps", (".toml", ".json")
        with self._guard("read"):
            return {folder / name: entry for name, entry in entries(folder).items() if name.endswith(ends)}

    def _whole(self, key: str, arrays: bool, record: bytes | None, predictions: bytes | None) -> RunRecord | None:
        """Return the record that a run's files hold, None for none; damaged ones are moved out of the way."""
        if record is None:
            return None
        try:
            if predictions is None:
                raise Damaged("its predictions are missing")
            found = decode(record, predictions, arrays)
            if found.key != key:
                raise Damaged(f"it holds run {found.key}")
            return found
        except Damaged as damage:
            self.damaged.append(f"record {key} {set_aside(self.root, key)}: {damage}")
            return None
        except SuiteError as error:
            raise SuiteError(f"{self._path('records', key)}: {error}", error.code) from None

    def _files(self, key: str) -> tuple[bytes | None, bytes | None]:
        """Return what the files of a run hold, its record and its predictions; None for a file that is not there."""
        record = self._bytes("records", key)
        return record, None if record is None else self._bytes("predictions", key)

    def _bytes(self, kind: str, key: str) -> bytes | None:
        with self._guard("read"):
            try:
                return self._path(kind, key).read_bytes()
            except FileNotFoundError:
                return None

    def _path(self, kind: str, key: str) -> Folder:
        return self.root / kind / f"{key}.parquet"

    def _names(self, folder: str, suffix: str) -> list[str]:
        with self._guard("read"):
            return _keys(names(self.root / folder), suffix)

    @contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        """Turn trouble with the disk into one line."""
        try:
            yield
        except OSError as error:
            message = f"results root {self.root} cannot be {what}: {error.strerror or error}"
            raise SuiteError(message, Exit.ENVIRONMENT) from error


def _keys(names: Iterable[str], suffix: str) -> list[str]:
    """Return the keys that file names begin with, sorted."""
    stems = (name.removesuffix(suffix) for name in names if name.endswith(suffix))
    return sorted(filter(KEY.fullmatch, stems))
