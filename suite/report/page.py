"""The page: one HTML file that holds everything; past a size what belongs to single runs is in files beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import groupby
from math import fsum
from typing import TYPE_CHECKING

from suite.cli.words import count, duration
from suite.render import DASH, PLUS_MINUS
from suite.report import text
from suite.report.embedded import MEMORIES, METRICS, script_safe
from suite.report.lines import Line, Place
from suite.report.model import Report
from suite.report.painter import Painter
from suite.report.pictures import Galleries, galleries
from suite.report.rerun import again
from suite.report.runs import Fold, folds
from suite.report.tables import Sheet, published
from suite.tables.catalogue import CATALOGUE

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TERMS = {  # of the columns: what they are called here, and the catalogue's name of each
    "Avg": "avg", "Last": "last", "Forgetting": "forget_max", "#P": "params_final", "MiB, full": "memory_mb",
    "MiB, survey": "survey_mb",
}  # fmt: skip
LIMIT = 5_000_000  # bytes of the page with everything in it
SECTIONS = {
    "summary": "1. Summary",
    "coverage": "2. Coverage",
    "table": "3. Main table",
    "accuracy": "4. Accuracy against classes",
    "memory": "5. Parameters and memory",
    "tradeoff": "6. Accuracy against memory",
    "runs": "7. Every run",
    "paired": "8. Paired comparison",
    "published": "9. Published numbers",
    "cost": "10. Cost",
    "provenance": "11. Failures, provenance",
}
NOTHING = {"auc": "No ladder of budgets was run; a protocol with +auc behind its name is one."}


@dataclass(frozen=True)
class Page:
    """The HTML of the page; unless it is `whole`, `beside` has what belongs to single runs."""

    html: str
    whole: bool


def render(
    report: Report,
    name: str = "report.html",
    limit: int | None = None,
    apart: Callable[[], None] = lambda: None,
    painter: Painter | None = None,
) -> Page:
    """Return the page; `name` is its file's, which the folder beside it is called after. `painter` draws its figures.

    `apart` is called once, as soon as it shows that what belongs to single runs is to lie beside.
    """
    env, limit = _environment(), limit or LIMIT
    pictures, inside = galleries(report.rows, painter), _inside(env, report, limit)
    others = published(report.rows)
    if inside is None:  # not before: what a copy is made of takes longer to read afterwards
        apart()
    shown = partial(_page, env, report, name, pictures(), others)
    if inside is not None:
        if len((html := shown(inside, True)).encode()) <= limit:
            return Page(html, True)
        apart()
    return Page(shown([(fold, "") for fold in _folds(report, sheets=False)], False), False)


def beside(report: Report, name: str) -> Iterator[tuple[str, str]]:
    """Yield name, below the page's folder, and HTML of a page per method and protocol with all of its runs."""
    env = _environment()
    template, css = env.get_template("beside.jinja"), _asset("page.css")
    for fold in _folds(report):
        yield f"{_file(fold.line, fold.place)}.html", template.render(fold=fold, css=css, page=name)


def folder_of(name: str) -> str:
    """Return what the folder beside a page is called: `report-runs` for report.html."""
    return f"{name.removesuffix('.html').removesuffix('.htm')}-runs"


def _inside(env: Environment, report: Report, limit: int) -> list[tuple[Fold, str]] | None:
    """Return what belongs to single runs as HTML, None where that alone is too much."""
    folded = env.get_template("runs.jinja").module.folded  # type: ignore[attr-defined]
    found, size = [], 0
    for fold in _folds(report):
        html = folded(fold, text.mean)
        size += len(html)
        if size > limit:
            return None
        found.append((fold, html))
    return found


def _folds(report: Report, *, sheets: bool = True) -> Iterator[Fold]:
    origin = report.origin
    return folds(report.lines, report.places, origin.program, origin.root, sheets=sheets)


def _page(
    env: Environment,
    report: Report,
    name: str,
    drawn: Galleries,
    others: Sheet | None,
    own: Iterable[tuple[Fold, str]],
    whole: bool,
) -> str:
    missing = sum(bill.missing for bill in report.bills)
    known = [bill.rest for bill in report.bills if bill.missing and bill.rest is not None]
    untimed = sum(bill.missing for bill in report.bills if bill.missing and bill.rest is None)
    rest = " and ".join([*([duration(fsum(known))] if known else []), *([f"{untimed} unknown"] if untimed else [])])
    steps = [(place, list(found)) for place, found in groupby(report.answers, lambda answer: answer.place)]
    return env.get_template("page.jinja").render(
        report=report,
        origin=report.origin,
        css=_asset("page.css"),
        js=_asset("page.js"),
        data=script_safe(report.plain()),
        sections=SECTIONS.items(),
        galleries=drawn,
        nothing=NOTHING,
        published=others,
        folds=[(place, list(parts)) for place, parts in groupby(own, lambda pair: pair[0].place)],
        whole=whole,
        folder=folder_of(name),
        limit=LIMIT // 1_000_000,
        address=partial(_address, "" if whole else f"{folder_of(name)}/"),
        again=lambda label: again(label, report.origin.program, report.origin.root),
        terms=[(name, f"{CATALOGUE[id_].about}.") for name, id_ in TERMS.items()],
        further=len(report.warnings) - len(report.unlike),
        answers=steps,
        budget=text.ceiling(steps[0][1][-1].budget) if steps else "",
        memories=MEMORIES.values(),
        metrics=METRICS.values(),
        missing=missing,
        peaks=any(bill.peak for bill in report.bills),
        rest=rest if missing else "",
        total=fsum(bill.seconds for bill in report.bills),
    )


def _address(folder: str, line: Line, place: Place) -> str:
    """Return where a line's runs on a stream are."""
    return f"{folder}{_file(line, place)}.html" if folder else f"#{_file(line, place)}"


def _file(line: Line, place: Place) -> str:
    return f"{place.slug}--{line.slug}"


def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    env = Environment(loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined)
    env.filters["breakable"] = _breakable
    env.globals |= {
        "dash": DASH,
        "plus_minus": PLUS_MINUS,
        "duration": duration,
        "runs": lambda number: count(number, "run"),
        **{name: getattr(text, name) for name in ("mean", "mib", "number", "signed")},
    }
    return env


def _breakable(name: str) -> Markup:
    """Return a protocol's name that may go on in the next line after a sign."""
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(escape(part) for part in name.replace("+", "\0+").split("\0"))


def _asset(name: str) -> str:
    return files("suite.report").joinpath(name).read_text(encoding="utf-8")
