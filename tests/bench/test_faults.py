"""What the harness of faults counts and finds: it must see what was lost, or nothing would follow from its silence."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.faults import disk, processes
from bench.faults.disk import Disk
from bench.faults.siege import Fault, Siege
from bench.faults.trace import Moment, Redone, again, moments, redone
from bench.faults.world import World, world


@pytest.fixture
def here() -> Iterator[World]:
    with world() as made:
        yield made


def told(*lines: str) -> list[Moment]:
    return [Moment(float(i), int(pid), kind, "k", what) for i, (pid, kind, what) in enumerate(map(str.split, lines))]


# killed in the second epoch; what is lost is the second, which had not been trained to its end
CUT = told("1 epoch 0", "1 trained 0", "1 epoch 1", "2 epoch 1", "2 trained 1")
# killed in the third while the second was not yet saved: that is lost, too
LATE = told(
    "1 epoch 0", "1 trained 0", "1 epoch 1", "1 trained 1", "1 epoch 2", "2 epoch 1", "2 trained 1", "2 epoch 2"
)


def test_work_done_twice_is_counted() -> None:
    assert redone(CUT) == Redone(begun=1, whole=0)
    assert redone(LATE) == Redone(begun=2, whole=1)
    assert redone(LATE, "another") == Redone(0, 0)
    assert again(CUT) == [moment for moment in CUT if moment.what == "1"]


def test_a_fault_is_charged_with_what_its_victim_lost(here: World) -> None:
    siege = Siege(here, [], {})
    assert siege.cost(Fault("", 2.5, {"k": 1}), CUT) == (1, 0)
    assert siege.cost(Fault("", 4.5, {"k": 1}), LATE) == (2, 1)
    assert siege.cost(Fault("", 0.5, {"k": 1}), CUT) == (1, 0)  # it went on for a moment before it was gone
    assert siege.recovery(Fault("", 2.5, {"k": 1}), CUT) == 0.5
    assert siege.recovery(Fault("", 4.5, {"k": 2}), LATE) is None  # nobody came after it
    again = told("1 epoch 0", "1 trained 0", "1 epoch 0", "1 trained 0")  # the disk took nothing for a while
    assert siege.recovery(Fault("", 1.5, {"k": 1}, spared=True), again) == 0.5
    assert siege.cost(Fault("", 1.5, {"k": 1}, spared=True), again) == (1, 1)


CODE = "import os, time; file = open('w.tmp-1', 'wb'); os.fsync(file.fileno()); print(time.time(), flush=True)"


def test_a_process_tells_of_a_write_and_stands_at_a_trap_until_it_is_let_go(here: World) -> None:
    folder = here.root / "work" / "0123456789abcdef"
    folder.mkdir(parents=True)
    here.trap("save")
    here.put("clock", -1000.0)
    command = [sys.executable, "-c", CODE]
    with subprocess.Popen(command, cwd=folder, env=here.environment(), stdout=subprocess.PIPE) as process:
        where = here.caught()
        assert (where.pid, where.kind, where.key) == (process.pid, "save", "0123456789abcdef")
        assert here.marked() == [process.pid]
        assert process.poll() is None
        here.release()
        assert process.stdout is not None
        assert time.time() - float(process.stdout.read()) == pytest.approx(1000, abs=100)
    assert [moment.kind for moment in moments(here.folder)] == ["save"]


def test_only_marked_processes_are_found_and_ended(here: World) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as another:
        ours = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=here.environment())
        for _ in here.until(10, "a process that has just begun shows no mark"):
            if here.marked():
                break
        assert here.marked() == [ours.pid]
        processes.end(str(here.folder))
        assert ours.wait() == -9
        assert ours.stdin is not None
        ours.stdin.close()
        assert another.poll() is None
        assert another.stdin is not None
        another.stdin.write(b"\n")


@pytest.mark.skipif(not disk.possible(), reason="no mounts of one's own here")
def test_a_disk_is_full_and_goes_and_comes_back(tmp_path: Path) -> None:
    one = Disk(tmp_path, 256)
    seen = f"cat {tmp_path}/results/kept"
    try:
        (one.content / "kept").write_text("all of it")
        one.fill()
        with pytest.raises(OSError, match="No space left"):
            (one.content / "more").write_bytes(bytes(100_000))
        one.empty()
        (one.content / "more").write_bytes(bytes(100_000))
        one.leave()
        assert subprocess.run([*one.prefix, *seen.split()], capture_output=True, check=False).returncode == 1
        assert one.beneath == []
        one.come_back()
        assert subprocess.run([*one.prefix, *seen.split()], capture_output=True, check=True).stdout == b"all of it"
        assert os.listdir(tmp_path / "results") == []  # nobody else sees it
    finally:
        one.close()
