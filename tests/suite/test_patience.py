"""What is waited for and how long: by a clock that moves when somebody sleeps."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import pytest

from suite.errors import Exit, SuiteError
from suite.events import Event
from suite.launch import LaunchOptions
from suite.patience import Patience, trouble
from suite.store import Store

FULL = OSError(errno.ENOSPC, "No space left on device")


class World:
    """A store, a clock, and what happens at some moments."""

    def __init__(self, folder: Path, minutes: float = 1.0) -> None:
        self.now = 0.0
        self.events: list[Event] = []
        self.store = Store.open(folder / "results", write=True)
        options = LaunchOptions(root=self.store.root, data=folder, patience_minutes=minutes)
        self.patience = Patience(
            self.store, options, self.events.append, lambda: False, sleep=self.sleep, clock=lambda: self.now
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < 1000, "it waits for ever"

    def exhaust(self, tried: list[float], trained: int = 0) -> None:
        """Meet a full disk again and again, each time after so many epochs, and note when it was tried."""
        while True:
            if trained:
                self.patience.observe(Event("progress", "k", {"trained": trained}))
            self.patience.outwait(FULL)
            tried.append(self.now)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_disk_without_room_is_tried_again_ever_more_rarely(world: World) -> None:
    tried: list[float] = []
    with pytest.raises(SuiteError, match="No space left on device; the same command goes on") as caught:
        world.exhaust(tried)
    assert tried == [1.0, 3.0, 8.0, 18.0, 48.0]
    assert caught.value.code is Exit.ENVIRONMENT
    assert 60 <= world.now < 61
    assert [event.fields["state"] for event in world.events] == ["waiting"]  # said once


def test_a_run_that_comes_further_has_all_the_time_again(world: World) -> None:
    for _ in range(4):
        world.patience.outwait(FULL)
    world.patience.observe(Event("progress", "k", {"trained": 1}))
    began = world.now
    with pytest.raises(SuiteError):
        world.exhaust([])
    assert world.now - began >= 60


def test_a_run_that_trains_again_what_it_could_not_save_has_come_no_further(world: World) -> None:
    tried: list[float] = []
    with pytest.raises(SuiteError):
        world.exhaust(tried, trained=3)
    assert tried == [1.0, 3.0, 8.0, 18.0, 48.0]
    assert sum(event.kind == "lane" for event in world.events) == 1  # said once


def test_it_is_not_tried_again_before_something_can_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def sleep(seconds: float) -> None:
        world.sleep(seconds)
        if world.now == 20:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr(world.patience, "_sleep", sleep)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # of a file: what is larger cannot be written
    try:
        world.patience.outwait(FULL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert world.now == 20
    assert [path.name for path in world.store.root.glob("*.tmp-*")] == []


def test_the_fault_of_a_run_is_raised_at_once(world: World) -> None:
    with pytest.raises(ValueError, match="its own"):
        world.patience.outwait(ValueError("its own"))
    with pytest.raises(SuiteError, match="no GPU"):
        world.patience.outwait(SuiteError("no GPU", Exit.ENVIRONMENT))
    assert world.now == 0


def test_any_error_is_trouble_while_the_root_is_gone(world: World) -> None:
    assert trouble(world.store, ValueError("odd")) == ""
    world.store.root.rename(world.store.root.with_name("away"))
    assert "is away: store.json: No such file or directory" in trouble(world.store, ValueError("odd"))


def test_no_patience_is_none(tmp_path: Path) -> None:
    world = World(tmp_path, minutes=0)
    with pytest.raises(SuiteError, match="cannot write to"):
        world.patience.outwait(FULL)
    assert world.now == 0
