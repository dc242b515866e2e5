"""The live view of a sweep: a bar, the runs at work and what ended last on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live as Screen
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from suite.cli.words import duration
from suite.events import Event
from suite.plan import cost
from suite.spec import RunSpec
from suite.sweep import Choice

PACE = 2.0  # seconds between plain lines, failures aside
SHOWN = 20  # running runs on a terminal
ENDED = 4  # lines of what ended last
WIDE = 90  # columns from which images per second are shown
NUMBERS = 64  # columns for what is shown of a running run beside its label
SETTLING = 2.0  # seconds of work before a time left is worth telling


@dataclass
class Run:
    """One run as it is known from its events."""

    label: str
    total: float  # epochs expected
    state: str = "waiting"
    behind: float = 0.0  # epochs of it that were trained before this process, or by a process that died
    work: float = 0.0  # epochs trained by the process at it now
    since: float = 0.0
    last: dict[str, Any] = field(default_factory=dict)  # fields of its latest progress and task

    @property
    def left(self) -> float:
        """Epochs expected still."""
        return max(0.0, self.total - self.behind - self.work) if self.state in ("waiting", "running") else 0.0


class Tally:
    """What the events say so far, and how long the rest takes at the pace so far."""

    def __init__(self, runs: Mapping[str, Run], clock: Callable[[], float] = time.monotonic) -> None:
        self.runs, self.clock = dict(runs), clock
        self.started, self.first = clock(), None if runs else clock()
        self.gained = 0.0  # epochs trained since the start, by every process

    def add(self, event: Event) -> Run | None:
        """Take in an event; return the run that it is about."""
        run = self.runs.get(event.key)
        if run is None:
            return None
        if event.kind == "claimed":
            self.first = self.clock() if self.first is None else self.first
            run.behind, run.work = run.behind + run.work, 0.0
            run.state, run.since = "running", self.clock()
        elif event.kind in ("progress", "task"):
            self._advance(run, event)
        elif event.kind in ("finished", "failed", "stopped", "elsewhere"):
            run.state = "waiting" if event.kind == "stopped" else event.kind
        return run

    def _advance(self, run: Run, event: Event) -> None:
        fields = event.fields
        if run.work == 0:  # the first news: tasks before this one were learned before this process
            run.behind = max(run.behind, run.total * fields["task"] / fields["tasks"] - fields["work"])
        self.gained += fields["work"] - run.work
        run.work = fields["work"]
        rate = {"images_per_second": run.last.get("images_per_second"), "accuracy": run.last.get("accuracy")}
        run.last = rate | fields  # a phase's epochs mean nothing once its task is over

    def count(self, *states: str) -> int:
        """Return how many runs are in one of the states."""
        return sum(run.state in states for run in self.runs.values())

    def share(self) -> float:
        """Return how much of the expected work is done, a fraction."""
        total = sum(run.total for run in self.runs.values())
        return 1 - sum(run.left for run in self.runs.values()) / total if total else 1.0

    def left(self) -> float | None:
        """Return the seconds left: all epochs left at the pace of all, and no less than the slowest run takes."""
        spent = 0.0 if self.first is None else self.clock() - self.first
        if spent < SETTLING or self.gained == 0:
            return None
        running = [run for run in self.runs.values() if run.state == "running" and run.work]
        alone = [run.left * (self.clock() - run.since) / run.work for run in running]
        return max([spent * sum(run.left for run in self.runs.values()) / self.gained, *alone])


class Live:
    """Shows a sweep while it lasts: `with Live(specs, console) as view: launch(..., view.observe, ...)`."""

    def __init__(
        self,
        specs: Sequence[RunSpec],
        console: Console,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tally = Tally({spec.key: Run(spec.label, epochs(spec)) for spec in specs}, clock)
        self._console, self._quiet, self._clock = console, quiet, clock
        self._note = self._said = ""
        self._ended, self._printed = deque[Text](maxlen=ENDED), -PACE
        self._lock = threading.Lock()  # the screen is drawn by a thread of its own
        self._screen: Screen | None = None

    def __enter__(self) -> Live:
        """Take the terminal, if there is one."""
        if self._console.is_terminal and not self._quiet:
            self._screen = Screen(get_renderable=self._drawn, console=self._console, refresh_per_second=4)
            self._screen.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave the last state on the screen."""
        if self._screen is not None:
            self._screen.stop()

    def say(self, text: str) -> None:
        """Show a remark for the rest of the time; may be called by a signal handler."""
        if self._screen is not None:
            self._said = text
        else:
            self._console.print(Text(text), soft_wrap=True)

    def observe(self, event: Event) -> None:
        """Take in an event, and show it in time."""
        with self._lock:
            run = self.tally.add(event)
            note = _note(event)
            self._note = note or ("" if event.kind == "claimed" else self._note)
            line = self._line(event, run) if run else None
            if line is not None and event.kind in ("finished", "failed"):
                line.no_wrap, line.overflow = self._screen is not None, "ellipsis"
                self._ended.append(line)
        if self._quiet or self._screen is not None:
            return
        if note:
            self._console.print(Text(note), soft_wrap=True)
        last = not self.tally.count("waiting", "running")
        if line is not None and (event.kind == "failed" or last or self._clock() - self._printed >= PACE):
            self._printed = self._clock()
            self._console.print(self._head(), line, sep="  ", soft_wrap=True)

    def _line(self, event: Event, run: Run) -> Text | None:
        """Return what an event comes to in one line, None for one that is not worth one."""
        accuracy = run.last.get("accuracy")
        percent = f"{100 * accuracy:.1f} %" if accuracy is not None else ""
        if event.kind == "finished" and not event.fields.get("already"):
            told = ", ".join(part for part in (percent, duration(event.fields["seconds"])) if part)
            return Text.assemble(("done   ", "green"), run.label, (f"  {told}", "dim"))
        if event.kind == "failed":
            kind, reason = event.fields["kind"], event.fields["reason"]
            return Text.assemble(("failed ", "bold red"), run.label, (f"  {kind}: {reason}", "red"))
        if event.kind == "elsewhere":
            return Text.assemble(("other  ", "yellow"), run.label, ("  another process is at it", "dim"))
        if event.kind == "task" and self._screen is None:
            return Text(f"task   {run.label}  {event.fields['task'] + 1}/{event.fields['tasks']}  {percent}")
        return None

    def _head(self) -> Text:
        """Return the state of the whole in one line."""
        tally = self.tally
        done, failed, left = tally.count("finished"), tally.count("failed"), tally.left()
        parts = [f"{done}/{len(tally.runs)} done"]
        parts += [f"{failed} failed"] if failed else []
        parts += [duration(self._clock() - tally.started)]
        parts += [f"about {duration(left)} left"] if left else []
        return Text(", ".join(parts))

    def _drawn(self) -> RenderableType:
        with self._lock:
            top = Table.grid(padding=(0, 2))
            top.add_row(ProgressBar(total=1.0, completed=self.tally.share(), width=30), self._head())
            running = [run for run in self.tally.runs.values() if run.state == "running"]
            table = Table.grid(padding=(0, 2))
            rates = self._console.width >= WIDE
            room = self._console.width - (NUMBERS if rates else NUMBERS - 16)
            for number in range(6 if rates else 5):
                table.add_column(justify="left" if number < 3 else "right", no_wrap=True)
            for run in running[:SHOWN]:
                label, *cells, rate, accuracy = _cells(run)
                table.add_row(*map(Text, [_short(label, room), *cells, *[rate] * rates, accuracy]))
            rest = [Text(f"and {len(running) - SHOWN} more", "dim")] if len(running) > SHOWN else []
            notes = [Text(note, style) for note, style in ((self._note, "dim"), (self._said, "yellow")) if note]
            return Group(top, *notes, table, *rest, *self._ended)


