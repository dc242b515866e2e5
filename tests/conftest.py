"""What every test shares: one thread per process, registries that no test changes for another, and an S3 server."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: two cores, several processes


def pytest_sessionstart(session: pytest.Session) -> None:
    """Have the process that multiprocessing starts when first needed start here, and not among those a test ends."""
    ensure_running()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless it is asked for by its marker or by its name."""
    asked = "soak" in config.option.markexpr or any("::" in argument for argument in config.args)
    long = [] if asked else [item for item in items if item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture(autouse=True)
def registries_left_as_found() -> Iterator[None]:
    from grace.streams.registry import DATASETS
    from protocols.registry import REGISTERED, USUAL

    before = [(table, dict(table)) for table in (DATASETS, USUAL, REGISTERED)]
    yield
    for table, saved in before:
        table.clear()
        table.update(saved)


SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """The address of a real S3 server in a process of its own, started once."""
    command = [sys.executable, "-W", "ignore", "-c", SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.kill()


@pytest.fixture
def bucket(object_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of an empty bucket, which the environment leads to."""
    from pyarrow.fs import S3FileSystem

    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    address = object_store.removeprefix("http://")
    S3FileSystem(scheme="http", endpoint_override=address, region="us-east-1",
                 allow_bucket_creation=True).create_dir(name)  # fmt: skip
    return f"s3://{name}"
