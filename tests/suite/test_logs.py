"""Logs of runs: what a process prints is caught, a crash says where it was, and a reader follows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from suite.logs import Follower, captured, last_words, path, tail, write

CRASH = """
import ctypes, sys
from pathlib import Path
from suite.logs import captured
with captured(Path(sys.argv[1])):
    print("from Python")
    ctypes.CDLL(None).puts(b"from C")
    ctypes.CDLL(None).fflush(None)
    ctypes.string_at(0)
"""


def test_what_a_process_prints_is_caught_and_a_crash_says_where_it_was(tmp_path: Path) -> None:
    file = path(tmp_path, "k")
    done = subprocess.run([sys.executable, "-c", CRASH, str(file)], capture_output=True, text=True)
    assert done.returncode == -11
    assert done.stdout == done.stderr == ""
    text = file.read_text()
    assert "from Python" in text
    assert "from C" in text
    assert "Fatal Python error: Segmentation fault" in text
    assert last_words(file) == "Fatal Python error: Segmentation fault"
    with file.open("a") as log:  # where much is loaded, Python tells of all of it
        log.write(f"Extension modules: {', '.join(f'package.module{i}' for i in range(1000))}\n")
    assert last_words(file) == "Fatal Python error: Segmentation fault"


def test_streams_are_what_they_were_afterwards(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from suite.logs import captured
print("before")
with captured(Path(sys.argv[1])):
    print("within")
print("after")
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "k.log")], capture_output=True, text=True)
    assert done.stdout == "before\nafter\n"
    assert (tmp_path / "k.log").read_text() == "within\n"


def test_a_log_never_makes_a_root_anew(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    write(path(gone, "k"), "text")
    with captured(path(gone, "k")):
        pass
    assert not gone.exists()
    assert tail(path(gone, "k")) == last_words(path(gone, "k")) == ""


def test_a_long_log_of_earlier_attempts_is_put_aside(tmp_path: Path) -> None:
    file = path(tmp_path, "k")
    write(file, "x" * 2**20)
    with captured(file):
        pass
    write(file, "new")
    assert file.read_text().endswith("new\n")
    assert len(file.read_text()) < 100
    assert file.with_suffix(".log.1").stat().st_size > 2**20


def test_a_reader_gets_whole_new_lines_once(tmp_path: Path) -> None:
    file = tmp_path / "k.log"
    file.write_text("old\n")
    follower = Follower()
    follower.follow(file)
    follower.follow(tmp_path / "later.log")
    with file.open("a") as log:
        log.write("one\ntw")
    (tmp_path / "later.log").write_text("hello\n")
    assert list(follower.news()) == [(file, "one"), (tmp_path / "later.log", "hello")]
    with file.open("a") as log:
        log.write("\x1b[36mo\x1b[0m\n")
    assert list(follower.news()) == [(file, "two")]
    assert list(follower.news()) == []
