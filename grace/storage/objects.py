"""Object stores (`s3://`, `gs://`) with the face of pathlib, as far as it is used.

An object store has neither folders nor renames nor locks; an object is there as a whole or not at all. pyarrow is
imported when a path is first asked for something.
"""

from __future__ import annotations

import errno
import io
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

ATTEMPTS = 5  # of a request that fails for a passing reason
READS = 10  # of an object that is replaced meanwhile
CONNECTING = 10.0  # seconds that a store may take to answer the first time
S3_OPTIONS = ("region", "scheme", "endpoint_override", "tls_ca_file_path")


class Entry(NamedTuple):
    """What a folder's listing says of one thing in it; the names are those of `os.stat`."""

    st_size: int  # bytes
    st_mtime_ns: int
    folder: bool = False

    @property
    def st_mtime(self) -> float:
        """Seconds since the epoch."""
        return self.st_mtime_ns / 1e9


@dataclass(frozen=True, order=True)
class ObjectPath:
    """An object, or the beginning of the names of some, in an object store. Raises OSError for whatever goes wrong."""

    scheme: str
    path: str  # bucket and key, as in `bucket/results/records`
    query: str = ""  # what the URI says of the store itself: endpoint_override=..., region=...

    def __str__(self) -> str:
        """Return the URI."""
        return f"{self.scheme}://{self.path}{'?' if self.query else ''}{self.query}"

    def __truediv__(self, name: str | os.PathLike[str]) -> ObjectPath:
        """Return what has this name below."""
        return ObjectPath(self.scheme, f"{self.path}/{os.fspath(name)}", self.query)

    @property
    def name(self) -> str:
        """The last part."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """The last part without its ending."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """The ending of the last part."""
        return self._pure.suffix

    @property
    def parent(self) -> ObjectPath:
        """What it lies in."""
        return ObjectPath(self.scheme, str(self._pure.parent), self.query)

    def with_name(self, name: str) -> ObjectPath:
        """Return its neighbour of this name."""
        return self.parent / name

    def absolute(self) -> ObjectPath:
        """Return itself, as `expanduser` and `resolve` do: a URI says all."""
        return self

    expanduser = resolve = absolute

    @property
    def _pure(self) -> PurePosixPath:
        return PurePosixPath(self.path)

    def exists(self) -> bool:
        """Tell whether an object has this name, or some lie below."""
        return bool(self._info().type)

    def is_file(self) -> bool:
        """Tell whether an object has this name."""
        return bool(self._info().is_file)

    def is_dir(self) -> bool:
        """Tell whether objects lie below."""
        return self.exists() and not self.is_file()

    def stat(self) -> Entry:
        """Return size and time of change, by the store's clock; raises FileNotFoundError."""
        found = self._info()
        if not found.type:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return _entry(found)

    def iterdir(self) -> Iterator[ObjectPath]:
        """Yield what lies right below, in the order of the names; nothing where there is nothing. One request."""
        yield from (self / name for name in self.entries())

    def entries(self) -> dict[str, Entry]:
        """Return what lies right below, by name in order, with sizes and times. One request."""
        return dict(sorted((info.base_name, _entry(info)) for info in self._listed(recursive=False)))

    def size(self) -> int:
        """Return the bytes of the object, or of all that lie below."""
        found = self._info()
        return sum(each.size or 0 for each in ([found] if found.is_file else self._listed(recursive=True)))

    def _listed(self, recursive: bool) -> list[Any]:
        from pyarrow.fs import FileSelector

        with self._asking() as store:
            return list(store.get_file_info(FileSelector(self.path, allow_not_found=True, recursive=recursive)))

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield what lies right below and has a name of this pattern."""
        yield from (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def read_bytes(self) -> bytes:
        """Return what the object holds, all of it from one moment."""
        for _ in range(READS):
            with self._asking() as store, store.open_input_file(self.path) as file:
                try:
                    data, before = file.read(file.size()), file.metadata()
                except OSError:
                    self.stat()  # raises FileNotFoundError where it was removed meanwhile, which is not always said
                    raise
                with store.open_input_file(self.path) as again:
                    if again.metadata() == before:  # else it was replaced between the question for its size and this
                        return bytes(data)
        raise OSError(errno.EAGAIN, "it is replaced faster than it can be read", str(self))

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the text that the object holds."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Return what the object holds, as a file in memory; for reading bytes only."""
        if mode != "rb":
            raise ValueError(f"an object is put whole, not opened for {mode}")
        return io.BytesIO(self.read_bytes())

    def put(self, data: bytes) -> None:
        """Write the object: it appears, or takes the place of what was there, when all of it has arrived."""
        if threading.current_thread() is not threading.main_thread():
            self._put(data)
            return
        # Ctrl-C reaches the main thread alone; in the middle of this it would close the stream, and half an object be
        with ThreadPoolExecutor(1) as pool:
            pool.submit(self._put, data).result()

    def _put(self, data: bytes) -> None:
        with self._asking() as store:
            stream = store.open_output_stream(self.path)
            stream.write(data)
            stream.close()

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""
        with suppress(*[FileNotFoundError] * missing_ok), self._asking() as store:
            store.delete_file(self.path)

    def rename(self, target: ObjectPath) -> ObjectPath:
        """Copy the object to another name and remove it here."""
        with self._asking() as store:
            store.move(self.path, target.path)
        return target

    def remove_tree(self) -> None:
        """Remove everything that lies below."""
        with suppress(FileNotFoundError), self._asking() as store:
            store.delete_dir(self.path)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a folder is there when something lies in it."""

    def _info(self) -> Any:
        with self._asking() as store:
            return store.get_file_info(self.path)

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        """Hand out the store, and make its complaints OSErrors with a number, a reason in a few words and a name."""
        import pyarrow

        try:
            yield _filesystem(self.scheme, self.path.partition("/")[0], self.query)
        except (OSError, pyarrow.ArrowException) as error:
            raise OSError(*_reason(error), str(self)) from error


@lru_cache
def _filesystem(scheme: str, bucket: str, query: str) -> Any:
    """Return the store of a bucket: what the URI leaves open is taken from the environment."""
    from pyarrow import fs

    if scheme != "s3":
        return fs.FileSystem.from_uri(f"{scheme}://{bucket}{'?' if query else ''}{query}")[0]
    options = dict(parse_qsl(query))
    for name in options:
        if name not in S3_OPTIONS:
            raise OSError(errno.EINVAL, f"the URI's {name} is not known; known: {', '.join(S3_OPTIONS)}")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and "endpoint_override" not in options:
        options |= {"scheme": urlsplit(endpoint).scheme, "endpoint_override": urlsplit(endpoint).netloc}
    if "region" not in options:  # the SDK would ask the machine's cloud for seconds, and then guess
        told = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        options["region"] = told or ("us-east-1" if "endpoint_override" in options else fs.resolve_s3_region(bucket))
    retry = fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
    # opened late, a small object is one request
    return fs.S3FileSystem(allow_delayed_open=True, connect_timeout=CONNECTING, retry_strategy=retry, **options)


def _reason(error: BaseException) -> tuple[int, str]:
    """Return an error number and what a store's complaint says, without the rest of the request."""
    text = " ".join(str(error).split())
    number = getattr(error, "errno", None)
    if number and isinstance(error, FileNotFoundError):
        return number, os.strerror(number)
    kind = re.search(r"AWS Error (\w+) during", text)
    kinds = {"NO_SUCH_BUCKET": errno.ENOENT, "ACCESS_DENIED": errno.EACCES}
    number = number or kinds.get(kind[1] if kind else "", errno.EIO)
    text = text.partition(" operation: ")[2] or getattr(error, "strerror", None) or text
    text = text.partition("; Details: ")[2] or text
    return number, re.sub(r"\s*\(Request ID.*|\. Detail:.*", "", text)


def _entry(info: Any) -> Entry:
    return Entry(info.size or 0, info.mtime_ns or 0, not info.is_file)
