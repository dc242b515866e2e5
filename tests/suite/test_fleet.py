"""Lanes come and go with the nodes; what Ray does is stood in for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suite.errors import SuiteError
from suite.events import Event
from suite.lanes import fleet as module
from suite.lanes.fleet import Fleet
from suite.lanes.lane import Job
from suite.launch import LaunchOptions
from suite.queue import State
from suite.slots import Slot


class Lane:
    """Stands for a lane that waits for its place or works."""

    def __init__(self, name: str, place: Slot, selector: object, fleet: Fleet) -> None:
        self.name, self.place, self.broken, self.process = name, place, False, dict[str, Any]()

    def start(self) -> None: ...

    def is_alive(self) -> bool:
        return True


class Nodes:
    """Stands for the nodes of a cluster: those tried, and all that are there."""

    def __init__(self) -> None:
        self.resources: list[dict[str, float]] = []
        self.there: set[str] = set()

    def look(self) -> None: ...

    def selector(self, bare: bool) -> None: ...


class Queue:
    """Stands for the queue actor: notes whose runs are given back."""

    def __init__(self) -> None:
        self.released: list[list[str]] = []
        self.release = self

    def remote(self, names: list[str]) -> None:
        self.released.append(names)


class Cluster:
    """A fleet for four runs on a cluster that has no node yet."""

    def __init__(self, tmp_path: Path, **options: Any) -> None:
        self.nodes, self.queue, self.told = Nodes(), Queue(), list[str]()
        launch = LaunchOptions(root=tmp_path, data=tmp_path, address="auto", gpus_per_run=0.0, **options)
        nodes: Any = self.nodes
        job = Job("queue", {}, launch, {}, lambda: Event("done", ""))
        self.fleet = Fleet(job, [Slot()], nodes, tmp_path, self.queue, self.hear)

    def hear(self, event: Event) -> None:
        self.told.append(event.fields["reason"].partition(":")[0])

    def look(self, *holders: str) -> list[str]:
        """Have the fleet look at the nodes; return the lanes that there are."""
        self.fleet._looked = float("-inf")
        left = ["a", "b", "c", "d"]
        self.fleet.adjust(State([], left, list(holders), waiting={1: len(left) - len(holders)}))
        return [each.name for each in self.fleet.alive]

    def settle(self, name: str, node: str) -> None:
        """Place a lane on a node."""
        self.fleet.hear(Event("lane", "", {"lane": name, "state": "ready", "process": {"node": node}}))


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Lane", Lane)


WAITING = "waiting up to 10 minutes for a node"


def test_lanes_wait_for_nodes_where_the_user_says_how_many_at_a_time(tmp_path: Path) -> None:
    assert Cluster(tmp_path).look() == []
    assert Cluster(tmp_path, max_concurrent=2).look() == ["lane0", "lane1"]
    assert len(Cluster(tmp_path, max_concurrent=64).look()) == module.AHEAD


def test_a_lane_on_a_node_that_has_just_come_keeps_its_run(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, max_concurrent=2)
    cluster.look()
    assert cluster.told == [WAITING]
    cluster.nodes.there = {"one"}  # it has come, and is still being tried
    cluster.settle("lane0", "one")
    assert cluster.look("lane0") == cluster.look() == ["lane0", "lane1"]  # also between two runs
    cluster.nodes.resources = [{"CPU": 1.0, "memory": 4e9}]
    cluster.look("lane0")
    assert cluster.queue.released == []
    assert cluster.told == [WAITING]


def test_a_node_that_goes_gives_its_run_back_and_is_waited_for(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, max_concurrent=1)
    cluster.nodes.there, cluster.nodes.resources = {"one"}, [{"CPU": 1.0, "memory": 4e9}]
    cluster.look()
    cluster.settle("lane0", "one")
    cluster.look("lane0")
    assert cluster.told == []
    cluster.nodes.there, cluster.nodes.resources = set(), []
    cluster.look("lane0")
    assert cluster.queue.released == [["lane0"]]
    cluster.look()
    assert cluster.told == [WAITING]
    cluster.fleet._short = float("-inf")
    with pytest.raises(SuiteError, match="the largest node has 0 CPUs"):
        cluster.look()
