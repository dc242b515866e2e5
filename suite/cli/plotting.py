"""`plot`: the figures that papers of this field have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from grace.storage.writing import place
from suite.cli.choosing import shown
from suite.cli.settings import Settings
from suite.cli.verbs import OneOf, Several, Verb
from suite.cli.wanted import split
from suite.cli.words import count
from suite.errors import Exit, SuiteError, unknown
from suite.figures import KINDS, Figure, figures
from suite.figures.data import as_csv
from suite.grouping import Row
from suite.sweep import find_protocols, load_protocols

FORMS = ("pdf", "svg", "png", "csv")
FOLDER = Path("figures")  # where files go that nobody said a place for
WIDTHS = {"1": 3.3, "2": 6.9}  # inches of one and two columns of a paper
ALIGNED = {"auc": ("auc=*",), "memory": ("mb=*", "align=*")}  # shown beside the protocol that was asked for
MISSING = {
    "auc": "no run on a ladder of budgets; run -p PROTOCOL+auc gives such runs, plot pareto shows what there is",
    "saturation": "no method among these runs notes its saturation",
    "params": "no run says how many parameters it kept after each task",
    "memory": "no run says how much memory it kept",
}
EPILOG = "\b\nFigures:\n" + "\n".join(f"  {name:<12}{about}" for name, about in KINDS.items())


@click.command(cls=Verb, name="plot", epilog=EPILOG)
@click.argument("kind", required=False, metavar="FIGURE")
@click.argument("sweep", required=False, metavar="[SWEEP]")
@click.option("-m", "--method", "methods", cls=Several, metavar="NAME...", help="Only these methods.")
@click.option("-p", "--protocol", "streams", cls=Several, metavar="NAME...", help="Only these protocols.")
@click.option("--where", cls=Several, metavar="FIELD=VALUE", help="Only such runs; * stands for anything. Repeatable.")
@click.option("--to", "forms", cls=Several, metavar="|".join(FORMS), help="Default: by FILE's ending, or pdf.")
@click.option(
    "--columns", type=OneOf("width", WIDTHS), help="Of a paper that it is as wide as (default: by its panels)."
)
@click.option("--smoke", is_flag=True, help="Take smoke runs too (of --limit-epochs).")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE|DIR",
    help=f"Where to (default {FOLDER}/; --to csv alone: printed).",
)  # fmt: skip
@click.pass_obj
def command(
    settings: Settings,
    kind: str | None,
    sweep: str | None,
    methods: tuple[str, ...],
    streams: tuple[str, ...],
    where: tuple[str, ...],
    forms: tuple[str, ...],
    columns: str | None,
    smoke: bool,
    output: Path | None,
) -> None:
    """Figures of finished runs, means over seeds with a band; in a folder each has its numbers beside it as CSV.

    With SWEEP, a file or a name of the results folder, of exactly its runs.
    """
    kind = _known("figure", kind, KINDS)
    wanted_forms = [_known("format", form, FORMS) for form in split(forms)]
    file = output if output and output.suffix.removeprefix(".") in FORMS and not output.is_dir() else None
    if file and wanted_forms not in ([], [file.suffix.removeprefix(".")]):
        raise SuiteError(f"{file} cannot be {' and '.join(wanted_forms)}: leave --to out, or give a folder", Exit.USAGE)
    load_protocols(settings.protocols)
    runs = shown(settings, sweep, methods, _with_aligned(kind, streams), where)
    keys = None if runs.wanted is None else {each.key for each in runs.wanted}
    rows = [row for row in runs.rows if keys is None or row["key"] in keys]
    rows = rows if smoke else _no_smoke(settings, rows)
    lacking = None if runs.wanted is None else [each._replace(failed=each.key in runs.failures) for each in runs.wanted]
    made = figures(kind, rows, lacking)
    if not made:
        raise SuiteError(MISSING.get(kind, f"there is no finished run to plot {kind} of"), Exit.NOTHING)
    if settings.json:
        settings.emit([asdict(figure) for figure in made])
    elif file:
        _write_file(settings, made, file, columns)
    elif wanted_forms == ["csv"] and output is None:
        click.echo(as_csv(*made), nl=False)
    else:
        _write_folder(settings, made, output or FOLDER, wanted_forms or ["pdf"], columns)


def _with_aligned(kind: str, streams: Iterable[str]) -> list[str]:
    """Return the protocols asked for, and patterns of those that a figure shows beside them."""
    names = split(streams)
    for name in [name for name in names if ALIGNED.get(kind) and "*" not in name]:
        try:
            bases = [each.name for each in find_protocols(name) if not each.alignment]
        except SuiteError:
            continue  # `shown` says so, or finds it among the records
        names += [f"{base}+{pattern}" for base in bases for pattern in ALIGNED[kind]]
    return names


def _known(what: str, name: str | None, names: Iterable[str]) -> str:
    """Return a name that is known; raises SuiteError with the nearest, or with all of them where none is given."""
    if name is None:
        raise SuiteError(f"which {what}? known: {', '.join(names)}. (plot --help)", Exit.USAGE)
    if name not in names:
        error = unknown(what, name, names, few=True)
        error.code = Exit.USAGE
        raise error
    return name


def _no_smoke(settings: Settings, rows: Sequence[Row]) -> list[Row]:
    """Return the rows that are results; raises SuiteError where there are none but smoke runs."""
    kept = [row for row in rows if not row["smoke"]]
    if rows and not kept:
        runs = "the only run is a smoke run" if len(rows) == 1 else f"all {len(rows)} runs are smoke runs"
        raise SuiteError(f"{runs} (--limit-epochs), no results; add --smoke to plot them all the same", Exit.NOTHING)
    if len(kept) < len(rows):
        settings.warn(f"{count(len(rows) - len(kept), 'smoke run')} left out")
    return kept


def _write_file(settings: Settings, made: Sequence[Figure], file: Path, columns: str | None) -> None:
    """Write the one figure to a file of the user's; raises SuiteError where there are several."""
    form = file.suffix.removeprefix(".")
    if len(made) > 1 and form != "csv":
        there = ", ".join(figure.id for figure in made[:3]) + (", ..." if len(made) > 3 else "")
        message = f"{len(made)} figures ({there}) do not fit one file: give -o a folder, or fewer runs with -m and -p"
        raise SuiteError(message, Exit.USAGE)
    _place(file, as_csv(*made).encode() if form == "csv" else _drawn(made[0], form, columns))
    _say(settings, made, [file])


