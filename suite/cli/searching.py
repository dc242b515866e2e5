"""A search as people see it: the space before it, a line while it lasts, a table after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import stdev
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from suite.cli.listing import grid
from suite.cli.settings import Settings
from suite.cli.words import count, duration
from suite.events import Event
from suite.grouping import flat
from suite.live import lane_note
from suite.screen import OnTerminal
from suite.search import FINALISTS, Notebook, Search
from suite.verdict import Candidate, Verdict

SHOWN = 5  # lines of the table, the best ones
OWN = "settings in use"


class Searching(OnTerminal):
    """Shows a search while it lasts: one line on a terminal, a line per trial elsewhere, nothing where quiet."""

    def __init__(
        self,
        search: Search,
        notebook: Notebook,
        console: Console,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(console, quiet)
        self._clock = clock
        self._trials = {trial.name: trial for trial in search.trials}
        kept = (notebook.read(trial) for trial in search.trials)
        self._ended: dict[str, Mapping[str, Any]] = {
            each.trial.name: {"state": each.state, "score": each.score} for each in kept if each and each.over
        }
        self._confirming = search.confirm * (1 + min(FINALISTS, len(search.trials) - 1))
        self._own = search.trials[0].name
        self._busy: set[str] = set()
        self._news, self._first = 0, 0.0
        self._note = self._said = ""

    def say(self, text: str) -> None:
        """Show a remark for the rest of the time; may be called by a signal handler."""
        self._said = text
        self._print(text)

    def observe(self, event: Event) -> None:
        """Take in an event, and show it in time."""
        if note := lane_note(event):
            self._note = note
            self._print(note)
        if event.kind == "claimed":
            self._note = ""
            self._busy.add(event.key)
            self._first = self._first or self._clock()
        elif event.kind in ("finished", "failed"):
            self._busy.discard(event.key)
            self._ended[event.key] = event.fields
            self._news += 1
            self._print(f"{self._title(event.key)}  {_ending(event.fields)}")

    @property
    def head(self) -> str:
        """The state of the whole in one line."""
        first = {name: fields for name, fields in self._ended.items() if name in self._trials}
        again = len(self._ended) - len(first)
        searching = len(first) < len(self._trials)
        parts = [f"{len(first)}/{len(self._trials)} trials" if searching else
                 f"{len(self._trials)} trials, confirming the best {again}/{self._confirming}"]  # fmt: skip
        states = [fields["state"] for fields in first.values()]
        behind, failed = states.count("stopped"), states.count("failed")
        for number, words in ((len(self._busy), "at work"), (behind, "stopped behind"), (failed, "failed")):
            parts += [f"{number} {words}"] if number else []
        whole = {name: fields["score"] for name, fields in first.items() if fields["state"] == "finished"}
        parts += [f"best {100 * max(whole.values()):.1f} %"] if whole else []
        parts += [f"{OWN} {100 * whole[self._own]:.1f} %"] if self._own in whole else []
        left = len(self._trials) + self._confirming - len(self._ended)
        if self._news and left > 0:
            parts.append(f"about {duration((self._clock() - self._first) / self._news * left)} left")
        return ", ".join(parts)

    def _title(self, name: str) -> str:
        if name in self._trials:
            return f"trial {self._trials[name].number + 1}/{len(self._trials)}"
        number, _, seed = name.removeprefix("trial-").partition("-s")
        return f"{f'trial {int(number) + 1}' if int(number) else OWN} again, seed {seed}"

    def _print(self, text: str) -> None:
        if self._screen is None and not self._quiet:
            self._console.print(Text(text), soft_wrap=True)

    def _drawn(self) -> RenderableType:
        line = Text(self.head if not self._note else self._note, no_wrap=True, overflow="ellipsis")
        return Text("\n").join([line, Text(self._said, "yellow")]) if self._said else line


def _ending(fields: Mapping[str, Any]) -> str:
    if fields["state"] == "failed":
        return f"failed: {fields['kind']}: {fields['reason']}"
    behind = fields["state"] == "stopped"
    words = f" after {count(fields['tasks'], 'task')}, stopped: behind the others" if behind else ""
    return f"{100 * fields['score']:.1f} %{words}, {duration(fields['seconds'])}"


def announced(search: Search, settings: Settings) -> None:
    """Say what is searched, where, and by what it is measured."""
    number = len(search.protocol.increments)
    settings.note(
        f"tune {search.method} on {search.protocol.name}: {count(len(search.trials), 'trial')} on the first "
        f"{search.tasks} of {number} tasks ({search.classes} classes, class order {search.order}), "
        f"{100 * search.holdout:g} % of the training images held out; test images are not read"
    )
    now = flat(search.config)
    wide = max(map(len, search.space))
    for path, space in search.space.items():
        settings.note(f"  {path:{wide}}  {space}  (now {now[path]})")


def outcome(search: Search, notebook: Notebook, found: Verdict, settings: Settings) -> None:
    """Print the best trials beside the settings in use."""
    states: list[str] = [kept.state if (kept := notebook.read(trial)) else "running" for trial in search.trials]
    words = {"finished": "finished", "stopped": "stopped behind", "failed": "failed", "running": "not done"}
    parts = [f"{states.count(state)} {word}" for state, word in words.items() if states.count(state)]
    out = settings.out
    out.print(Text.assemble((count(len(states), "trial"), "bold"), f": {', '.join(parts)}"))
    if found.candidates:
        columns = ["trial", *(f"task {t + 1}" for t in range(search.tasks)), "mean", "other seeds", "settings"]
        best, own = [each for each in found.candidates if each is not found.default][:SHOWN], found.default
        rows = [_row(search, each, str(each.first.trial.number + 1)) for each in best]
        rows += [_row(search, own, "in use")] if own else []
        table = grid(columns, rows, wrapped=["settings"])
        for column in table.columns[1:-1]:
            column.justify = "right"
        out.print()
        out.print(table)
    if not settings.quiet:
        out.print()
        note = (
            "accuracy in % on held-out training images of all classes seen, by the headline readout; mean: over tasks"
        )
        if search.confirm:
            seeds = ", ".join(map(str, search.seeds))
            what = f"mean and deviation with seeds {seeds}" if search.confirm > 1 else f"with seed {seeds}"
            note += f"; other seeds: {what} (other weights, other images held out)"
        out.print(Text(note, style="dim"))
    for trial in search.trials:
        kept = notebook.read(trial)
        if kept is not None and kept.state == "failed":
            settings.note(f"trial {trial.number + 1} failed: {kept.kind}: {kept.reason}")


def _row(search: Search, each: Candidate, name: str) -> dict[str, Any]:
    scores = [kept.score for kept in each.again]
    spread = f" \N{PLUS-MINUS SIGN} {100 * stdev(scores):.1f}" if len(scores) > 1 else ""
    fewer = f" ({len(scores)} of {search.confirm})" if 0 < len(scores) < search.confirm else ""
    values = flat(each.first.trial.values) or {path: flat(search.config)[path] for path in search.space}
    return {
        "trial": name,
        **{f"task {t + 1}": f"{100 * score:.1f}" for t, score in enumerate(each.first.scores)},
        "mean": f"{100 * each.first.score:.1f}",
        "other seeds": f"{100 * each.confirmed:.1f}{spread}{fewer}" if scores else "",
        "settings": ", ".join(f"{path}={value}" for path, value in values.items()),
    }


def compared(found: Verdict) -> str:
    """Say in one sentence how the best settings compare with those in use."""
    if found.best is None:
        return "no trial but the settings in use finished"
    if found.gain is None:
        return f"trial {found.best.first.trial.number + 1} is the best; the settings in use did not finish"
    spread = "" if found.error is None else f" \N{PLUS-MINUS SIGN} {100 * found.error:.1f}"
    seeds = len(found.best.again)
    over = f"over {count(seeds, 'other seed')}" if seeds else "with the seed of the search, not confirmed by others"
    apart = f"{100 * found.gain:+.1f}{spread} points"
    return f"trial {found.best.first.trial.number + 1} minus the settings in use: {apart} {over}"
