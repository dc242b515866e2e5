"""`verify`: finished runs beside what was published, and where the two are not the same thing, why."""

from __future__ import annotations

from collections.abc import Sequence

import click

from suite.cli.numbers import sections
from suite.cli.results import found
from suite.cli.settings import Settings
from suite.cli.verbs import Several, Verb
from suite.cli.words import count
from suite.comparison import Compared, compared
from suite.errors import Exit, SuiteError
from suite.grouping import groups, streams
from suite.store import Store
from suite.sweep import load_protocols

TOLERANCE = 1.5  # points: authors who ran their own code again came up to 1.34 from their papers (FOSTER, BEEF)
COLUMNS = ("metric", "n", "ours", "published", "apart", "verdict")


def tolerated(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """Return the tolerance, or refuse it."""
    if not 0 <= value <= 100:  # what is no number is not either
        raise click.BadParameter(
            f"points from 0 to 100 are wanted, such as {TOLERANCE}, not {value:g}", context, parameter
        )
    return value


@click.command(cls=Verb, name="verify")
@click.option("--where", cls=Several, metavar="FIELD=VALUE", help="Only such runs; * stands for anything. Repeatable.")
@click.option(
    "--tolerance",
    type=float,
    callback=tolerated,
    default=TOLERANCE,
    metavar="POINTS",
    help=f"How far apart still agrees, besides a figure's reading error (default {TOLERANCE}: authors who ran their "
    "own code again came up to 1.34 points from their papers).",
)
@click.pass_obj
def command(settings: Settings, where: tuple[str, ...], tolerance: float) -> int:
    """Finished runs beside published numbers: agrees, differs, or the first setting that differs.

    Settings are compared in this order: dataset, increments, backbone, augmentation, exemplars, class orders, head,
    recipe (against the preset or the defaults), epochs; precision is only remarked on. Protocols that are more than
    one setting away from any published one are passed over. An unverified number never counts as differing.

    Exit code 7 when a verified number differs, 0 when none does.
    """
    load_protocols(settings.protocols)
    rows = found(settings, where)
    store, examples = Store.open(settings.root), {row["protocol_id"]: row["key"] for row in rows}
    identities = {id_: store.read(key, predictions=False).spec["protocol"] for id_, key in examples.items()}
    lines = [line for group in groups(rows, [], streams(rows, [])) for line in compared(group, identities, tolerance)]
    if not lines:
        what = f"nothing is published within one setting of {count(len(rows), 'finished run')}"
        raise SuiteError(f"{what}; show METHOD and show PROTOCOL say what is", Exit.NOTHING)
    if settings.json:
        settings.emit([line.plain() for line in lines])
    else:
        _print(settings, lines, tolerance)
    return Exit.DIFFERS if any(line.verdict == "differs" for line in lines) else Exit.DONE


def _print(settings: Settings, lines: Sequence[Compared], tolerance: float) -> None:
    for part in sections([(_title(line), _cells(line)) for line in lines], COLUMNS):
        settings.out.print(part)
    if not settings.quiet:
        settings.err.print(_legend(lines, tolerance), style="dim")


def _title(line: Compared) -> str:
    return f"{line.method} on {line.protocol}{f' ({line.variant})' if line.variant else ''}"


def _cells(line: Compared) -> dict[str, str]:
    """Return a comparison as people read it."""
    curve, std = line.published.metric == "curve", line.ours.std
    told = [f"{line.verdict}: {line.setting} ({line.why})" if line.setting else line.verdict, line.published.source]
    if not line.published.verified and line.verdict != "unverified":
        told.append("unverified")
    return {
        "metric": line.published.metric,
        "n": str(line.ours.n),
        "ours": f"{line.ours.mean:.2f}" + ("" if std is None else f" +- {std:.2f}"),
        "published": "curve" if curve else line.published.text,
        "apart": f"{line.difference:.2f}" if curve else f"{line.difference:+.2f}",
        "verdict": "; ".join([*told, *line.remarks]),
    }


def _legend(lines: Sequence[Compared], tolerance: float) -> str:
    verdicts = ("agrees", "differs", "unverified", "not comparable")
    counts = {verdict: sum(line.verdict == verdict for line in lines) for verdict in verdicts}
    told = ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number)
    return (
        f"{told}. ours: mean +- sample standard deviation over n runs, in %; published: value +- "
        f"reading error; agrees: apart by at most {tolerance:g} points and that error; a curve is apart by the mean "
        "distance of its points."
    )
