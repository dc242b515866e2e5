"""Legend: below the panels, never on data, in as many columns as fit."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from suite.figures.model import Figure
from suite.figures.paint.canvas import INK, LINE, POINT, SIZE, Canvas, text_width, wrapped
from suite.figures.style import DECISIONS, HATCHES, PARTS, STATES, Dash, style

HANDLE, SPACE, PAD = 0.26, 0.12, 0.06  # inches: of the sample, between columns, around
STATE_WORDS = {"done": "all done", "some": "some done", "none": "none done", "failed": "failed", "cannot": "cannot be"}
PART_WORDS = {"exemplars": "exemplars", "backbones": "backbones", "rest": "heads, buffers, state"}


@dataclass(frozen=True)
class Entry:
    """One line of the legend."""

    label: str
    method: str = ""
    colour: str = INK
    marker: str = ""
    line: Dash = ""
    patch: str | None = None  # a hatch, for a box
    hollow: bool = False


def entries(figure: Figure) -> list[Entry]:
    """Return what a figure's signs mean, methods first, in the order of tables."""
    series = [s for panel in figure.panels for s in panel.series]
    found = dict[str, Entry]()
    for s in series:
        look = style(s.style, rival=s.rival)
        if s.shape in ("line", "step", "points") and s.method and not s.part:
            marker = "" if s.shape == "line" and s.marks else look.marker
            line: Dash = "" if s.shape == "points" else "-" if s.marks else look.line
            old = found.get(s.method)
            if old is None or (line and not old.line):
                found[s.method] = Entry(s.label, s.method, look.colour, marker, line, hollow=not s.rival)
    for part in dict.fromkeys(s.part for s in series if s.part):
        if part in PARTS:
            found[part] = Entry(PART_WORDS[part], colour=PARTS[part], patch=HATCHES[part])
        else:
            found[part] = Entry(part, line="--")
    if any(s.shape == "front" for s in series):
        found["front"] = Entry("non-dominated", line=":", marker="o", hollow=True)
    marks = {"mixed" if "/" in mark else mark for s in series for mark in s.marks if mark in DECISIONS or "/" in mark}
    for mark in sorted(marks):
        colour, marker, words = DECISIONS[mark]
        found[f"mark {mark}"] = Entry(words, colour=colour, marker=marker, hollow=mark == "mixed")
    states = {cell.state for p in figure.panels if p.grid for row in p.grid.cells for cell in row if cell.state}
    if states != {"done"}:
        for state in (state for state in STATES if state in states):
            box = Entry(STATE_WORDS[state], colour=STATES[state] or INK, patch="")
            found[f"state {state}"] = Entry(STATE_WORDS[state], marker="_") if state == "cannot" else box
    return list(found.values())


class Legend:
    """Entries laid out for a width in inches; `height` is what they need."""

    def __init__(self, figure: Figure, width: float) -> None:
        self.entries, self.width = entries(figure), width
        self.labels = [wrapped(entry.label, min(width - 2 * PAD - HANDLE, 2.4)) for entry in self.entries]
        widths = [HANDLE + text_width(label) + SPACE for label in self.labels]
        self.rows, self.widths = _packed(widths, width - 2 * PAD + SPACE)
        self.heights = [
            LINE * max(1 + label.count("\n") for label in self.labels[row :: self.rows]) for row in range(self.rows)
        ]
        self.height = sum(self.heights) + 2 * PAD if widths else 0.0

    def paint(self, canvas: Canvas) -> None:
        """Draw it at the foot of a canvas."""
        if not self.entries:
            return
        axes = canvas.legend_axes(self.height)
        left = max(PAD, (self.width - sum(self.widths) + SPACE) / 2)
        for i, (entry, label) in enumerate(zip(self.entries, self.labels, strict=True)):
            column, row = divmod(i, self.rows)
            x, y = left + sum(self.widths[:column]), self.height - PAD - sum(self.heights[:row]) - LINE / 2
            for artist in self._sample(entry, x, y):
                artist.set_gid(canvas.tag("legend", entry.method))
                axes.add_artist(artist)
            # the sample stands by the first line, and lines are 1.2 letters high
            middle = y - label.count("\n") * 0.6 * SIZE * POINT
            text = axes.text(x + HANDLE, middle, label, va="center_baseline", ha="left", fontsize=SIZE)
            text.set_gid(canvas.tag("legend", entry.method))

    @staticmethod
    def _sample(entry: Entry, x: float, y: float) -> list[Line2D | Rectangle]:
        """Return the drawing before an entry's words."""
        if entry.patch is not None:
            box = Rectangle((x, y - 0.035), HANDLE - 0.07, 0.07, facecolor=entry.colour, edgecolor="white", lw=0)
            box.set_hatch(entry.patch)
            if entry.colour == INK:
                box.set(facecolor="none", edgecolor=INK, lw=0.5)
            return [box]
        end = x + HANDLE - 0.06
        found: list[Line2D | Rectangle] = []
        if entry.line:
            found.append(Line2D([x, end], [y, y], color=entry.colour, ls=entry.line))
        if entry.marker:
            face = "none" if entry.hollow else entry.colour
            sign = Line2D([(x + end) / 2], [y], color=entry.colour, marker=entry.marker, markerfacecolor=face)
            sign.set(linestyle="none", markeredgewidth=0.8)
            found.append(sign)
        return found


def _packed(widths: list[float], room: float) -> tuple[int, list[float]]:
    """Return the fewest rows whose columns, filled from the top, fit side by side, and the columns' widths."""
    for rows in range(1, len(widths) + 1):
        columns = [max(widths[i : i + rows]) for i in range(0, len(widths), rows)]
        if sum(columns) <= room:
            return rows, columns
    return len(widths), [max(widths, default=0)]
