"""Object stores behind pathlib's face, against a real S3 server; and what holds for folders of either kind."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import pytest
import torch

from grace.storage.folders import at_once, entries, folder, names, remove_tree, size
from grace.storage.objects import ObjectPath
from grace.storage.writing import abandoned, place, probe
from grace.training import checkpoint

ROOT = Path(__file__).parents[2]
PARTS = 12 * 2**20  # bytes: more than an upload holds in one part

pytestmark = pytest.mark.xdist_group("s3")


@pytest.fixture(params=["disk", "s3"])
def place_(request: pytest.FixtureRequest, tmp_path: Path) -> Path | ObjectPath:
    """An empty folder of either kind."""
    if request.param == "disk":
        (tmp_path / "root").mkdir()
        return tmp_path / "root"
    return folder(f"{request.getfixturevalue('bucket')}/root")


@pytest.fixture
def objects(bucket: str) -> ObjectPath:
    found = folder(f"{bucket}/root")
    assert isinstance(found, ObjectPath)
    return found


# --- names


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("s3://bucket//a/", "s3://bucket/a"),
        ("gs://bucket", "gs://bucket"),
        ("s3://b/a?scheme=http&endpoint_override=h:1", "s3://b/a?scheme=http&endpoint_override=h:1"),
        ("results", "results"),
        ("file:///tmp/x", "/tmp/x"),
    ],
)
def test_a_place_is_what_its_name_says(text: str, shown: str) -> None:
    found = folder(text)
    assert str(found) == shown
    assert folder(shown) == folder(found) == found
    assert isinstance(found, ObjectPath) == (text[:5] in ("s3://", "gs://"))


@pytest.mark.parametrize(
    ("text", "words"),
    [("hdfs://host/a", "s3:// or gs://"), ("s3://", "name a bucket"), ("s3://key:secret@bucket/a", "environment")],
)
def test_a_place_that_cannot_be_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        folder(text)
    assert "secret" not in str(caught.value)


def test_a_path_has_the_parts_that_pathlib_gives_it() -> None:
    path, model = folder("s3://bucket/root?region=x") / "records" / "a.tar.gz", Path("bucket/root/records/a.tar.gz")
    assert isinstance(path, ObjectPath)
    assert str(path) == "s3://bucket/root/records/a.tar.gz?region=x"
    assert (path.name, path.stem, path.suffix) == (model.name, model.stem, model.suffix)
    assert str(path.parent) == "s3://bucket/root/records?region=x"
    assert path.with_name("b") == path.parent / "b"
    assert path.absolute() == path.expanduser() == path.resolve() == path
    assert pickle.loads(pickle.dumps(path)) == path
    assert sorted([path, path.parent]) == [path.parent, path]
    assert len({path, path.parent / "a.tar.gz"}) == 1


def test_pyarrow_is_imported_when_an_object_is_asked_for() -> None:
    use = "from grace.storage.folders import folder; folder('s3://b/a') / 'c'"
    program = f"import sys; {use}; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# --- the same on both


def test_files_are_written_read_listed_and_removed(place_: Path | ObjectPath) -> None:
    sub = place_ / "sub"
    assert not sub.exists()
    assert entries(sub) == {}
    assert names(sub) == []
    assert size(place_) == 0
    with pytest.raises(FileNotFoundError):
        (sub / "a.txt").read_bytes()
    with pytest.raises(FileNotFoundError):
        (sub / "a.txt").stat()
    sub.mkdir(exist_ok=True)
    before = time.time()
    place(sub / "a.txt", "\u00e4".encode())
    place(sub / "b.bin", lambda file: file.write(b"123"))
    assert (sub / "a.txt").read_text(encoding="utf-8") == "\u00e4"
    with (sub / "b.bin").open("rb") as file:
        assert file.read() == b"123"
    assert {name: entry.st_size for name, entry in entries(sub).items()} == {"a.txt": 2, "b.bin": 3}
    assert all(before - 2 < entry.st_mtime < before + 60 for entry in entries(sub).values())
    assert (sub / "b.bin").stat().st_size == 3
    assert sorted(names(sub)) == ["a.txt", "b.bin"]
    assert list(entries(place_)) == ["sub"]
    assert entries(place_)["sub"].folder
    assert sorted(path.name for path in sub.iterdir()) == ["a.txt", "b.bin"]
    assert [path.name for path in sub.glob("*.txt")] == ["a.txt"]
    assert sub.is_dir()
    assert not sub.is_file()
    assert (sub / "a.txt").is_file()
    assert not (sub / "a.txt").is_dir()
    assert size(place_) == 5
    assert size(sub / "b.bin") == 3
    (sub / "b.bin").rename(sub / "c.bin")  # type: ignore[arg-type]
    assert sorted(names(sub)) == ["a.txt", "c.bin"]
    (sub / "a.txt").unlink()
    (sub / "a.txt").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        (sub / "a.txt").unlink()
    probe(sub / "mark", b"x")
    assert names(sub) == ["c.bin"]
    assert list(abandoned(place_)) == []
    remove_tree(sub)
    remove_tree(sub)
    assert not sub.exists()


def test_checkpoints_are_saved_and_loaded(place_: Path | ObjectPath) -> None:
    path = place_ / "key" / "stream.pt"
    assert checkpoint.load(path) is None
    checkpoint.save(path, {"a": torch.arange(3)})
    loaded = checkpoint.load(path)
    assert loaded is not None
    assert loaded["a"].tolist() == [0, 1, 2]
    place(path, path.read_bytes()[:-50])
    assert checkpoint.load(path) is None
    assert not path.exists()


def test_a_checkpoint_does_not_bring_back_a_root_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.save(tmp_path / "work" / "key" / "stream.pt", {})
    assert list(tmp_path.iterdir()) == []


# --- what appears is whole


def test_a_reader_never_sees_half_an_object_that_is_replaced(objects: ObjectPath) -> None:
    path, over = objects / "state", threading.Event()

    def content(number: int) -> bytes:
        return bytes([number]) * (1 + 997 * number % 5000)

    def write() -> None:
        number = 0
        while not over.wait(0.03):
            number = (number + 1) % 256
            place(path, content(number))

    place(path, content(0))
    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = set[int]()
        while len(seen) < 20:
            data = path.read_bytes()
            assert data == content(data[0])
            seen.add(data[0])
    finally:
        over.set()
        writer.join()


def test_a_writer_killed_in_the_middle_leaves_the_object_before(objects: ObjectPath) -> None:
    path = objects / "large"
    command = f"from tests.suite.writers_for_tests import put; put({str(path)!r}, {PARTS})"
    with subprocess.Popen([sys.executable, "-c", command], cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.6)  # the next is being put
        writer.kill()
    data = path.read_bytes()
    assert len(data) == PARTS
    assert len(set(data)) == 1
    assert names(objects) == ["large"]


def test_ctrl_c_in_the_middle_publishes_no_half(objects: ObjectPath) -> None:
    place(objects / "large", b"a" * PARTS)

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        place(objects / "large", b"b" * PARTS)
    except KeyboardInterrupt:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    data = (objects / "large").read_bytes()
    assert len(data) == PARTS
    assert len(set(data)) == 1


# --- trouble is an OSError in a few words


def test_a_store_out_of_reach_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grace.storage.objects.ATTEMPTS", 1)
    path = folder("s3://bucket/root?scheme=http&endpoint_override=127.0.0.1:9&region=here")
    for act in (path.exists, (path / "a").read_bytes, lambda: place(path / "a", b"x"), lambda: names(path)):
        with pytest.raises(OSError, match="onnect") as caught:
            act()
        assert caught.value.errno
        assert caught.value.filename in (str(path), str(path / "a"))
        assert len(str(caught.value.strerror)) < 120
        assert not isinstance(caught.value, FileNotFoundError)
    with pytest.raises(OSError, match="onnect"):  # and it is no reason to take a checkpoint for damaged
        checkpoint.load(path / "stream.pt")


def test_a_bucket_that_is_not_there(bucket: str) -> None:
    path = folder(f"{bucket}-none/root")
    assert not path.exists()
    assert names(path) == []
    with pytest.raises(FileNotFoundError, match="bucket does not exist"):
        place(path / "a", b"x")


def test_an_option_that_is_not_known_is_named() -> None:
    with pytest.raises(OSError, match=r"endpoint is not known; known: region.*endpoint_override"):
        folder("s3://bucket/a?endpoint=x").exists()


# --- many at a time


def test_much_is_asked_at_once_and_answered_in_order() -> None:
    barrier = threading.Barrier(8, timeout=20)

    def ask(number: int) -> int:
        barrier.wait()  # each waits for seven others
        return number * number

    assert list(at_once(ObjectPath("s3", "bucket"), ask, range(16))) == [number * number for number in range(16)]


def test_a_folder_is_listed_with_one_request(objects: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        place(objects / f"{number}", b"x")
    asked: list[ObjectPath] = []
    asking = ObjectPath._asking
    monkeypatch.setattr(ObjectPath, "_asking", lambda self: asked.append(self) or asking(self))  # type: ignore[func-returns-value]
    assert [entry.st_size for entry in entries(objects).values()] == [1, 1, 1]
    assert asked == [objects]
