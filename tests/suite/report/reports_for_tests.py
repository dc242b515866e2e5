"""Reports of made-up runs, and a page taken apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from suite.grouping import Wanted
from suite.record import Failure
from suite.report import Origin, Report
from tests.suite.records_for_tests import ten_rows

VOID = {"meta", "link", "input", "br", "wbr", "img", "hr", "line", "path", "circle", "polyline", "use", "rect"}
ENDED_BY = {"td": ("td", "th"), "th": ("td", "th"), "tr": ("td", "th", "tr"), "dd": ("dt", "dd"), "dt": ("dt", "dd"),
            "tbody": ("thead",)}  # fmt: skip
EVIL = '</script><img src=x onerror="alert(1)"><!-- & \' "_'


def report(
    rows: Iterable[Mapping[str, Any]] | None = None,
    wanted: Iterable[Wanted] | None = None,
    failures: Mapping[str, Failure] | None = None,
    **options: Any,
) -> Report:
    origin = Origin("0.1.0", "grace-suite", "toys", "results/toys")
    return Report.of(ten_rows() if rows is None else rows, wanted, failures or {}, origin, **options)


def failure(key: str = "f" * 16, label: str = "widen toy-b0i2 o1993 s1", **changes: Any) -> Failure:
    about = {"kind": "oom", "reason": "CUDA out of memory", "where": "task 2", "traceback": "Traceback: ..."}
    return Failure(**{"key": key, "label": label, **about, "host": "n1", "time": "2026-01-02T03:04:05Z", **changes})


def evil() -> Report:
    """A report of which every text is an attack."""
    rows: list[dict[str, Any]] = []
    for row in ten_rows():
        more = {"title": f"{row['title']}{EVIL}", "reference": EVIL, "family": EVIL, "host": EVIL, "device": EVIL,
                "preset": EVIL, "config": {EVIL: EVIL, "lr": 0.1}, "notes": [{EVIL: EVIL}], "torch": EVIL,
                "protocol": row["protocol"] + EVIL}  # fmt: skip
        rows.append({**row, **more})
    bad = failure(label="widen toy-b0i2 o1993 s1", reason=EVIL, traceback=EVIL, where=EVIL, host=EVIL)
    return report(rows, failures={"f" * 16: bad})


@dataclass
class Element:
    tag: str
    attrs: dict[str, str]
    text: str = ""
    inside: list[str] = field(default_factory=list)  # tags around it, the outermost first


class Parsed(HTMLParser):
    """The elements of a page in their order, each with the text below it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.open: list[Element] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        while self.open and self.open[-1].tag in ENDED_BY.get(tag, ()):
            self.open.pop()
        element = Element(tag, {k: v or "" for k, v in attrs}, inside=[each.tag for each in self.open])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self.open and tag in [each.tag for each in self.open]:
            if self.open.pop().tag == tag:
                break

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def all(self, *tags: str) -> list[Element]:
        return [element for element in self.elements if element.tag in tags]

    def by_id(self, id_: str) -> Element:
        (found,) = [element for element in self.elements if element.attrs.get("id") == id_]
        return found
