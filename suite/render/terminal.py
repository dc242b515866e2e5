"""The table on a terminal: as many protocols side by side as fit, the others below; rich only styles and prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from rich.console import Console
from rich.text import Text

from suite.render import DAGGER, DASH, PLUS_MINUS, RANKED, SHORT
from suite.table import Cell, Table

RULE = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
ASCII = str.maketrans({DASH: "-", DAGGER: "!", RULE: "-"})
STYLES = {"best": "bold", "second": "underline", "": ""}
SIGNS = {"best": "*", "second": "'", "": ""}  # where styles would not show: in a pipe, in a log
GAP, WIDE = "  ", "    "  # between columns, between protocols


@dataclass(frozen=True)
class _Stripe:
    """The part of every line that belongs to one protocol, or to the names: titles above, a text per method."""

    titles: list[Text]
    texts: list[Text]

    @property
    def width(self) -> int:
        return max(text.cell_len for text in (*self.titles, *self.texts))


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
    names = _Stripe([Text("Method", style="bold")], [Text(f"  {line.name}") for line in rows])
    stripes = [_protocol(table, i, signs) for i in range(len(table.headings))]
    for part in _fitting(stripes, width - names.width - len(GAP)):
        yield from _part(table, [names, *part])
        yield Text()
    marks = "*: best, ': second best" if signs else "Bold: best, underlined: second best"
    legend = [f"{marks}; {RANKED}."]
    if table.short:
        legend.append(f"{DAGGER}: {SHORT}.")
    for note in (*table.notes, *legend):
        yield from (Text(piece, style="dim") for piece in wrap(note, width, subsequent_indent="  "))
    for warning in table.warnings:
        yield from (Text(piece, style="yellow") for piece in wrap(f"warning: {warning}", width, subsequent_indent="  "))


def _protocol(table: Table, index: int, signs: bool) -> _Stripe:
    """Return the columns of one protocol, under its name and what it is."""
    heading = table.headings[index]
    entries = [line.entries[index] for block in table.blocks for line in block.lines]
    room = " " if any(entry.short for entry in entries) else ""
    columns = [_right("n" + room, [Text(entry.count + (DAGGER if entry.short else room)) for entry in entries])]
    for i, column in enumerate(table.columns):
        columns.append(_right(column.title, _figures([entry.cells[i] for entry in entries], signs)))
    titles, *texts = (Text(GAP).join(cells) for cells in zip(*columns, strict=True))
    name = Text(heading.protocol, style="bold")
    about = [Text(piece, style="dim") for piece in wrap(heading.about, max(titles.cell_len, name.cell_len))]
    return _Stripe([name, *about, titles], texts)


def _right(title: str, texts: Sequence[Text]) -> list[Text]:
    """Return a column, its title first, aligned to the right."""
    column = [Text(title, style="bold"), *texts]
    width = max(text.cell_len for text in column)
    return [Text(" " * (width - text.cell_len)) + text for text in column]


def _figures(cells: Sequence[Cell], signs: bool) -> list[Text]:
    """Return one column of figures: means below means, deviations below deviations."""
    wide, narrow = (
        max(len(text) for text in texts) for texts in zip(*((c.mean, c.deviation) for c in cells), strict=True)
    )
    texts = []
    for cell in cells:
        deviation = f" {PLUS_MINUS} {cell.deviation:>{narrow}}" if cell.deviation else ""
        text = Text(" " * (wide - len(cell.mean or DASH)))
        text.append((cell.mean or DASH) + deviation, style="" if signs else STYLES[cell.mark])
        texts.append(text.append(SIGNS[cell.mark] if signs else ""))
    width = max(text.cell_len for text in texts)
    return [text.append(" " * (width - text.cell_len)) for text in texts]


def _fitting(stripes: Iterable[_Stripe], width: int) -> list[list[_Stripe]]:
    """Return the protocols in groups that fit side by side, at least one in each."""
    parts: list[list[_Stripe]] = []
    for stripe in stripes:
        if not parts or sum(s.width + len(WIDE) for s in parts[-1]) + stripe.width > width:
            parts.append([])
        parts[-1].append(stripe)
    return parts


def _part(table: Table, stripes: Sequence[_Stripe]) -> Iterator[Text]:
    """Yield the lines of some protocols side by side, after the names."""
    depth = max(len(stripe.titles) for stripe in stripes)
    for i in range(depth):
        # every protocol's name stands in the first line, every column's title in the last
        level = [s.titles[i] if i < len(s.titles) - 1 else s.titles[-1] if i == depth - 1 else Text() for s in stripes]
        yield _joined(level, stripes)
    yield _joined([Text(RULE * stripe.width, style="dim") for stripe in stripes], stripes)
    row = 0
    for block in table.blocks:
        yield Text(block.title, style="italic dim")
        for _ in block.lines:
            yield _joined([stripe.texts[row] for stripe in stripes], stripes)
            row += 1


def _joined(texts: Sequence[Text], stripes: Sequence[_Stripe]) -> Text:
    line = Text()
    for i, (text, stripe) in enumerate(zip(texts, stripes, strict=True)):
        line.append(("", GAP)[i] if i < 2 else WIDE).append_text(text).append(" " * (stripe.width - text.cell_len))
    line.rstrip()
    return line
