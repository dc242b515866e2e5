"""What is on a terminal while it lasts; of a sweep counts, a line per run at work, failures, what ended last."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from suite.cli.words import three_figures
from suite.picture import Picture, Working

BAR = 30  # columns
FAILED = 4  # failures on the screen, the latest ones
LABEL = 24  # columns of a label at least, where figures compete with it
LEFT = ("phase", "where", "at")  # headings of columns of words
STYLES = {"done": "green", "failed": "bold red", "other": "yellow"}
MIB = 2**20


@dataclass(frozen=True)
class Figure:
    """A column of what is shown of a running run."""

    wide: str  # heading
    narrow: str
    show: Callable[[Working], str]
    place: int  # in the order in which figures give way where there is no room; 0: never


def _of(number: int | None, count: int | None) -> str:
    return "" if number is None else f"{number + 1}/{count}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


FIGURES = (
    Figure("task", "task", lambda run: _of(run.task, run.tasks) or "starting", 0),
    Figure("phase", "phase", lambda run: run.phase, 3),
    Figure("epoch", "epoch", lambda run: _of(run.epoch, run.epochs), 0),
    Figure("accuracy %", "acc %", lambda run: _percent(run.accuracy), 0),
    Figure("backbones", "nets", lambda run: "" if run.backbones is None else str(run.backbones), 5),
    Figure("memory MiB", "MiB", lambda run: _mib(run.memory_bytes), 4),
    Figure("images/s", "img/s", lambda run: f"{run.images_per_second:,.0f}" if run.images_per_second else "", 1),
)


def _mib(number: int | None) -> str:
    return "" if number is None else three_figures(number / MIB)


def drawn(picture: Picture, width: int, height: int | None = None) -> RenderableType:
    """Return a picture as it is shown on `width` columns and `height` lines, or printed where no height is given."""
    top: list[RenderableType] = [Text(picture.head)]
    if height is not None:
        line = Table.grid(padding=(0, 2))
        line.add_row(ProgressBar(total=1.0, completed=picture.share, width=min(BAR, width // 4)), Text(picture.head))
        top = [line]
    for words, style in ((picture.note, "dim"), (picture.said, "yellow")):
        top += [Text(words, style)] if words else []
    failures, cut = picture.failures if height is None else picture.failures[-FAILED:], height is not None
    ends = [ended("failed", each.label, f"{each.kind}: {each.reason}", cut=cut) for each in failures]
    if picture.failed > len(failures):
        ends.insert(0, Text(f"{picture.failed} failed, the last {len(failures)}:", "red"))
    ends += [ended(*each, cut=cut) for each in picture.ended if each[0] != "failed"]
    around = len(top) + len(ends) + 3  # headings, what is left out, and the line of the cursor
    shown = picture.working if height is None else picture.working[: max(3, height - around)]
    middle: list[RenderableType] = [_table(shown, width)] if shown else []
    if picture.running > len(shown):
        middle.append(Text(f"and {picture.running - len(shown)} more", "dim"))
    return Group(*top, *middle, *ends)


def ended(how: str, label: str, more: str, *, cut: bool = True) -> Text:
    """Return a line on a run that ended; with `cut` it is no longer than the screen is wide."""
    line = Text.assemble((f"{how:7}", STYLES.get(how, "")), label, (f"  {more}", "red" if how == "failed" else "dim"))
    line.no_wrap, line.overflow = cut, "ellipsis"
    return line


def _table(runs: Sequence[Working], width: int) -> Table:
    """Return a line per run, in the widest form that fits."""
    own, longest = socket.gethostname(), max(len(run.label) for run in runs)
    here = {run.host for run in runs} <= {own, ""}
    for wide, gap, gone in [(True, 2, 0), (False, 2, 0), *((False, 1, gone) for gone in range(6))]:
        figures = [each for each in FIGURES if not 0 < each.place <= gone]
        head = [each.wide if wide else each.narrow for each in figures]
        cells = [[each.show(run) for each in figures] for run in runs]
        if gone < 2:
            head.append("where" if wide else "at")
            for row, run in zip(cells, runs, strict=True):
                row.append(run.device if here and not wide else f"{run.device} {run.host.partition('.')[0]}".strip())
        taken = sum(max(map(len, column)) + gap for column in zip(head, *cells, strict=True))
        room = width - taken
        if room >= (longest if gap > 1 else min(longest, LABEL)):
            break
    table = Table.grid(padding=(0, gap, 0, 0))
    table.add_column(no_wrap=True)
    for name in head:
        table.add_column(justify="left" if name in LEFT else "right", no_wrap=True)
    table.add_row(*(Text(name, "dim") for name in ["", *head]))
    for run, row in zip(runs, cells, strict=True):
        table.add_row(*map(Text, [short(run.label, room), *row]))
    return table


def short(label: str, room: int) -> str:
    """Return a label that fits, its seeds and precision still to be read."""
    room = max(room, LABEL)
    end = min(max(11, len(label.rpartition(" o")[2]) + 1), room - 1)
    return label if len(label) <= room else f"{label[: room - end - 1]}\N{HORIZONTAL ELLIPSIS}{label[-end:]}"


class OnTerminal:
    """A view that `with` puts on the terminal, if there is one and nobody wants quiet; subclasses say what is drawn."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._screen: Live | None = None

    def __enter__(self) -> Self:
        """Take the terminal, if there is one."""
        if self._console.is_terminal and not self._quiet:
            self._screen = Live(get_renderable=self._drawn, console=self._console, refresh_per_second=4)
            self._screen.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave the last state on the screen."""
        if self._screen is not None:
            self._screen.stop()
            self._screen = None

    def _drawn(self) -> RenderableType:
        """Return what is to be seen now; called by a thread of the screen's."""
        raise NotImplementedError
