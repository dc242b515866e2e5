"""The table as LaTeX: booktabs, a two-level header, marks in the caption, all notes below in small print."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from unicodedata import normalize

from suite.render import evened, figure, legend, packed
from suite.table import FAIL, Cell, Entry, Table

MARKS = {"best": r"\textbf{%s}", "second": r"\underline{%s}", "": "%s"}
ESCAPED = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "[": "{[}", "*": "{*}",  # the last two mean something after a \\
    "\N{PLUS-MINUS SIGN}": r"$\pm$", "\N{EN DASH}": "--", "\N{EM DASH}": "---", "\N{DAGGER}": r"$\dagger$",
    "\N{DOUBLE DAGGER}": r"$\ddagger$",
    "\N{MULTIPLICATION SIGN}": r"$\times$", "\N{HORIZONTAL ELLIPSIS}": r"\dots{}", "\N{RIGHTWARDS ARROW}": r"$\to$",
})  # fmt: skip
ROOM = 112  # characters that 14 cm, the text width of a page of one column, have room for in \scriptsize
SIZES = ((80, r"\small"), (95, r"\footnotesize"), (ROOM, r"\scriptsize"))
HEIGHT = 42  # lines that fit a page beside caption and notes
GAP = 2  # characters that the space between columns takes
POWER = re.compile(r"\b([0-9]+)\\textasciicircum\{\}([0-9]+)")
ACCENTS = {0x300, 0x301, 0x302, 0x303, 0x304, 0x306, 0x307, 0x308, 0x30A, 0x30B, 0x30C, 0x327}  # that every font has
LETTERS = set("\u00df\u00e6\u00c6\u0153\u0152\u00f8\u00d8\u0142\u0141")


@dataclass(frozen=True)
class _Stripe:
    """Columns of one protocol that stay together: its name, their titles, their texts by line."""

    name: str
    titles: list[str]
    texts: list[list[str]]
    width: int  # in characters, about


def render(table: Table) -> str:
    """Return a floating table, or several where one would be higher than a page; the document needs booktabs alone.

    Protocols that do not fit side by side stand below each other.
    """
    names = [(escape(line.name), escape(line.reference)) for block in table.blocks for line in block.lines]
    first = sum(max([len(title), *(len(pair[i]) for pair in names)]) + GAP for i, title in enumerate(HEAD))
    room = ROOM - first
    stripes = [stripe for i in range(len(table.headings)) for stripe in _stripes(table, i, room)]
    parts = [[stripes[i] for i in group] for group in packed([stripe.width for stripe in stripes], room, GAP)]
    widest = first + max((sum(stripe.width + GAP for stripe in part) for part in parts), default=0)
    size = next((size for most, size in SIZES if widest <= most), SIZES[-1][1])
    label = f"tab:{table.preset}"
    below = [rf"\caption{{{_caption(table)}}}", rf"\label{{{label}}}"]
    below += [r"\par\smallskip", r"\begin{minipage}{\textwidth}\scriptsize", *_notes(table), r"\end{minipage}"]
    lines = [r"% \usepackage{booktabs}"]
    for group in packed([4 + len(names) + 2 * len(table.blocks)] * len(parts), HEIGHT, 0):
        lines += [r"\begin{table*}[t]", r"\centering", size, r"\setlength{\tabcolsep}{3pt}"]
        for i, place in enumerate(group):
            # in a box of the text's width: what is wider stands out on both sides alike
            lines += [r"\par\medskip"] * (i > 0) + [r"\makebox[\textwidth][c]{%"]
            lines += [*_tabular(table, names, parts[place]), "}"]
        lines += [*below, r"\end{table*}"]
        below = [rf"\caption{{{escape(table.title)}, continued; see Table \ref{{{label}}}.}}"]
    return "\n".join([*lines, ""])


HEAD = ("Method", "Reference")


def escape(text: str) -> str:
    """Return plain text as LaTeX prints it; a sign that not every engine knows becomes a question mark."""
    shown = (c if _known(c) else "?" for c in " ".join(text.split()) if c.isprintable())
    plain = "".join(shown).translate(ESCAPED)
    return POWER.sub(r"$\1^{\2}$", plain)


def _known(sign: str) -> bool:
    if sign.isascii() or ord(sign) in ESCAPED or sign in LETTERS:
        return True
    letter, *marks = list(normalize("NFD", sign))
    return letter.isascii() and len(marks) == 1 and ord(marks[0]) in ACCENTS


def _stripes(table: Table, index: int, room: int) -> Iterator[_Stripe]:
    """Yield the columns of one protocol, in pieces where they do not fit the page."""
    heading, entries = table.headings[index], [line.entries[index] for block in table.blocks for line in block.lines]
    titles = ["$n$", *(escape(column.title) for column in table.under(heading))]
    texts = [_entry(entry) for entry in entries]
    plain = [[len(entry.count) + 1, *(len(figure(cell) or FAIL) for cell in entry.cells)] for entry in entries]
    widths = [max([len(title), *(row[i] for row in plain)]) for i, title in enumerate(titles)]
    for piece, places in enumerate(evened(widths, room, GAP)):
        name = escape(heading.protocol) + (" (continued)" if piece else "")
        width = max(len(name), sum(widths[i] + GAP for i in places) - GAP)
        yield _Stripe(name, [titles[i] for i in places], [[row[i] for i in places] for row in texts], width)


def _tabular(table: Table, names: Sequence[tuple[str, str]], part: Sequence[_Stripe]) -> Iterator[str]:
    """Yield the lines of some protocols side by side, after the names."""
    starts = [3 + sum(len(stripe.titles) for stripe in part[:i]) for i in range(len(part) + 1)]
    spans = zip(part, starts, starts[1:], strict=False)
    yield r"\begin{tabular}{ll" + "r" * (starts[-1] - 3) + "}"
    yield r"\toprule"
    yield "& & " + " & ".join(rf"\multicolumn{{{len(s.titles)}}}{{c}}{{{s.name}}}" for s in part) + r" \\"
    yield "".join(rf"\cmidrule(lr){{{start}-{end - 1}}}" for _, start, end in spans)
    yield " & ".join([*HEAD, *(title for stripe in part for title in stripe.titles)]) + r" \\"
    row = 0
    for block in table.blocks:
        yield r"\midrule"
        yield rf"\multicolumn{{{starts[-1] - 1}}}{{l}}{{\textit{{{escape(block.title)}}}}} \\"
        for _ in block.lines:
            figures = [text for stripe in part for text in stripe.texts[row]]
            yield " & ".join([*names[row], *figures]) + r" \\"
            row += 1
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _entry(entry: Entry) -> list[str]:
    return [entry.count + (r"$^\dagger$" if entry.short else ""), *(_figure(cell, entry) for cell in entry.cells)]


def _figure(cell: Cell, entry: Entry) -> str:
    return MARKS[cell.mark] % figure(cell, r"$\pm$") if cell.mean else escape(entry.empty)


def _caption(table: Table) -> str:
    sentences = [f"{escape(table.title)}."] if table.title else []
    marks = r"\textbf{Bold}: best, \underline{underlined}: second best"
    sentences += [escape(text).replace("MARKS", marks) for text in legend(table, "MARKS")]
    return "\n".join(sentences)


def _notes(table: Table) -> Iterator[str]:
    yield from (escape(f"{heading.protocol}: {heading.about}.") for heading in table.headings if heading.about)
    yield from (escape(note) for note in table.notes)
    yield from (escape(f"Warning: {warning}.") for warning in table.warnings)
