"""Store: a folder of results that can be copied, merged by copying, and read without us.

`records/<key>.parquet` is the done mark of a run and appears whole, after its `predictions/<key>.parquet`.
`work/<key>/` holds the checkpoints of a run that is not finished, `work/<key>.lock` says that somebody is at it,
`failed/<key>.json` why one ended, `sweeps/` what was asked for, `damaged/` what could not be read, never deleted.
`index/` is a copy of figures that records hold (suite/index.py) and may be deleted at any time.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from suite.errors import Exit, SuiteError
from suite.record import Damaged, Failure, RunRecord, decode, encode, newer
from suite.spec import SCHEMA
from suite.writing import beside, place

if TYPE_CHECKING:
    from filelock import FileLock

FOLDERS = ("records", "predictions", "work", "failed", "sweeps")
KEY = re.compile(r"[0-9a-f]{16}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class Store:
    """Records, failures, checkpoints and sweeps under one root. Nothing is created by a store opened for reading."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.damaged: list[str] = []  # a line for each record that cannot be used

    @classmethod
    def open(cls, root: Path, *, write: bool = False) -> Store:
        """Return the store at `root`, made ready if it is to be written.

        Raises SuiteError (environment) when `root` is no folder, cannot be written or was made by a newer version.
        """
        store = cls(Path(root))
        mark = store.root / "store.json"
        with store._guard("opened"):
            if store.root.exists() and not store.root.is_dir():
                raise SuiteError(f"results root {root} is not a folder: name another with --root", Exit.ENVIRONMENT)
            if mark.exists():
                newer(store._schema(mark), f"results root {root}")
        if write:
            with store._guard("written"):
                for folder in FOLDERS:
                    (store.root / folder).mkdir(parents=True, exist_ok=True)
                # a full or read-only disk should show before the first run, not after it
                probe = beside(mark, json.dumps({"schema": SCHEMA}).encode())
                probe.unlink() if mark.exists() else probe.rename(mark)
        return store

    @property
    def exists(self) -> bool:
        """Whether the root holds a store at all."""
        return (self.root / "records").is_dir()

    def away(self) -> str:
        """Return what is wrong with a root that was there and is out of reach now, in one line, or nothing."""
        try:
            (self.root / "store.json").read_bytes()
        except OSError as error:
            return f"results root {self.root} is gone: {error.strerror or error}"
        return ""

    def keys(self) -> list[str]:
        """Keys of the runs that have a record, by file name alone, sorted."""
        return self._names("records", ".parquet")

    def stamps(self) -> dict[str, str]:
        """Sizes and times of change of each run's two files, by key in order: equal as long as neither is replaced.

        A run of which one file is not there has an empty stamp.
        """
        found = {}
        folders = [os.path.join(self.root, kind) for kind in ("records", "predictions")]
        with self._guard("read"):
            for key in self.keys():
                try:
                    files = [os.stat(f"{folder}{os.sep}{key}.parquet") for folder in folders]  # paths would cost more
                    found[key] = "-".join(f"{file.st_size}-{file.st_mtime_ns}" for file in files)
                except FileNotFoundError:
                    found[key] = ""
        return found

    def done(self, key: str) -> bool:
        """Tell whether a run has a whole record and the predictions that belong to it; damaged ones are set aside."""
        return self._whole(key, arrays=False) is not None

    def read(self, key: str, *, predictions: bool = True) -> RunRecord:
        """Return a record; raises SuiteError when there is none, or only a damaged one, which is set aside."""
        record = self._whole(key, predictions)
        if record is None:
            damage = "".join(f": {line}" for line in self.damaged if key in line)
            raise SuiteError(f"no record of run {key} under {self.root}{damage}", Exit.NOTHING)
        return record

    def records(self, among: Iterable[str] | None = None) -> Iterator[RunRecord]:
        """Yield the whole records in the order of their keys; `among` are the keys to look at, by default all."""
        for key in self.keys() if among is None else among:
            whole = self._whole(key, arrays=True)
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
        found = {}
        for key in sorted(set(self._names("failed", ".json")) - set(self.keys())):
            try:
                found[key] = Failure(**json.loads((self.root / "failed" / f"{key}.json").read_text()))
            except (ValueError, TypeError, OSError):
                continue  # a reason is a comfort, no result
        return found

    def work(self, key: str) -> Path:
        """Return the folder for the checkpoints of an unfinished run; it need not exist."""
        return self.root / "work" / key

    def lock(self, key: str) -> FileLock:
        """Return the lock that whoever runs `key` must hold; not acquired. The kernel frees it when its holder dies."""
        from filelock import FileLock

        return FileLock(self.root / "work" / f"{key}.lock")

    def clean(self, key: str) -> None:
        """Remove a run's checkpoints, and what writers of it that were killed left behind. For the lock's holder."""
        with self._guard("written"):
            shutil.rmtree(self.work(key), ignore_errors=True)
            for left in (*self.root.glob(f"records/{key}.*.tmp-*"), *self.root.glob(f"predictions/{key}.*.tmp-*")):
                left.unlink(missing_ok=True)

    def save_sweep(self, name: str, text: str, kind: Literal["toml", "json"] = "toml") -> Path:
        """Keep what was asked for under a name, in place of an earlier sweep of that name; return the file."""
        if not NAME.fullmatch(name):
            raise SuiteError(f'sweep name "{name}": use letters, digits and . _ + - only')
        path = self.root / "sweeps" / f"{name}.{kind}"
        with self._guard(f"written (sweep {name})"):
            place(path, text.encode())
            path.with_name(f"{name}.{'json' if kind == 'toml' else 'toml'}").unlink(missing_ok=True)
        return path

    def sweeps(self) -> dict[str, Path]:
        """Files of the sweeps kept, by name."""
        with self._guard("read"):
            folder = self.root / "sweeps"
            files = sorted(folder.iterdir()) if folder.is_dir() else []
        return {file.stem: file for file in files if file.suffix in (".toml", ".json")}

    def _whole(self, key: str, arrays: bool) -> RunRecord | None:
        """Return a record that is whole, None for none; a damaged one is moved out of the way."""
        record, predictions = self._bytes("records", key), self._bytes("predictions", key)
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
            self._set_aside(key, str(damage))
            return None
        except SuiteError as error:
            raise SuiteError(f"{self._path('records', key)}: {error}", error.code) from None

    def _bytes(self, kind: str, key: str) -> bytes | None:
        with self._guard("read"):
            try:
                return self._path(kind, key).read_bytes()
            except FileNotFoundError:
                return None

    def _set_aside(self, key: str, why: str) -> None:
        """Move both files of a run to damaged/<key>.<n>.*, and say so."""
        folder = self.root / "damaged"
        try:
            folder.mkdir(exist_ok=True)
            n = next(n for n in range(1, 1_000_000) if not any(folder.glob(f"{key}.{n}.*")))
            for kind in ("records", "predictions"):
                if self._path(kind, key).exists():
                    self._path(kind, key).rename(folder / f"{key}.{n}.{kind}.parquet")
            fate = f"set aside as {folder}/{key}.{n}.*"
        except OSError as error:
            fate = f"is damaged and cannot be set aside ({error.strerror})"
        self.damaged.append(f"record {key} {fate}: {why}")

    def _path(self, kind: str, key: str) -> Path:
        return self.root / kind / f"{key}.parquet"

    def _names(self, folder: str, suffix: str) -> list[str]:
        with self._guard("read"):
            names = os.listdir(self.root / folder) if (self.root / folder).is_dir() else []
        stems = (name.removesuffix(suffix) for name in names if name.endswith(suffix))
        return sorted(filter(KEY.fullmatch, stems))

    def _schema(self, mark: Path) -> int:
        try:
            return int(json.loads(mark.read_text())["schema"])
        except (ValueError, TypeError, KeyError):
            message = f"{mark} does not say which version wrote it: restore it, or delete it if this version did"
            raise SuiteError(message, Exit.ENVIRONMENT) from None

    @contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        """Turn trouble with the disk into one line."""
        try:
            yield
        except OSError as error:
            message = f"results root {self.root} cannot be {what}: {error.strerror or error}"
            raise SuiteError(message, Exit.ENVIRONMENT) from error
