"""What the pages show works: files pass the conformance checks, fragments are parts of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from grace.conformance import CHECKS, Subject
from grace.conformance.subject import difference, run
from grace.methods import METHODS, method
from suite.plugins import REGISTERED, load_plugins
from suite.spec import RunSpec
from suite.sweep import read_sweep, resolve
from tests.grace.streams_for_tests import build

PAGE = Path(__file__).parents[1] / "docs" / "adding_a_method.md"
BLOCK = re.compile(r"(?:<!-- file: (\w+\.py) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


@cache
def blocks(language: str) -> list[tuple[str, str]]:
    """The page's blocks in a language: the name of the file that each is, or nothing, and the text."""
    return [(name, text) for name, of, text in BLOCK.findall(PAGE.read_text()) if of == language]


FILES = {name: text for name, text in blocks("python") if name}


@pytest.fixture
def files(tmp_path: Path) -> Iterator[dict[str, Path]]:
    before = dict(METHODS), dict(REGISTERED)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    load_plugins(tmp_path / name for name in FILES)
    yield {name: tmp_path / name for name in FILES}
    for table, saved in zip((METHODS, REGISTERED), before, strict=True):
        table.clear()
        table.update(saved)  # type: ignore[arg-type]


def test_the_page_has_its_files() -> None:
    assert list(FILES) == ["replaying.py", "aligning.py", "balancing.py"]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", FILES)
def test_a_file_on_the_page_conforms(name: str, check: str, files: dict[str, Path]) -> None:
    CHECKS[check](Subject(*method(name.removesuffix(".py"))))


def test_fragments_are_parts_of_the_file_they_lead_to() -> None:
    fragments = [text for name, text in blocks("python") if not name]
    assert len(fragments) == 3
    assert [fragment for fragment in fragments if fragment not in FILES["aligning.py"]] == []


@pytest.mark.parametrize(("name", "own"), [("replaying", "replay"), ("aligning", "wa")])
def test_the_page_is_what_the_suite_has(name: str, own: str, files: dict[str, Path]) -> None:
    ours, theirs = build(own), Subject(*method(name)).build()
    run(ours)
    run(theirs)
    assert not difference(ours.state_dict(), theirs.state_dict())


def test_the_sweep_on_the_page_resolves(files: dict[str, Path], tmp_path: Path) -> None:
    (text,) = [text for _, text in blocks("toml") if "plugins =" in text]
    (tmp_path / "sweep.toml").write_text(text)
    runs: list[RunSpec] = resolve(read_sweep(tmp_path / "sweep.toml"))
    assert [(spec.method, bool(spec.plugin)) for spec in runs] == [("aligning", True), ("replay", False)]
    assert runs[0].config["temperature"] == 3.0


def test_the_table_names_the_checks() -> None:
    rows = re.findall(r"^\| ([^|]+?) \|", PAGE.read_text(), re.MULTILINE)[1:]
    assert set(rows) == {name for name in CHECKS if ":" not in name} | {"resumes bit for bit, at five moments"}
    assert sum(name.startswith("resumes bit for bit: ") for name in CHECKS) == 5
