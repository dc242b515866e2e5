"""The table as LaTeX: booktabs, a two-level header, and all notes in the caption."""

from __future__ import annotations

from suite.render import RANKED, SHORT
from suite.table import Cell, Entry, Table

MARKS = {"best": r"\textbf{%s}", "second": r"\underline{%s}", "": "%s"}
ESCAPED = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
})  # fmt: skip


def render(table: Table) -> str:
    """Return a floating table; the document needs the package booktabs."""
    per, count = 1 + len(table.columns), len(table.headings)
    width = 2 + per * count
    heads = [rf"\multicolumn{{{per}}}{{c}}{{{escape(heading.protocol)}}}" for heading in table.headings]
    rules = [rf"\cmidrule(lr){{{3 + i * per}-{2 + (i + 1) * per}}}" for i in range(count)]
    titles = ["$n$", *(escape(column.title) for column in table.columns)] * count
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table*}[t]",
        r"\centering",
        r"\begin{tabular}{ll" + "r" * (per * count) + "}",
        r"\toprule",
        " & ".join(["", "", *heads]).strip() + r" \\",
        "".join(rules),
        " & ".join(["Method", "Reference", *titles]) + r" \\",
    ]
    for block in table.blocks:
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(block.title)}}}}} \\"]
        for line in block.lines:
            figures = [text for entry in line.entries for text in _entry(entry)]
            lines.append(" & ".join([escape(line.name), escape(line.reference), *figures]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", rf"\caption{{{_caption(table)}}}", r"\end{table*}", ""])


def escape(text: str) -> str:
    """Return plain text as LaTeX prints it."""
    return text.translate(ESCAPED)


def _entry(entry: Entry) -> list[str]:
    return [entry.count + (r"$^\dagger$" if entry.short else ""), *map(_figure, entry.cells)]


def _figure(cell: Cell) -> str:
    deviation = rf" $\pm$ {cell.deviation}" if cell.deviation else ""
    return MARKS[cell.mark] % (cell.mean + deviation) if cell.mean else "--"


def _caption(table: Table) -> str:
    sentences = [escape(f"{heading.protocol}: {heading.about}.") for heading in table.headings]
    sentences += [escape(note) for note in table.notes]
    sentences.append(rf"\textbf{{Bold}}: best, \underline{{underlined}}: second best; {RANKED}.")
    if table.short:
        sentences.append(rf"$\dagger$: {SHORT}.")
    sentences += [escape(f"Warning: {warning}.") for warning in table.warnings]
    return "\n".join(sentences)
