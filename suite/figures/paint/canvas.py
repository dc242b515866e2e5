"""Canvas: a matplotlib figure of the right size, its panels in a grid and room for a legend below them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Sheet
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.textpath import text_to_path

from suite.figures.model import Figure, Panel

INK = "#010203"  # stands for the colour of text and axes until it is known what is drawn on
SIZE, SMALL = 7.0, 6.0  # points
POINT = 1 / 72  # inch
LETTER = 0.58 * SIZE * POINT  # width of an average letter, in inches
TITLE, AXIS, LINE = 0.17, 0.42, 1.35 * SIZE * POINT  # heights of a title's line, of ticks and label, of text
SETTINGS: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"], "font.size": SIZE, "text.parse_math": False,
    "text.usetex": False, "svg.fonttype": "none", "pdf.fonttype": 42, "pdf.compression": 6,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.titlesize": SIZE, "axes.labelsize": SIZE, "xtick.labelsize": SMALL, "ytick.labelsize": SMALL,
    "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5,
    "ytick.major.size": 2.5, "axes.spines.top": False, "axes.spines.right": False, "axes.titlepad": 4,
    "axes.labelpad": 2, "axes.grid": True, "grid.color": INK, "grid.alpha": 0.12, "grid.linewidth": 0.5,
    "axes.axisbelow": True, "hatch.linewidth": 0.4, "path.simplify": True, "lines.linewidth": 1.1,
    "lines.markersize": 3.6, "figure.dpi": 100, "axes.unicode_minus": True, "axes.formatter.useoffset": False,
    "figure.constrained_layout.h_pad": 0.03, "figure.constrained_layout.w_pad": 0.03,
}  # fmt: skip


class Tag(NamedTuple):
    """What an artist is of, for the one who turns the drawing into SVG: its gid is `@` and the tag's number."""

    kind: str  # method, legend or panel
    value: str
    title: str


class Canvas:
    """A sheet with an axes for each panel, and the tags of its artists."""

    def __init__(self, figure: Figure, width: float, legend: float) -> None:
        self.figure, self.width, self.tags = figure, width, list[Tag]()
        self.columns = _columns(figure, width)
        self.room = width / self.columns  # inches across for each panel
        rows = [figure.panels[i : i + self.columns] for i in range(0, len(figure.panels), self.columns)]
        heights = [max(self._height(panel) for panel in row) for row in rows]
        self.height = sum(heights) + legend
        layout = ConstrainedLayoutEngine(rect=(0, legend / self.height, 1, 1 - legend / self.height))
        self.sheet = Sheet(figsize=(width, self.height), layout=layout, facecolor="none", edgecolor="none")
        FigureCanvasAgg(self.sheet)
        grid = self.sheet.add_gridspec(len(rows), self.columns, height_ratios=heights)
        self.axes: list[Axes] = []
        for i in range(len(figure.panels)):
            axes = self.sheet.add_subplot(grid[i // self.columns, i % self.columns], facecolor="none")
            axes.set_gid(self.tag("panel", str(i + 1)))
            self.axes.append(axes)

    def tag(self, kind: str, value: str, title: str = "") -> str:
        """Return a gid for an artist."""
        self.tags.append(Tag(kind, value, title))
        return f"@{len(self.tags) - 1}"

    def head(self, axes: Axes, panel: Panel) -> None:
        """Write what a panel is of and what its axes are."""
        axes.set_title(self._title(panel))
        axes.set_xlabel(panel.x_label)
        axes.set_ylabel(panel.y_label)

    def _title(self, panel: Panel) -> str:
        """Return a panel's title in lines that fit above its axes."""
        if not panel.categories:
            return wrapped(panel.title, self.room - 0.45)  # axes are so much narrower than their room
        names = max(text_width(wrapped(name, self.names)) for name in panel.categories)
        return wrapped(panel.title, (self.width - names) / self.columns - 0.15)

    def _height(self, panel: Panel) -> float:
        """Return the inches that a panel needs."""
        title = TITLE + LINE * self._title(panel).count("\n")
        if panel.categories:
            lines = sum(1 + wrapped(name, self.names).count("\n") for name in panel.categories)
            return title + AXIS + 0.145 * lines
        if panel.grid:
            return title + grid_height(panel, self.room)
        return title + min(0.68 * self.room, 3.0)

    @property
    def names(self) -> float:
        """The inches that names beside bars and fields may take."""
        return min(0.4 * self.width, 1.6)

    def legend_axes(self, height: float) -> Axes:
        """Return an axes over the foot of the sheet whose units are inches."""
        axes = self.sheet.add_axes((0, 0, 1, height / self.height), facecolor="none")
        axes.set_xlim(0, self.width)
        axes.set_ylim(0, height)
        axes.axis("off")
        axes.set_in_layout(False)
        return axes


def _columns(figure: Figure, width: float) -> int:
    """Return how many panels go side by side."""
    count = len(figure.panels)
    if width < 5 or count == 1:
        return 1
    return 2 if count in (2, 4) or any(panel.grid for panel in figure.panels) else 3


def grid_height(panel: Panel, room: float) -> float:
    """Return the inches that a grid needs: square fields for a matrix, low ones with slanted names for coverage."""
    assert panel.grid
    if panel.grid.span:
        return min(room * 0.85, 3.4)
    names = min(max(map(len, panel.grid.columns)), NAME) * LETTER
    return 0.3 + 0.75 * names + 0.17 * len(panel.grid.rows)


NAME = 34  # letters of a protocol's name above its column before it is broken


@lru_cache(maxsize=4096)
def text_width(text: str) -> float:
    """Return the inches that a text takes."""
    font = FontProperties(family=SETTINGS["font.family"], size=SIZE)
    lines = text.split("\n")
    return max(float(text_to_path.get_text_width_height_descent(line, font, False)[0]) for line in lines) * POINT


def wrapped(text: str, room: float) -> str:
    """Return a text broken, before + and after - too, into lines that fit `room` inches."""
    if text_width(text) <= room:
        return text
    lines: list[str] = []
    for part in _parts(text):
        if lines and text_width((lines[-1] + part).rstrip()) <= room:
            lines[-1] += part
            continue
        lines.append(part)
        while text_width(lines[-1]) > room and len(lines[-1]) > 1:  # a word longer than a line
            fits = next((n for n in range(len(lines[-1]) - 1, 1, -1) if text_width(lines[-1][:n]) <= room), 1)
            lines[-1:] = [lines[-1][:fits], lines[-1][fits:]]
    return "\n".join(line.strip() for line in lines if line.strip())


def _parts(text: str) -> Sequence[str]:
    """Return the pieces that a text may be broken into."""
    parts, start = [], 0
    for i, letter in enumerate(text):
        if letter in " +-_/" and i:
            end = i if letter == "+" else i + 1
            parts.append(text[start:end])
            start = end
    return [part for part in [*parts, text[start:]] if part]


def thinned(ticks: Sequence[float], room: float) -> list[float]:
    """Return the ticks that fit, the last one among them."""
    widest = max((len(f"{tick:g}") for tick in ticks), default=1) * LETTER * 1.5 + 0.05
    step = max(1, ceil(len(ticks) * widest / max(room - 0.6, 0.5)))
    return list(reversed(ticks[::-1][::step]))
