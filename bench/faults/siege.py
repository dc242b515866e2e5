"""A sweep under siege: faults are done to it one after the other, and it is started again where it was the victim."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.faults.trace import Moment
from bench.faults.world import Command, World

TENDING = 240.0  # seconds that a command which is to end by itself may take


@dataclass
class Fault:
    """One thing that was done to the sweep."""

    kind: str
    at: float  # seconds, CLOCK_MONOTONIC: when it was over, and nothing kept the runs from going on
    victims: dict[str, int]  # runs that it hit -> the process that worked on them
    code: int | None = None  # of the command, where that ended
    wrong: str = ""  # what should not have come of it
    spared: bool = False  # the processes that it hit were not ended by it


@dataclass
class Siege:
    """A world with the cluster, the sweep's command (two at a time, now and then), and all that was done to it."""

    world: World
    sweep: Sequence[str]
    expected: dict[str, str]  # what each run is to come to
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    commands: list[Command] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)  # of commands that have ended
    faults: list[Fault] = field(default_factory=list)
    starts: int = 0

    def start(self) -> Command:
        """Start the sweep's command, every time from another folder."""
        self.starts += 1
        self.commands.append(self.world.on_ray(*self.sweep, cwd=self.world.folder / f"from{self.starts}"))
        return self.commands[-1]

    @property
    def command(self) -> Command:
        """The command at work, started again where none is."""
        for each in [each for each in self.commands if each.over]:
            self.codes.append(each.wait())
            self.commands.remove(each)
        return self.commands[0] if self.commands else self.start()

    @property
    def left(self) -> list[str]:
        """Runs without a record."""
        return [key for key in self.expected if not self.world.done(key)]

    def do(self, kind: str, fault: Callable[[Siege], Fault | None]) -> Fault | None:
        """Do one fault; None where the sweep came to its end before."""
        done = fault(self)
        if done is not None:
            done.kind = kind
            self.faults.append(done)
        return done

    def caught(self, *moments: str) -> Moment | None:
        """Wait for a process at one of the moments; None when the sweep has ended before one came by."""
        for moment in moments:
            self.world.trap(moment)
        try:
            while self.left:
                command = self.command
                try:
                    return self.world.caught(watch=command)
                except TimeoutError:
                    if not command.over:
                        raise
            return None
        finally:
            for moment in moments:  # a trap that nobody went into must not stay
                (self.world.folder / "traps" / moment).unlink(missing_ok=True)

    def finish(self, seconds: float = 900.0) -> list[int]:
        """Let the sweep come to its end, started again as often as it takes, and return the codes of all commands."""
        self.world.release()
        self.world.put("pace", 0.0)
        deadline = time.monotonic() + seconds
        while self.left:
            self.command.wait(max(1.0, deadline - time.monotonic()))
        for each in self.commands:
            self.codes.append(each.wait(max(1.0, deadline - time.monotonic())))
        self.commands.clear()
        return self.codes

    def recovery(self, fault: Fault, told: Iterable[Moment]) -> float | None:
        """Return the seconds until every run that was hit was worked on again; None where none was.

        By another process, unless the fault leaves them alive.
        """
        later: dict[str, float] = {}
        for moment in told:
            pid = fault.victims.get(moment.key)
            if pid is not None and (fault.spared or moment.pid != pid) and moment.time > fault.at:
                later.setdefault(moment.key, moment.time - fault.at)
        return max(later.values(), default=None)

    def cost(self, fault: Fault, told: Sequence[Moment]) -> tuple[int, int]:
        """Return how many epochs were begun again because of a fault, and how many of them had been whole."""
        begun = whole = 0
        for key, pid in fault.victims.items():
            mine = [moment for moment in told if moment.key == key]
            # a process that was hit may have gone on for a moment, in another thread than the one that was caught
            past = [m for m in mine if m.time <= fault.at or (m.pid == pid and not fault.spared)]
            before = {m.what: m.kind for m in past if m.kind in ("epoch", "trained")}
            later = [m for m in mine if m.time > fault.at and (fault.spared or m.pid != pid) and m.kind == "epoch"]
            again = {m.what for m in later if m.pid == later[0].pid} & set(before)
            begun += len(again)
            whole += sum(before[what] == "trained" for what in again)
        return begun, whole


def fault(siege: Siege, *where: Moment | None, at: float | None = None, **rest: Any) -> Fault:
    """Return the fault that hit processes at moments; without any, all that are at work."""
    victims = {m.key: m.pid for m in where if m} or {key: pid for pid, key in siege.world.at_work().items()}
    return Fault("", time.monotonic() if at is None else at, victims, **rest)
