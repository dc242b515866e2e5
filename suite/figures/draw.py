"""Drawing: figures as SVG, PDF or PNG, the same bytes for the same figure."""

from __future__ import annotations

import dataclasses
import io
import unicodedata
import warnings
from typing import Any, Literal, TypeVar

import matplotlib
from matplotlib.artist import Artist
from matplotlib.colors import same_color, to_rgba

from suite.figures.model import Figure
from suite.figures.paint import bars, grids, panels, svg
from suite.figures.paint.canvas import INK, SETTINGS, Canvas
from suite.figures.paint.legend import Legend

Form = Literal["svg", "pdf", "png"]
COLUMN, PAGE = 3.3, 6.9  # inches: one and two columns of a paper
INKS = {"pdf": "#1a1a1a", "png": "#757575", "svg": "#757575"}  # paper is white; a picture may lie on light or dark
METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
DPI = 300
T = TypeVar("T")


def draw(figure: Figure, form: Form, *, ids: str = "", width: float | None = None) -> bytes:
    """Return a figure as a file; `width` in inches, by default one column of a paper for one panel, else two.

    In SVG every artist of a method is a `<g data-method="SLUG">` with the id `<ids>-SLUG-<number>` and a `<title>` with
    its numbers, the parts of its entry in the legend are `<g data-legend="SLUG">`, and each pair of axes is a
    `<g data-panel="NUMBER">`. With `ids` it is an element for a page: no size of its own, text and axes in the page's
    `currentColor`, every id beginning with `ids`; its alternative text is for the page to say. Without, it is a file
    whose colours can be read on light and dark.
    """
    figure, out = _clean(figure), io.BytesIO()
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": figure.id}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks are drawn as boxes
        canvas = painted(figure, width)
        if form != "svg":
            _inked(canvas.sheet, INKS[form])
        canvas.sheet.savefig(out, format=form, dpi=DPI, transparent=True, metadata=METADATA[form])
    raw = out.getvalue()
    return svg.finished(raw, canvas.tags, figure.alt, ids, INKS[form]) if form == "svg" else raw


def painted(figure: Figure, width: float | None = None) -> Canvas:
    """Return a figure on a canvas; to be called with SETTINGS in force."""
    width = width or (COLUMN if len(figure.panels) == 1 else PAGE)
    legend = Legend(figure, width)
    canvas = Canvas(figure, width, legend.height)
    for axes, panel in zip(canvas.axes, figure.panels, strict=True):
        (grids if panel.grid else bars if panel.categories else panels).paint(canvas, axes, panel)
    legend.paint(canvas)
    return canvas


def _inked(sheet: Artist, ink: str) -> None:
    """Give everything that has the colour of text and axes its final colour."""
    for artist in sheet.findobj():
        for name in ("color", "edgecolor", "facecolor", "markeredgecolor", "markerfacecolor"):
            getter, setter = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
            if getter is None or setter is None:
                continue
            colour = getter()
            if isinstance(colour, str | tuple) and colour not in ("none", "auto") and same_color(colour, INK):
                setter(to_rgba(ink, to_rgba(colour)[3]))


def _clean(value: T) -> T:
    """Return a value whose texts have no signs that no file may hold: controls, breaks, halves of letters."""
    if isinstance(value, str):
        kept = (" " if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") else letter for letter in value)
        return "".join(kept)  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(map(_clean, value))  # type: ignore[return-value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _clean(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value
