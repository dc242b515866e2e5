"""Faults of a command that works without Ray: each is done to a real process."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from bench.faults import disk
from bench.faults.trace import redone
from bench.faults.verdict import complaints, undisturbed
from bench.faults.world import World, world
from suite.errors import Exit

SWEEP = ("run", "-m", "replay", "der", "-p", "toy-b0i5", "--limit-epochs", "3", "--checkpoint-seconds", "0")
HERE = ("--address", "none")
AN_HOUR = 3600.0


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    with world() as quiet:
        return undisturbed(quiet, *SWEEP)


@pytest.fixture
def here() -> Iterator[World]:
    with world() as made:
        yield made


def test_killed_again_and_again_and_started_elsewhere(here: World, expected: dict[str, str]) -> None:
    """Kill -9 in evaluation, in a checkpoint and in a record; each time go on from another folder."""
    for moment in ("evaluation", "save", "predictions"):
        here.trap(moment)
        command = here.command(*SWEEP, *HERE, cwd=here.folder / moment)
        here.caught(watch=command)
        command.kill()
        here.release()
    assert here.command(*SWEEP, *HERE).wait() == Exit.DONE
    assert complaints(here, expected) == []
    lost = redone(here.moments())
    assert (lost.begun, lost.whole) <= (2, 2)  # an epoch and its save, and the next one that began meanwhile


def test_sigterm_saves_all_and_says_that_it_can_go_on(here: World, expected: dict[str, str]) -> None:
    here.trap("epoch")
    command = here.command(*SWEEP, *HERE)
    here.caught(watch=command)
    command.process.terminate()
    began = time.monotonic()
    here.release()
    assert command.wait() == Exit.RESUMABLE
    assert time.monotonic() - began < 30
    assert here.command(*SWEEP, *HERE).wait() == Exit.DONE
    assert complaints(here, expected) == []
    assert redone(here.moments()).begun == 0


def test_a_clock_that_is_set_back(here: World, expected: dict[str, str]) -> None:
    here.trap("save")
    command = here.command(*SWEEP, *HERE)
    here.caught(watch=command)
    here.put("clock", -24 * AN_HOUR)
    here.release()
    assert command.wait() == Exit.DONE
    assert here.command("table", "--smoke").wait() == Exit.DONE
    assert here.command("watch", "--once").wait() == Exit.DONE, here.told()
    assert complaints(here, expected) == []
    assert redone(here.moments()).begun == 0


@pytest.mark.skipif(not disk.possible(), reason="no mounts of one's own here")
class TestDisk:
    """The results root is on a disk of its own."""

    @pytest.fixture
    def here(self) -> Iterator[World]:
        with world(disk=8192) as made:
            yield made

    def test_full_for_a_while(self, here: World, expected: dict[str, str]) -> None:
        assert here.disk is not None
        here.trap("save")
        command = here.command(*SWEEP, *HERE)
        here.caught(watch=command)
        here.disk.fill()
        here.release()
        here.said("waiting up to 10 minutes", by=command)
        time.sleep(2)
        here.disk.empty()
        assert command.wait() == Exit.DONE
        assert complaints(here, expected) == []
        assert redone(here.moments()).whole <= 2

    def test_away_for_a_while(self, here: World, expected: dict[str, str]) -> None:
        assert here.disk is not None
        here.trap("save")
        command = here.command(*SWEEP, *HERE)
        here.caught(watch=command)
        here.disk.leave()
        here.release()
        here.said("waiting up to 10 minutes", by=command)
        time.sleep(2)
        assert here.disk.beneath == []
        here.disk.come_back()
        assert command.wait() == Exit.DONE
        assert complaints(here, expected) == []
        assert redone(here.moments()).whole <= 2
