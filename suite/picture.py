"""What is to be seen of a sweep at one moment, as plain values: drawn on a screen, kept in a file, read by scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any

from suite.cli.words import duration
from suite.tally import Run, Tally

KEPT = 200  # running runs that a picture holds, more would not be read
FAILURES = 50


@dataclass(frozen=True)
class Working:
    """A run that is being worked on. None is unknown as yet."""

    key: str
    label: str
    host: str = ""
    device: str = ""  # cpu, gpu0
    task: int | None = None  # from 0
    tasks: int | None = None
    phase: str = ""
    epoch: int | None = None  # of the phase, from 0
    epochs: int | None = None
    accuracy: float | None = None  # after the last task that is over; a fraction
    backbones: int | None = None  # after that task, and so is
    memory_bytes: int | None = None
    images_per_second: float | None = None


@dataclass(frozen=True)
class Failed:
    """A run that failed, and why."""

    key: str
    label: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Picture:
    """The state of a sweep. Counts are of runs, times in seconds."""

    total: int = 0
    done: int = 0
    running: int = 0
    failed: int = 0
    waiting: int = 0
    elsewhere: int = 0  # another process is at them
    share: float = 0.0  # of the work of this launch that is done, by epochs expected
    elapsed: float | None = None
    left: float | None = None
    note: str = ""  # what happens besides: Ray starts
    said: str = ""  # what the user was told
    working: tuple[Working, ...] = ()
    failures: tuple[Failed, ...] = ()  # the latest last
    ended: tuple[tuple[str, str, str], ...] = ()  # of what ended last: how, label, details

    @property
    def head(self) -> str:
        """The state of the whole in one line."""
        parts = [f"{self.done}/{self.total} done"]
        for name in ("running", "failed", "waiting", "elsewhere"):
            parts += [f"{number} {name}"] if (number := getattr(self, name)) else []
        parts += [duration(self.elapsed)] if self.elapsed is not None else []
        parts += [f"about {duration(self.left)} left"] if self.left else []
        return ", ".join(parts)

    def plain(self) -> dict[str, Any]:
        """Return the picture as JSON holds it."""
        return asdict(self)


def picture(tally: Tally, note: str = "", said: str = "", ended: Sequence[tuple[str, str, str]] = ()) -> Picture:
    """Return what a tally comes to now."""
    running = [(key, run) for key, run in tally.runs.items() if run.state == "running"]
    failures = [
        Failed(key, run.label, run.kind, run.reason) for key, run in tally.runs.items() if run.state == "failed"
    ]
    return Picture(
        total=tally.before + len(tally.runs) + tally.later,
        done=tally.before + tally.count("finished"),
        running=len(running),
        failed=len(failures),
        waiting=tally.count("waiting") + tally.later,
        elsewhere=tally.count("elsewhere"),
        share=tally.share(),
        elapsed=tally.clock() - tally.started,
        left=tally.left(),
        note=note,
        said=said,
        working=tuple(working(key, run, tally) for key, run in running[:KEPT]),
        failures=tuple(failures[-FAILURES:]),
        ended=tuple(ended),
    )


def working(key: str, run: Run, tally: Tally) -> Working:
    """Return what is known of a run that is being worked on."""
    lane = tally.lanes.get(run.lane, {})
    known = {each.name for each in fields(Working)} & set(run.last)
    place = {"host": lane.get("host", ""), "device": lane.get("device", "")}
    figures = {name: run.last[name] for name in known}
    # JSON has no word for what is not finite
    finite: dict[str, Any] = {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in figures.items()}
    return Working(key, run.label, **place, **finite)


def restored(plain: Mapping[str, Any]) -> Picture:
    """Return the picture in what JSON held; fields of a later version are left out. Raises ValueError or TypeError."""
    if not isinstance(plain, Mapping):
        raise TypeError("no picture")
    values = {each.name: plain[each.name] for each in fields(Picture) if each.name in plain}
    for name, kind in (("working", Working), ("failures", Failed)):
        names = {each.name for each in fields(kind)}
        rows = values.get(name, ())
        values[name] = tuple(kind(**{k: v for k, v in row.items() if k in names}) for row in rows)
    values["ended"] = tuple((str(how), str(label), str(more)) for how, label, more in values.get("ended", ()))
    return Picture(**values)
