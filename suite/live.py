"""The live view of a sweep: counts, the runs at work and what ended last on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from rich.console import Console, RenderableType
from rich.text import Text

from suite.cli.words import duration
from suite.events import Event
from suite.picture import Picture, Working, picture, working
from suite.screen import OnTerminal, drawn, ended
from suite.spec import RunSpec
from suite.tally import Run, Tally

PACE = 2.0  # seconds between plain lines, failures aside
ENDED = 4  # lines of what ended last
MIB = 2**20


class Live(OnTerminal):
    """Shows a sweep while it lasts: `with Live(specs, console) as view: launch(..., view.observe, ...)`.

    It may be entered several times, when a sweep is carried out in stages.
    """

    def __init__(
        self,
        specs: Iterable[RunSpec],
        console: Console,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tally = Tally({}, clock)
        super().__init__(console, quiet)
        self._clock = clock
        self._note = self._said = ""
        self._ended, self._printed = deque[tuple[str, str, str]](maxlen=ENDED), -PACE
        self._lock = threading.Lock()  # the screen is drawn, and the ledger is written, by threads of their own
        self.plan((spec, False) for spec in specs)

    def plan(self, runs: Iterable[tuple[RunSpec, bool]], later: int = 0) -> None:
        """Take in the runs of a sweep and which of them are done; `later` ones are not known yet."""
        with self._lock:
            self.tally.plan(runs, later)

    def say(self, text: str) -> None:
        """Show a remark for the rest of the time; may be called by a signal handler."""
        self._said = text
        if self._screen is None:
            self._console.print(Text(text), soft_wrap=True)

    def picture(self) -> Picture:
        """Return what is to be seen now."""
        with self._lock:
            return picture(self.tally, self._note, self._said, self._ended)

    def observe(self, event: Event) -> None:
        """Take in an event, and show it in time."""
        if event.kind == "output":
            self._console.print(Text(f"{event.fields['source']}: {event.fields['text']}"), soft_wrap=True)
            return
        with self._lock:
            run = self.tally.add(event)
            note = lane_note(event)
            self._note = note or ("" if event.kind == "claimed" else self._note)
            ending = _ending(event, run) if run else None
            if ending is not None and event.kind in ("finished", "failed"):
                self._ended.append(ending)
        if self._quiet or self._screen is not None:
            return
        if note:
            self._console.print(Text(note), soft_wrap=True)
        line = ended(*ending, cut=False) if ending else None
        if run is not None and event.kind == "task":
            line = Text(f"task   {run.label}  {_measured(working(event.key, run, self.tally))}")
        last = not self.tally.count("waiting", "running")
        if line is not None and (event.kind == "failed" or last or self._clock() - self._printed >= PACE):
            self._printed = self._clock()
            self._console.print(Text(self.picture().head), line, sep="  ", soft_wrap=True)

    def _drawn(self) -> RenderableType:
        return drawn(self.picture(), self._console.width, self._console.height)


def _ending(event: Event, run: Run) -> tuple[str, str, str] | None:
    """Return how a run ended, its label and what there is to say, or None for what is not worth a line."""
    if event.kind == "finished" and not event.fields.get("already"):
        told = [_accuracy(run.last.get("accuracy")), duration(event.fields["seconds"])]
        return "done", run.label, ", ".join(filter(None, told))
    if event.kind == "failed":
        return "failed", run.label, f"{event.fields['kind']}: {event.fields['reason']}"
    other = event.kind == "elsewhere" and not event.fields  # else it waits for another run's first task
    return ("other", run.label, "another process is at it") if other else None


def _accuracy(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _measured(run: Working) -> str:
    """Return what is known of a run after a task, in one line."""
    size, rate, nets = run.memory_bytes, run.images_per_second, run.backbones
    parts = [
        _accuracy(run.accuracy),
        "" if nets is None else f"{nets} backbone{'' if nets == 1 else 's'}",
        "" if size is None else f"{size / MIB:.2f} MiB",
        f"{rate:,.0f} images/s" if rate else "",
        f"{run.device} {run.host}".strip(),
    ]
    return f"{(run.task or 0) + 1}/{run.tasks}  {', '.join(filter(None, parts))}"


def lane_note(event: Event) -> str:
    """Return what is to be said of a lane, empty for nothing."""
    fields = event.fields
    if event.kind != "lane":
        return ""
    if fields["state"] == "connecting":
        return f"connecting to Ray at {fields['address']}" if fields["address"] else "starting Ray"
    if fields["state"] == "starting":
        return f"starting {fields['lanes']} lane{'' if fields['lanes'] == 1 else 's'} on Ray"
    if fields["state"] in ("waiting", "noted"):
        return str(fields["reason"])
    if fields["state"] in ("broken", "lost"):
        return f"{fields['lane']} {fields['state']}: {fields['reason']}"
    return ""
