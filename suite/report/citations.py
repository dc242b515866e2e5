"""Who is to be cited for the methods and the suite behind a page: BibTeX from what each method declares."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

from suite.declared import declared
from suite.errors import SuiteError
from suite.grouping import Row
from suite.report.lines import slugs

ESCAPED = str.maketrans({c: f"\\{c}" for c in "{}&%$#_"})


def citations(rows: Iterable[Row], version: str) -> str:
    """Return an entry per method that says where it was published, and one for the suite with its commits."""
    rows = list(rows)
    first = {row["method"]: row for row in rows}
    commits = sorted({row["commit"][:10] for row in rows if row.get("commit")})
    named = [(name, row) for name, row in sorted(first.items()) if row.get("reference")]
    keys = slugs(f"{name} {row['reference']}" for name, row in named)
    entries = [_method(key, name, row) for key, (name, row) in zip(keys, named, strict=True)]
    note = f"version {version}" + (f", commit {', '.join(commits)}" if commits else "")
    return "\n".join([*entries, _entry("grace-suite", {"title": "GRACE suite", "note": note})])


def _method(key: str, name: str, row: Row) -> str:
    fields = {"title": row["title"], "howpublished": row["reference"]}
    with suppress(SuiteError):  # a plugin that is not at hand
        fields["note"] = declared(name).about
    year = re.search(r"\b(19|20)\d\d\b", row["reference"])
    return _entry(key, {**fields, **({"year": year[0]} if year else {})})


def _entry(key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{_plain(text)}}}" for name, text in fields.items()]
    return f"@misc{{{key},\n" + ",\n".join(lines) + "\n}"


def _plain(text: str) -> str:
    return " ".join(text.replace("\\", "").split()).translate(ESCAPED)