def epochs(spec: RunSpec) -> float:
    """Return the epochs that a run is expected to take, midway where its method decides as it goes."""
    least, most = cost(Choice(spec.method, spec.protocol, spec.config, "", True)).epochs
    return (least + most) / 2


def _short(label: str, room: int) -> str:
    """Return a label that fits, its seeds and precision still to be read."""
    room = max(room, 24)
    end = min(max(11, len(label.rpartition(" o")[2]) + 1), room - 1)
    return label if len(label) <= room else f"{label[: room - end - 1]}…{label[-end:]}"


def _cells(run: Run) -> list[str]:
    last = run.last
    if not last:
        return [run.label, "starting", "", "", "", ""]
    accuracy, rate = last.get("accuracy"), last.get("images_per_second")
    return [
        run.label,
        f"task {last['task'] + 1}/{last['tasks']}",
        last.get("phase", ""),
        f"epoch {last['epoch'] + 1}/{last['epochs']}" if "epoch" in last else "",
        f"{rate:,.0f} images/s" if rate else "",
        f"{100 * accuracy:.1f} %" if accuracy is not None else "",
    ]


def _note(event: Event) -> str:
    """Return what is to be said of a lane."""
    fields = event.fields
    if event.kind != "lane":
        return ""
    if fields["state"] == "connecting":
        return f"connecting to Ray at {fields['address']}" if fields["address"] else "starting Ray"
    if fields["state"] == "starting":
        return f"starting {fields['lanes']} lane{'' if fields['lanes'] == 1 else 's'} on Ray"
    if fields["state"] in ("broken", "lost"):
        return f"{fields['lane']} {fields['state']}: {fields['reason']}"
    return ""
