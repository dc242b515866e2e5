"""The table as Markdown: protocols in the header row, columns below them, notes as a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from suite.render import DAGGER, figure, legend
from suite.table import Cell, Entry, Line, Table

MARKS = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}
ESCAPED = str.maketrans({**{c: f"\\{c}" for c in "\\`*_{}[]<>|#&"}, "\n": " ", "\r": " "})


def render(table: Table) -> str:
    """Return the table, its notes and its warnings as Markdown (GitHub's tables)."""
    tops, titles = ["Method", "Reference"], ["", ""]
    for heading in table.headings:
        own = ["n", *(column.title for column in table.under(heading))]
        tops += [escape(heading.protocol), *[""] * (len(own) - 1)]
        titles += [f"*{escape(title)}*" for title in own]
    rows = [tops, titles]
    for block in table.blocks:
        rows.append([f"*{escape(block.title)}*", *[""] * (len(tops) - 1)])
        rows += [_line(line) for line in block.lines]
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(tops))]
    rule = [":" + "-" * (w - 1) if i < 2 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    texts = [_joined(rows[0], widths), _joined(rule, widths), *(_joined(row, widths) for row in rows[1:])]
    return "\n".join([*texts, "", *_below(table), ""])


def escape(text: str) -> str:
    """Return plain text as Markdown shows it."""
    return text.translate(ESCAPED)


def _line(line: Line) -> list[str]:
    return [escape(line.name), escape(line.reference), *(text for entry in line.entries for text in _entry(entry))]


def _entry(entry: Entry) -> list[str]:
    return [entry.count + (DAGGER if entry.short else ""), *(_figure(cell, entry) for cell in entry.cells)]


def _figure(cell: Cell, entry: Entry) -> str:
    return MARKS[cell.mark].format(figure(cell)) if cell.mean else entry.empty


def _joined(texts: Sequence[str], widths: Sequence[int]) -> str:
    padded = (t.ljust(w) if i < 2 else t.rjust(w) for i, (t, w) in enumerate(zip(texts, widths, strict=True)))
    return f"| {' | '.join(padded)} |"


def _below(table: Table) -> Iterator[str]:
    if table.title:
        yield f"{escape(table.title)}.\n"
    yield from (f"- {escape(f'{heading.protocol}: {heading.about}')}." for heading in table.headings if heading.about)
    yield from (f"- {escape(note)}" for note in table.notes)
    yield from (f"- {text}" for text in legend(table, "**Bold**: best, <u>underlined</u>: second best"))
    yield from (f"- **Warning**: {escape(warning)}." for warning in table.warnings)
