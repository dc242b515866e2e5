"""The table as CSV: one line per method and protocol, unscaled and unrounded numbers."""

from __future__ import annotations

import csv
import io

from suite.table import Table


def render(table: Table) -> str:
    """Return the figures as they are computed: fractions, numbers of parameters, MiB; empty where there are none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = [column for heading in table.headings for column in table.under(heading)]
    fields = list(dict.fromkeys(column.field for column in columns))  # protocols may have columns of their own
    figures = [f"{field}_{what}" for field in fields for what in ("mean", "std")]
    names = ["family", "method", "variant", "title", "reference", "protocol", "n", "missing", "failed"]
    writer.writerow([*names, *figures])
    for block in table.blocks:
        for line in block.lines:
            for heading, entry in zip(table.headings, line.entries, strict=True):
                own = {
                    column.field: (cell.value, cell.spread)
                    for column, cell in zip(table.under(heading), entry.cells, strict=True)
                }
                cells = [value for field in fields for value in own.get(field, ("", ""))]
                names = [block.family, line.method, line.variant, line.title, line.reference, heading.protocol]
                writer.writerow([*names, entry.n, entry.missing, entry.failed, *cells])
    return out.getvalue()
