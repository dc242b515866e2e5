"""The table as CSV: one line per method and protocol, unscaled and unrounded numbers."""

from __future__ import annotations

import csv
import io

from suite.table import Table


def render(table: Table) -> str:
    """Return the figures as they are computed: fractions, numbers of parameters, MiB; empty where there are none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    figures = [f"{column.field}_{what}" for column in table.columns for what in ("mean", "std")]
    writer.writerow(["family", "method", "variant", "title", "reference", "protocol", "n", "missing", *figures])
    for block in table.blocks:
        for line in block.lines:
            for heading, entry in zip(table.headings, line.entries, strict=True):
                cells = [value for cell in entry.cells for value in (cell.value, cell.spread)]
                names = [block.family, line.method, line.variant, line.title, line.reference, heading.protocol]
                writer.writerow([*names, entry.n, entry.missing, *cells])
    return out.getvalue()
