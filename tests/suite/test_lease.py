"""Leases: one holder, whoever tries at once; dead ones are taken over, live ones are not, whatever a clock says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from grace.storage.folders import folder, names
from grace.storage.objects import ObjectPath
from grace.storage.writing import place
from suite import lease
from suite.lease import Lease
from suite.ledger import process
from suite.store import Store

KEY = f"{1:016x}"
DEAD = 1.5  # seconds
BEAT = 0.3
ELSEWHERE = {**process(), "host": "n02", "space": "another machine"}

pytestmark = pytest.mark.xdist_group("s3")


@pytest.fixture
def locks(bucket: str, monkeypatch: pytest.MonkeyPatch) -> ObjectPath:
    monkeypatch.setattr(lease, "PAUSE", 0.1)
    found = folder(f"{bucket}/locks")
    assert isinstance(found, ObjectPath)
    return found


def leased(locks: ObjectPath, key: str = KEY) -> Lease:
    return Lease(locks, key, beat=BEAT, dead=DEAD)


def claim(locks: ObjectPath, who: dict[str, Any]) -> None:
    place(locks / f"{KEY}.0123456789ab", json.dumps(who).encode())


def test_one_holds_it_until_it_lets_go(locks: ObjectPath) -> None:
    one, two = leased(locks), leased(locks)
    one.acquire()
    with pytest.raises(TimeoutError, match="is held by"):
        two.acquire()
    assert len(names(locks)) == 1
    with leased(locks, f"{2:016x}"):  # another run is free
        pass
    one.release()
    assert names(locks) == []
    two.acquire(timeout=0)
    two.release()
    two.release()
    assert names(locks) == []


def test_of_those_who_try_at_once_one_gets_it_at_most(locks: ObjectPath) -> None:
    contenders, holding, most, got = 4, [0], [0], [0]
    guard, start = threading.Lock(), threading.Barrier(contenders, timeout=30)

    def contend() -> None:
        for _ in range(4):
            own = leased(locks)
            start.wait()
            try:
                own.acquire()
            except TimeoutError:
                start.wait()
                continue
            with guard:
                holding[0] += 1
                got[0] += 1
                most[0] = max(most[0], holding[0])
            start.wait()  # all have an answer
            with guard:
                holding[0] -= 1
            own.release()

    threads = [threading.Thread(target=contend) for _ in range(contenders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert got[0] >= 2  # each round has a winner, but for bad luck
    assert names(locks) == []


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_live_holder_stays_whatever_the_clocks_say(
    locks: ObjectPath, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    holder = leased(locks)
    holder.acquire()
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + 3600 * hours)
    time.sleep(DEAD + 0.5)
    with pytest.raises(TimeoutError):
        leased(locks).acquire()
    holder.release()


def test_a_holder_that_renews_no_longer_is_dead_after_a_while(locks: ObjectPath) -> None:
    claim(locks, ELSEWHERE)
    with pytest.raises(TimeoutError):
        leased(locks).acquire()
    time.sleep(DEAD + 1.0)
    with leased(locks):
        assert names(locks) != [f"{KEY}.0123456789ab"]
        assert len(names(locks)) == 1


def test_a_claim_that_says_nothing_counts(locks: ObjectPath) -> None:
    place(locks / f"{KEY}.0123456789ab", b"[")
    with pytest.raises(TimeoutError):
        leased(locks).acquire()


def test_a_holder_killed_on_this_machine_is_seen_to_be_dead(bucket: str) -> None:
    root = f"{bucket}/results"
    command = f"from tests.suite.writers_for_tests import hold; hold({root!r}, {KEY!r})"
    top = Path(__file__).parents[2]
    store = Store(folder(root))
    with subprocess.Popen([sys.executable, "-c", command], cwd=top, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TimeoutError):
            store.lock(KEY).acquire(timeout=0)
        holder.kill()
    own = store.lock(KEY)
    own.acquire(timeout=0)
    own.release()


def test_a_holder_that_cannot_renew_goes_on(locks: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    holder, refused = leased(locks), threading.Event()
    holder.acquire()

    def refuse(*_: object) -> None:
        refused.set()
        raise OSError(5, "no answer")

    monkeypatch.setattr(lease, "place", refuse)
    assert refused.wait(10)
    holder.release()
    assert names(locks) == []
