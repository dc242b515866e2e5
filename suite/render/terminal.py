"""The table on a terminal: as many protocols side by side as fit, the others below; rich only styles and prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from rich.console import Console
from rich.text import Text

from suite.render import DAGGER, DASH, PLUS_MINUS, TUNED, evened, legend, packed
from suite.table import Cell, Entry, Table

RULE = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
ASCII = str.maketrans({DASH: "-", DAGGER: "!", TUNED: "^", RULE: "-"})
STYLES = {"best": "bold", "second": "underline", "": ""}
SIGNS = {"best": "*", "second": "'", "": ""}  # where styles would not show: in a pipe, in a log
GAP, WIDE = "  ", "    "  # between columns, between protocols


@dataclass(frozen=True)
class _Stripe:
    """Columns that stay together: of one protocol, or the names. What stands above, titles, a text per method."""

    above: list[Text]
    titles: list[Text]
    texts: list[Text]

    @property
    def width(self) -> int:
        return max(text.cell_len for text in (*self.above, *self.titles, *self.texts))


def show(table: Table, console: Console) -> None:
    """Print the table, its notes and its warnings, as wide as the console."""
    ascii_only = not console.encoding.lower().startswith("utf")
    for line in lines(table, console.width, signs=console.color_system is None):
        # "+-" takes the place of the sign and the space after it, so nothing moves
        plain = line.plain.replace(f"{PLUS_MINUS} ", "+-").replace(PLUS_MINUS, "+-").translate(ASCII)
        text = Text(plain, spans=line.spans, style=line.style) if ascii_only else line
        console.print(text, soft_wrap=True)


def lines(table: Table, width: int, *, signs: bool = False) -> Iterator[Text]:
    """Yield the table line by line; with `signs`, best and second are marked by characters instead of styles."""
    rows = [line for block in table.blocks for line in block.lines]
    names = _Stripe([], [Text("Method", style="bold")], [Text(f"  {_clean(line.name)}") for line in rows])
    room = width - names.width - len(GAP)
    stripes = [stripe for i in range(len(table.headings)) for stripe in _protocol(table, i, signs, room)]
    for places in packed([stripe.width for stripe in stripes], room, len(WIDE)):
        yield from _part(table, [names, *(stripes[i] for i in places)])
        yield Text()
    marks = "*: best, ': second best" if signs else "Bold: best, underlined: second best"
    for note in (*table.notes, *legend(table, marks)):
        yield from (Text(piece, style="dim") for piece in wrap(_clean(note), width, subsequent_indent="  "))
    for warning in table.warnings:
        text = _clean(f"warning: {warning}")
        yield from (Text(piece, style="yellow") for piece in wrap(text, width, subsequent_indent="  "))


def _clean(text: str) -> str:
    """Return text without what would move a terminal's cursor or change its colours."""
    return "".join(c if c.isprintable() else " " for c in text)


def _protocol(table: Table, index: int, signs: bool, room: int) -> Iterator[_Stripe]:
    """Yield the columns of one protocol, under its name and what it is; in pieces where they do not fit `room`."""
    heading = table.headings[index]
    entries = [line.entries[index] for block in table.blocks for line in block.lines]
    flag = " " if any(entry.short for entry in entries) else ""
    titles = [f"n{flag}", *(_clean(column.title) for column in table.under(heading))]
    texts = [[Text(entry.count + (DAGGER if entry.short else flag)) for entry in entries]]
    texts += [_figures([(entry.cells[i], entry) for entry in entries], signs) for i in range(len(titles) - 1)]
    columns = [_right([title], own) for title, own in zip(titles, texts, strict=True)]
    if sum(column[0].cell_len + len(GAP) for column in columns) - len(GAP) > room:
        # titles of two words take two lines where that saves the space
        columns = [_right(_two(title), own) for title, own in zip(titles, texts, strict=True)]
    widths, depth = [column[0].cell_len for column in columns], len(columns[0]) - len(entries)
    for piece, places in enumerate(evened(widths, room, len(GAP))):
        head, *rest = (Text(GAP).join(cells) for cells in zip(*(columns[i] for i in places), strict=True))
        called = _clean(heading.protocol) + (" (continued)" if piece else "")
        wide = max(head.cell_len, min(len(called), room), 8)
        above = [Text(part, style="bold") for part in wrap(called, wide)]
        above += [Text(part, style="dim") for part in ([] if piece else wrap(_clean(heading.about), wide))]
        heads = [text for text in (head, *rest[: depth - 1]) if text.plain.strip()]
        yield _Stripe(above, heads, rest[depth - 1 :])


def _two(title: str) -> list[str]:
    """Return a title in two lines, the first one empty if it is one word."""
    first, _, rest = title.strip().partition(" ")
    return [first, rest] if rest else ["", title]


def _right(titles: Sequence[str], texts: Sequence[Text]) -> list[Text]:
    """Return a column, its title first, aligned to the right."""
    column = [*(Text(title, style="bold") for title in titles), *texts]
    width = max(text.cell_len for text in column)
    return [Text(" " * (width - text.cell_len)) + text for text in column]


def _figures(cells: Sequence[tuple[Cell, Entry]], signs: bool) -> list[Text]:
    """Return one column of figures: means below means, deviations below deviations, differences below differences."""
    means, deviations, deltas = (
        [cell.mean or entry.empty for cell, entry in cells],
        [f" {PLUS_MINUS} {cell.deviation}" if cell.deviation else "" for cell, _ in cells],
        [f" ({cell.delta})" if cell.delta else "" for cell, _ in cells],
    )
    wide, between, end = (max(map(len, texts)) for texts in (means, deviations, deltas))
    texts = []
    for (cell, _), mean, deviation, delta in zip(cells, means, deviations, deltas, strict=True):
        spread = f" {PLUS_MINUS} {cell.deviation:>{between - 3}}" if deviation else ""
        text = Text(" " * (wide - len(mean)))
        text.append(mean + spread, style="" if signs else STYLES[cell.mark])
        text.append(SIGNS[cell.mark] if signs else "")
        if end:
            text.append(" " * (wide + between + signs - text.cell_len) + delta.rjust(end))
        texts.append(text)
    width = max(text.cell_len for text in texts)
    return [text.append(" " * (width - text.cell_len)) for text in texts]


def _part(table: Table, stripes: Sequence[_Stripe]) -> Iterator[Text]:
    """Yield the lines of some protocols side by side, after the names."""
    for i in range(max(len(stripe.above) for stripe in stripes)):
        yield _joined([s.above[i] if i < len(s.above) else Text() for s in stripes], stripes)
    depth = max(len(stripe.titles) for stripe in stripes)
    for i in range(-depth, 0):  # the last lines of all titles stand in one line
        yield _joined([s.titles[i] if -i <= len(s.titles) else Text() for s in stripes], stripes)
    yield _joined([Text(RULE * stripe.width, style="dim") for stripe in stripes], stripes)
    row = 0
    for block in table.blocks:
        yield Text(_clean(block.title), style="italic dim")
        for _ in block.lines:
            yield _joined([stripe.texts[row] for stripe in stripes], stripes)
            row += 1


def _joined(texts: Sequence[Text], stripes: Sequence[_Stripe]) -> Text:
    line = Text()
    for i, (text, stripe) in enumerate(zip(texts, stripes, strict=True)):
        line.append(("", GAP)[i] if i < 2 else WIDE).append_text(text).append(" " * (stripe.width - text.cell_len))
    line.rstrip()
    return line
