"""The table as HTML: a fragment for a page, or a page of its own. Every text is escaped; no script, no network."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape as _escape
from math import isfinite

from suite.render import DAGGER, figure, legend
from suite.table import FAIL, Cell, Column, Entry, Line, Table

MOST = 12  # values of single runs that a tooltip lists
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #767676; --soft: #595959; --zebra: #f4f4f4; }}
@media (prefers-color-scheme: dark) {{ :root {{ --line: #8c8c8c; --soft: #b0b0b0; --zebra: #222222; }} }}
body {{ font: 16px/1.4 system-ui, sans-serif; margin: 1.5rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; font-weight: bold; padding-bottom: .5rem; }}
th, td {{ padding: .2rem .6rem; text-align: right; white-space: nowrap; }}
thead th[scope=colgroup] {{ text-align: center; border-bottom: 1px solid var(--line); }}
th[scope=row], th[scope=rowgroup], thead th[rowspan] {{ text-align: left; }}
.reference {{ text-align: left; }}
.n, [data-column=n] {{ padding-left: 1.8rem; }}
th[scope=rowgroup] {{ font-style: italic; font-weight: normal; color: var(--soft); }}
th[scope=row] {{ font-weight: normal; }}
thead, table {{ border-bottom: 2px solid currentColor; }}
tbody tr:nth-child(odd) td, tbody tr:nth-child(odd) th[scope=row] {{ background: var(--zebra); }}
.best {{ font-weight: bold; }}
.second {{ text-decoration: underline; }}
.about {{ display: block; font-weight: normal; font-size: .8rem; color: var(--soft); white-space: normal; }}
.notes {{ font-size: .85rem; color: var(--soft); max-width: 60rem; }}
.notes .warning {{ color: inherit; font-weight: bold; }}
</style>
</head>
<body>
<div class="scroll" role="region" aria-label="{title}" tabindex="0">
{table}
</div>
{notes}
</body>
</html>
"""


def render(table: Table) -> str:
    """Return a small page that holds the table and its notes and nothing from elsewhere."""
    return PAGE.format(title=escape(_title(table)), table=fragment(table), notes=notes(table))


def fragment(table: Table) -> str:
    """Return the `<table>` alone, for a page with its own notes and style.

    Rows carry data-method, data-variant and data-family, headings and cells data-protocol, cells with a figure
    data-value (unrounded, as in the rows); best and second are classes, and so are fail and missing.
    """
    lines = [f'<table class="results" data-preset="{escape(table.preset)}">']
    lines += [f"<caption>{escape(_title(table))}</caption>", "<thead>", *_head(table), "</thead>"]
    for block in table.blocks:
        family = escape(block.family)
        lines.append(f'<tbody data-family="{family}">')
        lines.append(
            f'<tr class="family"><th scope="rowgroup" colspan="{_width(table)}">{escape(block.title)}</th></tr>'
        )
        lines += [_line(table, line, family) for line in block.lines]
        lines.append("</tbody>")
    return "\n".join([*lines, "</table>"])


def notes(table: Table) -> str:
    """Return what stands below the table as a list: definitions, origins, legend, warnings."""
    items = [escape(note) for note in table.notes]
    marks = '<b class="best">Bold</b>: best, <span class="second">underlined</span>: second best'
    items += [text.replace("MARKS", marks) for text in map(escape, legend(table, "MARKS"))]
    listed = [f"<li>{item}</li>" for item in items]
    listed += [f'<li class="warning">Warning: {escape(warning)}.</li>' for warning in table.warnings]
    return "\n".join(['<ul class="notes">', *listed, "</ul>"])


def escape(text: str) -> str:
    """Return plain text as HTML shows it, in elements and in quoted attributes."""
    return _escape(text, quote=True)


def _title(table: Table) -> str:
    return table.title or "Methods by protocol"


def _width(table: Table) -> int:
    return 2 + sum(1 + len(table.under(heading)) for heading in table.headings)


def _head(table: Table) -> Iterator[str]:
    yield '<tr><th scope="col" rowspan="2">Method</th><th scope="col" rowspan="2">Reference</th>'
    for heading in table.headings:
        span, name = 1 + len(table.under(heading)), escape(heading.protocol)
        about = f'<span class="about">{escape(heading.about)}</span>' if heading.about else ""
        yield f'<th scope="colgroup" colspan="{span}" data-protocol="{name}">{name}{about}</th>'
    yield "</tr>\n<tr>"
    for heading in table.headings:
        yield f'<th scope="col" data-column="n" data-protocol="{escape(heading.protocol)}">n</th>'
        yield from (_column(column, heading.protocol) for column in table.under(heading))
    yield "</tr>"


def _column(column: Column, protocol: str) -> str:
    about = f' title="{escape(column.about)}"' if column.about else ""
    data = f'data-column="{escape(column.id)}" data-protocol="{escape(protocol)}"'
    return f'<th scope="col" {data}{about}>{escape(column.title)}</th>'


def _line(table: Table, line: Line, family: str) -> str:
    named = f'data-method="{escape(line.method)}" data-variant="{escape(line.variant)}" data-family="{family}"'
    texts = [
        f"<tr {named}>",
        f'<th scope="row">{escape(line.name)}</th><td class="reference">{escape(line.reference)}</td>',
    ]
    for heading, entry in zip(table.headings, line.entries, strict=True):
        protocol = f'data-protocol="{escape(heading.protocol)}"'
        dagger = DAGGER if entry.short else ""
        texts.append(f'<td class="n" data-value="{entry.n}" {protocol}>{entry.count}{dagger}</td>')
        texts += [
            _figure(cell, column, entry, protocol)
            for cell, column in zip(entry.cells, table.under(heading), strict=True)
        ]
    return "".join([*texts, "</tr>"])


def _figure(cell: Cell, column: Column, entry: Entry, protocol: str) -> str:
    data = f'data-column="{escape(column.id)}" {protocol}'
    if not cell.mean:
        kind = "fail" if entry.empty == FAIL else "missing"
        why = f' title="{escape(entry.reason)}"' if entry.reason else ""
        return f'<td class="{kind}" {data}{why}>{entry.empty}</td>'
    kind = f' class="{cell.mark}"' if cell.mark else ""
    value = f' data-value="{cell.value!r}"' if cell.value is not None and isfinite(cell.value) else ""
    return f"<td{kind} {data}{value}{_runs(cell, column)}>{escape(figure(cell))}</td>"


def _runs(cell: Cell, column: Column) -> str:
    """Return a tooltip with the figure of every run."""
    if not 1 < len(cell.values) <= MOST:
        return ""
    shown = [f"{value * column.scale:.{column.digits}f}" for value in cell.values]
    return f' title="runs: {", ".join(shown)}"' if len(set(shown)) > 1 else ""