def _write_folder(
    settings: Settings, made: Sequence[Figure], folder: Path, forms: Sequence[str], columns: str | None
) -> None:
    """Write each figure in every form, and its numbers beside it."""
    files = []
    for figure in made:
        for form in dict.fromkeys([*forms, "csv"]):
            files.append(folder / f"{figure.id}.{form}")
            _place(files[-1], as_csv(figure).encode() if form == "csv" else _drawn(figure, form, columns))
    _say(settings, made, files)


def _place(path: Path, data: bytes) -> None:
    """Write a file, and the folders that it lies in; raises SuiteError where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        place(path, data)
    except OSError as error:
        raise SuiteError(f"{path} cannot be written: {error.strerror or error}", Exit.ENVIRONMENT) from error


def _drawn(figure: Figure, form: str, columns: str | None) -> bytes:
    from suite.figures.draw import draw

    return draw(figure, form, width=WIDTHS[columns] if columns else None)  # type: ignore[arg-type]


def _say(settings: Settings, made: Sequence[Figure], files: Sequence[Path]) -> None:
    """Tell what was written, and what a caption should say."""
    for line in dict.fromkeys(note for figure in made for note in figure.notes):
        settings.note(line)
    settings.note(f"wrote {files[0]}" if len(files) == 1 else f"wrote {count(len(files), 'file')}: {files[0]} ...")
