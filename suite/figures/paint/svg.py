"""SVG as a page or a reader can take it: own ids, methods marked, no metadata, no style sheet."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree

from suite.figures.paint.canvas import INK, Tag

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
HREF, USE = f"{{{XLINK}}}href", f"{{{SVG}}}use"
REFERENCE = re.compile(r"url\(#([^)]+)\)")
FONT = "'DejaVu Sans'"  # what widths were measured with; those that may take its place are no wider
UNWANTED = {f"{{{SVG}}}metadata", f"{{{SVG}}}style"}  # who drew it and when; for the style see USUAL
GEOMETRY = {"d", "x", "y", "width", "height", "transform"}  # hundredths of a point will do
LONG = re.compile(r"-?\d+\.\d{3,}")
# What matplotlib says of every text, and in a style sheet that would be a whole page's.
USUAL = f"stroke-linejoin:round;stroke-linecap:butt;font-family:{FONT},Verdana,sans-serif"


def finished(raw: bytes, tags: Sequence[Tag], alt: str, ids: str, ink: str) -> bytes:
    """Return matplotlib's SVG made ready; with `ids` as an element for a page, without as a file with its own `ink`."""
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(raw)
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag in UNWANTED]:
            parent.remove(child)
    used = _used(root)
    numbers = Counter[str]()
    for element in root.iter():
        _references(element, ids)
        _identity(element, tags, ids, used, numbers)
        for name in GEOMETRY & element.attrib.keys():
            element.set(name, LONG.sub(_rounded, element.attrib[name]).strip())
        element.tail = None
        if element.text is not None and not element.text.strip():
            element.text = None
        if style := element.get("style"):
            element.set("style", style.replace(INK, "currentColor").replace(f" font-family: {FONT};", ""))
        _hoist(element)
    root.set("style", USUAL)
    if ids:
        root.attrib.pop("width", None)
        root.attrib.pop("height", None)
        return _text(root)
    root.set("style", f"{USUAL};color:{ink}")
    root.set("role", "img")
    root.set("aria-label", alt)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + _text(root) + b"\n"


def _text(root: ElementTree.Element) -> bytes:
    return str(ElementTree.tostring(root, encoding="unicode")).encode()


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _used(root: ElementTree.Element) -> set[str]:
    """Return the ids that something refers to."""
    found = set[str]()
    for element in root.iter():
        if HREF in element.attrib:
            found.add(element.attrib[HREF].removeprefix("#"))
        found |= {name for value in element.attrib.values() for name in REFERENCE.findall(value)}
    return found


def _references(element: ElementTree.Element, ids: str) -> None:
    if HREF in element.attrib:
        element.set(HREF, element.attrib[HREF].replace("#", f"#{_prefix(ids)}", 1))
    for name, value in element.attrib.items():
        if "url(#" in value:
            element.set(name, REFERENCE.sub(rf"url(#{_prefix(ids)}\1)", value))


def _identity(
    element: ElementTree.Element, tags: Sequence[Tag], ids: str, used: set[str], numbers: Counter[str]
) -> None:
    """Give an element of a method its attributes, one that is referred to its prefix, and others no id."""
    id_ = element.attrib.pop("id", "")
    if id_.startswith("@"):
        tag = tags[int(id_[1:])]
        if tag.value:
            element.set(f"data-{tag.kind}", tag.value)
        if tag.value and tag.kind == "method":
            numbers[tag.value] += 1
            element.set("id", f"{_prefix(ids)}{tag.value}-{numbers[tag.value]}")
        if tag.title and len(element):
            title = ElementTree.Element(f"{{{SVG}}}title")
            title.text = tag.title
            element.insert(0, title)
    elif id_ in used:
        element.set("id", f"{_prefix(ids)}{id_}")


def _hoist(element: ElementTree.Element) -> None:
    """Say once for all markers of a line how they look."""
    uses = [child for child in element if child.tag == USE]
    looks = {use.get("style") for use in uses}
    if len(uses) > 1 and len(looks) == 1 and len(uses) >= len(element) - 1 and "style" not in element.attrib:
        element.set("style", looks.pop() or "")
        for use in uses:
            del use.attrib["style"]


def _prefix(ids: str) -> str:
    return f"{ids}-" if ids else ""
