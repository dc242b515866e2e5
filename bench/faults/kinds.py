"""The kinds of faults, each done to a sweep under siege; None where the sweep had ended before it could be done."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

from bench.faults import processes
from bench.faults.siege import TENDING, Fault, Siege, fault
from bench.faults.world import Command

SHORT = 4.0  # seconds that something is away
GRACE = 30.0  # seconds between SIGTERM and SIGKILL where a machine is taken back
YEAR = 365 * 86400.0
DRIVER = "suite.lanes.driver"


def at(*moments: str) -> Callable[[Siege], Fault | None]:
    """Return the fault that kills a worker at one of the moments."""

    def kill(siege: Siege) -> Fault | None:
        where = siege.caught(*moments)
        hit = fault(siege, where, at=siege.world.kill(where.pid)) if where else None
        siege.world.release()
        return hit

    return kill


def start(siege: Siege) -> Fault | None:
    """Kill a worker, and the one that takes its place before it has begun."""
    first = siege.caught("epoch")
    if first is None:
        return None
    siege.world.trap("start")
    at = siege.world.kill(first.pid)
    second = siege.world.caught(watch=siege.command)
    siege.world.kill(second.pid)
    siege.world.release()
    return Fault("", at, {first.key: first.pid})


def controller(siege: Siege) -> Fault | None:
    """Kill the Train controller of a lane in mid-run."""
    where = siege.caught("epoch")
    if where is None:
        return None
    found = siege.world.marked(processes.CONTROLLER)
    hit = fault(siege)
    hit.at = siege.world.kill(siege.rng.choice(found)) if found else 0.0
    siege.world.release()
    return hit if found else None


def queue(siege: Siege) -> Fault | None:
    """Kill the queue that the lanes pull runs from."""
    where = siege.caught("epoch", "evaluation")
    if where is None:
        return None
    found = siege.world.marked(processes.QUEUE)
    hit = fault(siege, where, at=siege.world.kill(siege.rng.choice(found)) if found else 0.0, spared=True)
    siege.world.release()
    return hit if found else None


def command(siege: Siege) -> Fault | None:
    """Kill the command, and start it again from another folder."""
    where = siege.caught("epoch", "save", "record")
    if where is None:
        return None
    hit = fault(siege, at=time.monotonic())
    siege.command.kill()
    siege.world.release()
    siege.command  # noqa: B018 (starts it again)
    hit.code = siege.codes[-1]
    return hit


def driver(siege: Siege) -> Fault | None:
    """Kill the process that holds Ray for the command, which starts another."""
    where = siege.caught("epoch")
    found = [pid for pid in siege.world.marked() if DRIVER in processes.called(pid)]
    if where is None or not found:
        return None
    hit = fault(siege)
    hit.at = siege.world.kill(siege.rng.choice(found))
    siege.world.release()
    return hit


def node(siege: Siege) -> Fault | None:
    """Cut a node's power while it works on a run; a new one comes some seconds later."""
    where, nodes = siege.caught("epoch", "save"), siege.world.nodes
    if where is None or nodes is None:
        return None
    number = nodes.of(where.pid)
    if number is None:
        return None
    hit = fault(siege, where)
    nodes.remove(number)
    siege.world.release()
    time.sleep(SHORT)
    nodes.add()
    return hit


def head(siege: Siege) -> Fault | None:
    """Have the head and the nodes restarted, under a command that waits for them to come back."""
    where, nodes = siege.caught("epoch"), siege.world.nodes
    if where is None or nodes is None:
        return None
    hit = fault(siege)
    siege.world.release()
    nodes.restart_head()
    return hit


def term(siege: Siege) -> Fault | None:
    """Send SIGTERM, as a scheduler does that wants the machine back; the command is started again."""
    where = siege.caught("epoch")
    if where is None:
        return None
    before = siege.command
    before.process.terminate()
    hit = fault(siege)
    siege.world.release()
    _ended(hit, before)
    seconds = time.monotonic() - hit.at
    if seconds > GRACE:
        hit.wrong = hit.wrong or f"the command took {seconds:.0f} s to end, and would have been killed after {GRACE:g}"
    siege.command  # noqa: B018 (starts it again)
    return hit


def full(siege: Siege) -> Fault | None:
    """Leave no room on the disk for some seconds, from a checkpoint or record on."""
    where, disk = siege.caught("save", "record", "predictions"), siege.world.disk
    if where is None or disk is None:
        return None
    disk.fill()
    siege.world.release()
    time.sleep(SHORT)
    disk.empty()
    return fault(siege, spared=True)


def away(siege: Siege) -> Fault | None:
    """Have the results root gone for some seconds, from a checkpoint or record on."""
    where, disk = siege.caught("save", "record", "epoch"), siege.world.disk
    if where is None or disk is None:
        return None
    disk.leave()
    siege.world.release()
    time.sleep(SHORT)
    disk.come_back()
    return fault(siege, spared=True)


def clock(siege: Siege) -> Fault | None:
    """Set the clock back by up to a year, in the middle of an epoch or a write."""
    where = siege.caught("epoch", "save", "record")
    if where is None:
        return None
    siege.world.put("clock", -siege.rng.random() * YEAR)
    hit = fault(siege, spared=True)
    siege.world.release()
    return hit


def hang(siege: Siege) -> Fault | None:
    """Have a run make no more progress, its process alive."""
    where = siege.caught("epoch")
    if where is None:
        return None
    siege.world.hung.add(where.pid)
    siege.world.release()
    return fault(siege, where)


def frozen(siege: Siege) -> Fault | None:
    """Stop a worker's process as a debugger does: it answers nobody."""
    where = siege.caught("epoch")
    if where is None:
        return None
    os.kill(where.pid, signal.SIGSTOP)
    siege.world.release()
    return fault(siege, where)


def twin(siege: Siege) -> Fault | None:
    """Start the same command a second time beside the first."""
    where = siege.caught("epoch")
    if where is None:
        return None
    siege.start()
    siege.world.release()
    return Fault("", time.monotonic(), {})


def _ended(hit: Fault, command: Command) -> None:
    """Wait until a command has ended that is to end by itself; one that does not is killed, which is a complaint."""
    try:
        hit.code = command.wait(TENDING)
    except subprocess.TimeoutExpired:
        command.kill()
        hit.wrong = f"the command did not end within {TENDING:g} s"


KINDS: dict[str, Callable[[Siege], Fault | None]] = {
    "a worker killed in training": at("epoch"),
    "a worker killed in evaluation": at("evaluation"),
    "a worker killed while writing a checkpoint": at("save"),
    "a worker killed while writing a record": at("record", "predictions"),
    "a worker killed, and the next while it starts": start,
    "a Train controller killed": controller,
    "the queue killed": queue,
    "the command killed, started from another folder": command,
    "the process that holds Ray killed": driver,
    "a node lost, another one comes": node,
    "the cluster restarted": head,
    "SIGTERM to the command": term,
    "the disk full for a while": full,
    "the results root away for a while": away,
    "the clock set back": clock,
    "a run that hangs": hang,
    "a worker's process frozen": frozen,
    "a second command on the same root": twin,
}
OF_THE_DISK = ("the disk full for a while", "the results root away for a while")
LIGHT = list(KINDS)[:6]  # those after which the command goes on by itself, within seconds
