"""`watch`: a sweep that a process somewhere works on, from the ledger and the store alone."""

from __future__ import annotations

import time

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from suite.cli.resume import kept_file
from suite.cli.settings import Settings
from suite.cli.verbs import Verb
from suite.cli.words import command as typed
from suite.cli.words import duration, program
from suite.picture import Failed
from suite.screen import drawn, ended
from suite.watching import View, Watcher

GLANCE = 1.0  # seconds between looks
PACE = 60.0  # seconds between plain lines while nothing ends
FRESH = 30.0  # seconds up to which news are new


@click.command(cls=Verb, name="watch")
@click.argument("name", metavar="[SWEEP]", required=False)
@click.option("--once", is_flag=True, help="Print what is there and leave.")
@click.pass_obj
def command(settings: Settings, /, name: str | None, once: bool) -> None:
    """Watch the sweep SWEEP, or the newest, from any machine that sees the results folder.

    A sweep goes on whether it is watched or not: Ctrl-C closes the view, the same command opens it again. Accuracy,
    backbones and memory are those after the last task that is over.
    """
    sweep = kept_file(settings, name).stem
    watcher = Watcher(settings.root, sweep)
    view = watcher.look()
    if settings.json:
        process = {"process": view.process, "news_seconds": view.news, "end": view.end}
        settings.emit({"sweep": sweep, "state": view.state, **process, **view.picture.plain()})
    elif once or view.over:
        settings.out.print(_shown(settings, sweep, view, whole=True))
    else:
        (_screen if settings.out.is_terminal else _lines)(settings, sweep, watcher)


def _remark(settings: Settings, sweep: str, view: View) -> Text:
    """Return what is to be said of the process that works on the sweep, and what to type."""
    places = [] if settings.root == Settings.root else ["--root", str(settings.root)]
    again = typed(program(), "resume", sweep, *places)
    ago = "" if view.news is None else f"{duration(view.news)} ago"
    left = view.picture.total > view.picture.done
    if view.state == "working":
        return Text(f"{view.process}{'' if (view.news or 0) < FRESH else f', news {ago}'}", "dim")
    if view.state == "silent":
        return Text(f"no news for {duration(view.news or 0)}: {view.process} may be dead; if it is: {again}", "yellow")
    if view.state == "dead":
        return Text(f"{view.process} is dead, its last news {ago}; go on with: {again}", "red")
    if view.state == "ended":
        words = view.end if view.end in ("done", "stopped") else f"ended with: {view.end}"
        return Text(f"{words}, {ago}{f'; go on with: {again}' if left else ''}", "yellow" if left else "green")
    return Text(f"no process has told of this sweep; go on with: {again}", "yellow")


def _shown(settings: Settings, sweep: str, view: View, *, whole: bool = False) -> RenderableType:
    """Return the view as it is printed, `whole`, or kept on the screen."""
    out = settings.out
    top = Text.assemble((sweep, "bold"), "  ", _remark(settings, sweep, view))
    return Group(top, drawn(view.picture, out.width, None if whole else out.height - 3))


def _screen(settings: Settings, sweep: str, watcher: Watcher) -> None:
    """Show the sweep until it is over or the user has seen enough."""
    view = watcher.look()
    with Live(get_renderable=lambda: _shown(settings, sweep, view), console=settings.out, refresh_per_second=2):
        try:
            while not view.over:
                time.sleep(GLANCE)
                view = watcher.look()
        except KeyboardInterrupt:
            return


def _lines(settings: Settings, sweep: str, watcher: Watcher) -> None:
    """Print a line when a run has ended, and now and then besides, until the sweep is over."""
    said, printed, known = "", 0.0, set[Failed]()
    try:
        while True:
            view = watcher.look()
            picture = view.picture
            for failed in picture.failures:
                if failed not in known:
                    settings.out.print(ended("failed", failed.label, f"{failed.kind}: {failed.reason}", cut=False))
            known |= set(picture.failures)
            counts = f"{picture.done} {picture.failed} {view.state}"
            if counts != said or time.monotonic() - printed >= PACE:
                said, printed = counts, time.monotonic()
                remark = Text("") if view.state == "working" else _remark(settings, sweep, view)
                settings.out.print(Text(picture.head), remark, sep="  ", soft_wrap=True)
            if view.over:
                return
            time.sleep(GLANCE)
    except KeyboardInterrupt:
        return
