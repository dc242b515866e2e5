"""The table as Markdown: protocols in the header row, columns below them, notes as a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from suite.render import DAGGER, DASH, PLUS_MINUS, RANKED, SHORT
from suite.table import Cell, Entry, Line, Table

MARKS = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}
ESCAPED = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>|#"})


def render(table: Table) -> str:
    """Return the table, its notes and its warnings as Markdown (GitHub's tables)."""
    titles = ["n", *(column.title for column in table.columns)]
    rows = [
        [
            "Method",
            "Reference",
            *(text for h in table.headings for text in (escape(h.protocol), *[""] * (len(titles) - 1))),
        ],
        ["", "", *(f"*{escape(title)}*" for _ in table.headings for title in titles)],
    ]
    for block in table.blocks:
        rows.append([f"*{escape(block.title)}*", *[""] * (len(rows[0]) - 1)])
        rows += [_line(line) for line in block.lines]
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
    rule = [":" + "-" * (w - 1) if i < 2 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    texts = [_joined(rows[0], widths), _joined(rule, widths), *(_joined(row, widths) for row in rows[1:])]
    return "\n".join([*texts, "", *_below(table), ""])


def escape(text: str) -> str:
    """Return plain text as Markdown shows it."""
    return text.translate(ESCAPED)


def _line(line: Line) -> list[str]:
    return [
        line.name.translate(ESCAPED),
        line.reference.translate(ESCAPED),
        *(t for e in line.entries for t in _entry(e)),
    ]


def _entry(entry: Entry) -> list[str]:
    return [entry.count + (DAGGER if entry.short else ""), *map(_figure, entry.cells)]


def _figure(cell: Cell) -> str:
    deviation = f" {PLUS_MINUS} {cell.deviation}" if cell.deviation else ""
    return MARKS[cell.mark].format(cell.mean + deviation) if cell.mean else DASH


def _joined(texts: Sequence[str], widths: Sequence[int]) -> str:
    padded = (t.ljust(w) if i < 2 else t.rjust(w) for i, (t, w) in enumerate(zip(texts, widths, strict=True)))
    return f"| {' | '.join(padded)} |"


def _below(table: Table) -> Iterator[str]:
    yield from (f"- {escape(f'{heading.protocol}: {heading.about}')}." for heading in table.headings)
    yield from (f"- {escape(note)}" for note in table.notes)
    yield f"- **Bold**: best, <u>underlined</u>: second best; {RANKED}."
    if table.short:
        yield f"- {DAGGER}: {SHORT}."
    yield from (f"- **Warning**: {escape(warning)}." for warning in table.warnings)
