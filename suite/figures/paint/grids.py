"""Panels of fields: matrices of accuracy with their scale, coverage with its states."""

from __future__ import annotations

import matplotlib
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from suite.figures.model import Cell, Grid, Panel
from suite.figures.paint.canvas import INK, NAME, SMALL, Canvas, wrapped
from suite.figures.style import SCALE, STATES

MOST = 13  # labels along an axis before some are left out


def paint(canvas: Canvas, axes: Axes, panel: Panel) -> None:
    """Draw a panel's grid."""
    grid = panel.grid
    assert grid
    canvas.head(axes, panel)
    axes.set_xlim(-0.5, len(grid.columns) - 0.5)
    axes.set_ylim(len(grid.rows) - 0.5, -0.5)
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for y, cells in enumerate(grid.cells):
        for x, cell in enumerate(cells):
            _field(canvas, axes, grid, x, y, cell)
    (_scale if grid.span else _names)(canvas, axes, grid)


def _field(canvas: Canvas, axes: Axes, grid: Grid, x: int, y: int, cell: Cell) -> None:
    """Draw one field with its text, dark on light or light on dark."""
    if cell.value is None and not cell.state:
        return
    method = grid.methods[y] if grid.methods else ""
    title = f"{grid.rows[y]}, {grid.columns[x]}: {cell.text or f'{cell.value:.3g}'}"
    shade: str | tuple[float, ...]
    if grid.span:
        low, high = grid.span
        shade = matplotlib.colormaps[SCALE](((cell.value or 0) - low) / (high - low))
        ink = "white" if luminance(shade) < 0.18 else "black"  # whichever has more contrast
    else:
        shade, ink = STATES[cell.state] or "none", "white" if STATES[cell.state] else INK
    if grid.span:
        box = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=shade, edgecolor=shade, lw=0.2)
    else:
        box = Rectangle(
            (x - 0.46, y - 0.44), 0.92, 0.88, facecolor=shade, edgecolor=INK, lw=0.4 if cell.state == "none" else 0
        )
    box.set_gid(canvas.tag("method", method, title))
    axes.add_patch(box)
    if cell.text:
        size = SMALL if len(grid.columns) <= MOST else SMALL - 1
        axes.text(x, y, cell.text, ha="center", va="center", color=ink, fontsize=size, gid=canvas.tag("method", method))


def luminance(colour: tuple[float, ...]) -> float:
    """Return the relative luminance of red, green and blue in [0, 1] (WCAG 2)."""
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def _scale(canvas: Canvas, axes: Axes, grid: Grid) -> None:
    """Label a matrix and draw its colour scale."""
    assert grid.span
    for axis, labels in ((axes.xaxis, grid.columns), (axes.yaxis, grid.rows)):
        step = -(-len(labels) // MOST)
        axis.set_ticks(range(0, len(labels), step), labels[::step])
    shades = ScalarMappable(Normalize(*grid.span), matplotlib.colormaps[SCALE].resampled(40))
    bar = canvas.sheet.colorbar(shades, ax=axes, fraction=0.05, pad=0.03, label="accuracy (%)")
    bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")  # else what lies behind shines through between the shades
    bar.ax.tick_params(length=2)


def _names(canvas: Canvas, axes: Axes, grid: Grid) -> None:
    """Label coverage: methods beside, protocols above, slanted."""
    axes.xaxis.tick_top()
    names = [wrapped(name, NAME * 0.0565) for name in grid.columns]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(grid.rows)), [wrapped(name, canvas.names) for name in grid.rows])
