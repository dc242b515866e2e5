"""`report`: everything known of the runs on one page."""

from __future__ import annotations

import gc
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grace.storage.folders import Folder
from grace.storage.writing import place
from suite.cli.choosing import shown
from suite.cli.settings import Settings
from suite.cli.verbs import Several, Verb
from suite.cli.words import count, program, size
from suite.errors import Exit, SuiteError
from suite.provenance import code
from suite.store import Store

if TYPE_CHECKING:
    from suite.report import Report

ENDINGS = (".html", ".htm")
SHOWN = 5  # keys that are named
MANY = 2_000  # runs whose pages are worth a process of their own


@click.command(cls=Verb, name="report")
@click.argument("sweep", required=False, metavar="[SWEEP]")
@click.option("-m", "--method", "methods", cls=Several, metavar="NAME...", help="Only these methods.")
@click.option("-p", "--protocol", "streams", cls=Several, metavar="NAME...", help="Only these protocols.")
@click.option("--where", cls=Several, metavar="FIELD=VALUE", help="Only such runs; * stands for anything. Repeatable.")
@click.option("--smoke", is_flag=True, help="Take smoke runs too (of --limit-epochs).")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    metavar="FILE",
    help="Where to write it (default report.html).",
)
@click.pass_obj
def command(
    settings: Settings,
    sweep: str | None,
    methods: tuple[str, ...],
    streams: tuple[str, ...],
    where: tuple[str, ...],
    smoke: bool,
    output: Path,
) -> None:
    """One HTML file: coverage, tables, figures, every run task by task, pairs, costs, failures and where it is from.

    It needs no network and no server, can be read without scripts and printed, and holds its own data. With SWEEP, a
    file or a name of the results folder, exactly its runs. Past 5 MB what belongs to single runs is put beside it, in
    a folder that should stay with it.
    """
    _checked(output)
    collects = gc.isenabled()
    gc.disable()  # a collection would walk over thousands of rows again and again
    try:
        report, data, folder = _made(settings, sweep, methods, streams, where, smoke, output)
    except OSError as error:
        raise SuiteError(f"{output} cannot be written: {error.strerror}", Exit.ENVIRONMENT) from None
    finally:
        if collects:
            gc.enable()
    files = report.folds if folder else 0
    if settings.json:
        settings.emit({"output": str(output), "runs": len(report.rows), "bytes": len(data), "beside": files})
    more = f" and {count(files, 'file')} in {folder.name}/" if folder else ""
    settings.note(f"wrote {output} ({count(len(report.rows), 'run')}, {size(len(data))}){more}")


def _made(
    settings: Settings,
    sweep: str | None,
    methods: tuple[str, ...],
    streams: tuple[str, ...],
    where: tuple[str, ...],
    smoke: bool,
    output: Path,
) -> tuple[Report, bytes, Path | None]:
    """Write the page and what lies beside it; return what it says, its bytes and the folder beside it, if any."""
    many = len(Store.open(settings.root).keys()) >= MANY
    from suite.report.painter import Painter

    painter = Painter(apart=many)
    runs = shown(settings, sweep, methods, streams, where)
    from suite.report import Origin, Report
    from suite.report.page import beside, folder_of, render

    root = "" if settings.root == Settings.root else str(settings.root)
    about = Origin(str(code()["version"] or "unknown"), program(), Path(sweep or "").stem, root,
                   tuple(_damaged(settings.root)))  # fmt: skip
    report = Report.of(runs.rows, runs.wanted, runs.failures, about, allow_smoke=smoke)
    folder, started = output.with_name(folder_of(output.name)), list[Callable[[], None]]()
    write = partial(_written, folder, lambda: beside(report, output.name))
    page = render(report, output.name, apart=lambda: started.append(_aside(write, many)), painter=painter)
    for wait in started:
        wait()
    data = page.html.encode()
    place(output, data)  # last: whoever sees the page finds what it leads to
    return report, data, None if page.whole else folder


def _aside(work: Callable[[], None], many: bool) -> Callable[[], None]:
    """Return what does the work, or waits for it: where it is much, a copy of this process does it meanwhile."""
    if not many or sys.platform != "linux" or threading.active_count() > 1:
        return work
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries may have threads of their own; the copy calls none of them
        child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)

    def wait() -> None:
        if os.waitpid(child, 0)[1]:
            work()  # what failed there is tried here, where its error can be told

    return wait


def _written(folder: Path, files: Callable[[], Iterable[tuple[str, str]]]) -> None:
    """Write the files beside the page."""
    folder.mkdir(exist_ok=True)
    for name, html in files():
        (folder / name).write_text(html, encoding="utf-8")


def _checked(output: Path) -> None:
    """Raise SuiteError for a place where no page can be written, before anything is computed."""
    if output.suffix.lower() not in ENDINGS:
        raise SuiteError(
            f"-o {output}: the report is an HTML file; name it {output.with_suffix('.html').name}", Exit.USAGE
        )
    if output.is_dir():
        raise SuiteError(f"-o {output} is a folder: name a file in it, {output / 'report.html'}", Exit.USAGE)
    if not output.parent.is_dir():
        raise SuiteError(f"-o {output}: there is no folder {output.parent}; make it first", Exit.ENVIRONMENT)


def _damaged(root: Folder) -> Iterator[str]:
    """Yield what to say of the records that were set aside as damaged, now or earlier."""
    keys = sorted({path.name.partition(".")[0] for path in (root / "damaged").glob("*.parquet")})
    if keys:
        named = ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
        yield f"{count(len(keys), 'damaged record')} set aside under damaged/ and left out: {named}"
