"""Results that nobody planned for: every verb that reads them shows what is right, or says one clear line."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite import index
from suite.errors import Exit
from suite.record import Failure, RunRecord
from suite.results import result_row
from suite.store import Store
from tests.suite.cli.conftest import Call, Said
from tests.suite.cli.test_bad_input import one_line
from tests.suite.records_for_tests import record

READ = {
    "results": ("results",),
    "table": ("table",),
    "compare": ("compare", "widen", "anchor"),
    "verify": ("verify",),
    "plot": ("plot", "curves", "-o", "out.csv"),
    "report": ("report", "-o", "out.html"),
}
NOTHING_TO_COMPARE = ("compare", "der", "replay")  # names that are known where no record has them
READERS = [
    pytest.param(NOTHING_TO_COMPARE if verb == "compare" else command, id=verb) for verb, command in READ.items()
]
WRITERS = [
    *(("table", "--to", form) for form in ("md", "tex", "html", "csv", "json", "rich")),
    *(("compare", "widen", "anchor", "--to", form) for form in ("md", "csv", "json")),
    *(("plot", "curves", "--to", form) for form in ("csv", "svg")),
    ("report",),
]
NAMES = ("under_score", "r&d", "a<b>c", "<script>alert(1)</script>", "sixty" * 12, "100%", "$x^2$", "#~\\{}", "|pipe|")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "results", write=True)


def two_methods(store: Store) -> None:
    store.write(record(1, "widen", right=[[10], [10, 10], [10, 10, 4]]))
    store.write(record(2, "anchor", right=[[5], [5, 5], [5, 5, 5]]))


def fine(said: Said) -> str:
    """Return what a command said that went well."""
    assert said.code == Exit.DONE, said.err
    assert "Traceback" not in said.out + said.err
    return said.out


def lines(said: Said) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(fine(said))))


def every_verb_is_fine(call: Call) -> list[Said]:
    """Assert that every verb that reads results shows some, and return what each said."""
    answers = {verb: call(*command) for verb, command in READ.items()}
    assert answers["verify"].code == Exit.NOTHING
    assert "error: nothing is published within one setting" in answers["verify"].err
    assert [verb for verb, said in answers.items() if said.code != Exit.DONE] == ["verify"], answers
    return list(answers.values())


def named(found: RunRecord, name: str) -> RunRecord:
    """The same run, of a method of that name and title."""
    method = {**found.provenance["method"], "title": name}
    return replace(found, method=name, provenance={**found.provenance, "method": method})


class Texts(HTMLParser):
    """What a page says to a reader, and the names of its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


# Nothing to show


def nothing(command: tuple[str, ...]) -> tuple[str, ...]:
    """What is said where there is no run: it may name the methods that were asked for."""
    filtered = command[0] == "compare"
    return ("none of 0 finished runs under results", "method=der") if filtered else ("no finished run under results",)


@pytest.mark.parametrize("command", READERS)
def test_no_store(call: Call, tmp_path: Path, command: tuple[str, ...]) -> None:
    one_line(call(*command), Exit.NOTHING, *nothing(command))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", READERS)
def test_an_empty_store(call: Call, store: Store, tmp_path: Path, command: tuple[str, ...]) -> None:
    one_line(call(*command), Exit.NOTHING, *nothing(command))
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    assert not (store.root / "index").exists()


@pytest.mark.parametrize("command", READERS)
def test_all_failed(call: Call, store: Store, tmp_path: Path, command: tuple[str, ...]) -> None:
    for number, reason in ((1, "it broke"), (2, "out of <memory>\nat once")):
        store.fail(Failure(f"{number:016x}", "widen toy-b0i2 o1993 s0", "error", reason, "task 1", "Traceback ...",
                           "host", f"2026-01-0{number}T00:00:00Z"))  # fmt: skip
    said = call(*command)
    if command[0] == "report":  # failures are a part of it
        fine(said)
        page = Texts()
        page.feed((tmp_path / "out.html").read_text())
        assert "out of <memory> at once" in " ".join(" ".join(page.texts).split())
        return
    why = () if command[0] == "plot" else ("failed", "widen", "toy-b0i2", "out of <memory> at once")
    one_line(said, Exit.NOTHING, "finished run", *why)


def test_nothing_but_smoke_runs(call: Call, store: Store) -> None:
    store.write(record(1, smoke=True))
    one_line(call("table"), Exit.NOTHING, "smoke", "--smoke")
    assert "smoke" in fine(call("results"))


# Little to show


@pytest.mark.parametrize("form", ["md", "tex", "html", "rich"])
def test_one_seed_has_no_deviation(call: Call, store: Store, form: str) -> None:
    two_methods(store)
    text = fine(call("table", "--to", form, "--digits", "2"))
    assert "93.33" in text  # 24 + 6 right answers fewer: (100 + 100 + 80) / 3
    figures = re.findall(r"\d\s*(?:\N{PLUS-MINUS SIGN}|\+-|\$\\pm\$|&plusmn;|&#177;)\s*\d", text)
    assert figures == []


def test_one_seed_cannot_be_compared_for_sure(call: Call, store: Store) -> None:
    two_methods(store)
    said = call("compare", "widen", "anchor")
    assert "1 pair" in fine(said) + said.err


# Files of other times and places


def test_records_of_another_schema(call: Call, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    two_methods(store)
    with monkeypatch.context() as patch:
        patch.setattr("suite.record.SCHEMA", 0)  # older ones are read
        store.write(record(3, "drift"))
    assert [row["method"] for row in lines(call("table", "--to", "csv"))] == ["drift", "anchor", "widen"]
    with monkeypatch.context() as patch:
        patch.setattr("suite.record.SCHEMA", 99)  # newer ones may mean something else
        store.write(record(4, "all"))
    for command in READ.values():
        one_line(call(*command), Exit.ENVIRONMENT, f"{4:016x}", "schema 99", "upgrade")
    (store.root / "records" / f"{4:016x}.parquet").unlink()
    assert len(lines(call("table", "--to", "csv"))) == 3  # nothing was set aside


def test_records_from_before_some_columns(call: Call, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    two_methods(store)
    with monkeypatch.context() as patch:
        for name in ("FOOTPRINT", "COLUMNS"):
            known = getattr(__import__("suite.record", fromlist=[name]), name)
            new = ("evaluation_flops", "state_numbers")
            fewer = {k: v for k, v in known.items() if k not in new} if isinstance(known, dict) else tuple(
                k for k in known if k not in new)  # fmt: skip
            patch.setattr(f"suite.record.{name}", fewer)
        old = record(3, "drift")
        tasks = [replace(task, phases=[{k: v for k, v in phase.items() if k != "held"} for phase in task.phases],
                         footprint={k: v for k, v in task.footprint.items() if k not in new})
                 for task in old.tasks]  # fmt: skip
        store.write(replace(old, tasks=tasks))
    (row,) = [row for row in call("results", "--json").json if row["method"] == "drift"]
    assert row["last"] == 1.0
    assert (row["flops_eval"], row["memory_mb_peak"]) == (None, None)
    every_verb_is_fine(call)


def test_unlike_environments_are_told(call: Call, store: Store) -> None:
    store.write(record(1, "widen"))
    other = {"torch": "1.0.0", "commit": "f" * 40, "device": "another", "version": "9.9", "data": "other images"}
    store.write(record(2, "widen", seed=1, **other))
    store.write(record(3, "anchor"))
    said = call("table")
    text = " ".join((fine(said) + said.err).split())
    assert "1.0.0" in text
    assert "ffffffffff" in text
    assert "did not see the same images" in text
    every_verb_is_fine(call)


def test_protocols_that_are_no_more(call: Call, store: Store) -> None:
    two_methods(store)
    gone = record(3, "widen", stream="toy-b4i2")
    store.write(replace(gone, protocol="gone-for-good", spec={**gone.spec, "protocol": {
        **gone.spec["protocol"], "dataset": {"name": "gone", "classes": 6}, "backbone": "gone"}}))  # fmt: skip
    assert {row["protocol"] for row in lines(call("table", "--to", "csv"))} == {"toy-b0i2", "gone-for-good"}
    (row,) = call("results", "--where", "protocol=gone-for-good", "--json").json
    assert row["dataset"] == "gone"
    assert "gone-for-good" in fine(call("table", "-p", "gone-for-good"))
    every_verb_is_fine(call)


def test_methods_that_are_no_more(call: Call, store: Store) -> None:
    store.write(named(record(1), "long-gone"))
    assert "long-gone" in fine(call("table"))
    assert "long-gone" in fine(call("table", "-m", "long-gone"))
    assert len(call("results", "--where", "method=long-gone", "--json").json) == 1


# Figures that are none


@pytest.mark.parametrize("none", [float("nan"), float("inf"), None])
def test_accuracies_that_are_no_numbers(
    call: Call, store: Store, monkeypatch: pytest.MonkeyPatch, none: float | None
) -> None:
    def spoilt(found: RunRecord) -> dict[str, Any]:
        row = result_row(found)
        if row["method"] == "widen":
            row |= dict.fromkeys(("avg", "last", "forgetting"), none) | {"curve": [0.5, none, none]}
        return row

    monkeypatch.setattr(index, "result_row", spoilt)
    two_methods(store)
    rows = {row["method"]: row for row in lines(call("table", "--to", "csv"))}
    assert (rows["widen"]["avg_mean"], rows["anchor"]["avg_mean"]) == ("", "0.5")
    for form in ("md", "tex", "html", "rich"):
        assert not re.search(r"\b(nan|inf)\b", fine(call("table", "--to", form)), re.IGNORECASE)
    assert {row["method"]: row["avg"] for row in call("results", "--json").json} == {"widen": None, "anchor": 0.5}
    for command in READ.values():
        said = call(*command)
        assert said.code in (Exit.DONE, Exit.NOTHING), said.err


def test_a_run_without_test_images_is_left_out_and_named(call: Call, store: Store) -> None:
    two_methods(store)
    whole = record(3, "drift")
    nothing = replace(whole.tasks[0], labels=np.empty(0, np.int16), predictions={"linear": np.empty((0, 2), np.int16)})
    store.write(replace(whole, tasks=[nothing, *whole.tasks[1:]]))
    for said in every_verb_is_fine(call):
        assert said.err.count(f"record {3:016x} is left out") == 1
    store.root.joinpath("records", f"{1:016x}.parquet").unlink()
    store.root.joinpath("records", f"{2:016x}.parquet").unlink()
    said = call("table")
    assert said.code == Exit.NOTHING
    assert "no finished run" in said.err


# Names that mean something elsewhere


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are(call: Call, store: Store, name: str) -> None:
    store.write(named(record(1, "widen", right=[[10], [10, 10], [10, 10, 4]]), name))
    store.write(record(2, "anchor"))
    assert name in {row["method"] for row in lines(call("table", "--to", "csv"))}
    assert name[:20] in "".join(fine(call("results")).split("\n"))
    assert [row["method"] for row in call("results", "--where", "seed=0", "--json").json] == sorted([name, "anchor"])

    page = Texts()
    page.feed(fine(call("table", "--to", "html")))
    assert name in "".join(page.texts)
    assert "script" not in page.tags

    markdown = fine(call("table", "--to", "md")).splitlines()
    row = next(line for line in markdown if "CVPR 2021" in line)
    assert name.replace("\\", "") in row.replace("\\", "")
    assert len(re.findall(r"(?<!\\)\|", row)) == markdown[0].count("|")  # as many cells as the header
    assert not re.search(r"(?<!\\)<(?!/?u>)", row)

    tex = fine(call("table", "--to", "tex")).splitlines()
    ours, others = ([line for line in tex if year in line] for year in ("CVPR 2021", "ECCV 2020"))
    for row, other in zip(ours, others, strict=True):  # a wide table comes in parts
        assert row.endswith(r" \\")
        assert not re.search(r"(?<!\\)[#%_]", row)
        assert len(re.findall(r"(?<!\\)&", row)) == other.count("&")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("verb", ["plot", "report"])
def test_names_are_drawn_and_reported_as_they_are(
    call: Call, store: Store, tmp_path: Path, verb: str, name: str
) -> None:
    store.write(named(record(1, "widen", right=[[10], [10, 10], [10, 10, 4]]), name))
    store.write(record(2, "anchor"))
    file = tmp_path / ("out.svg" if verb == "plot" else "out.html")
    fine(call(*READ[verb][:-1], file))
    text = file.read_text()
    if verb == "report":
        page = Texts()
        page.feed(text)
        assert name in "".join(page.texts)
    assert "<script>alert(1)" not in text
    assert "a<b>c" not in text


def test_a_long_name_fits_a_narrow_terminal(call: Call, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    store.write(named(record(1), "sixty" * 12))
    for verb in ("results", "table"):
        text = fine(call(verb))
        assert "sixtysixty" in text
        assert max(map(len, text.splitlines())) <= 80


# Places that cannot be written


@pytest.mark.parametrize("command", WRITERS, ids=" ".join)
def test_a_file_that_cannot_be_written(call: Call, store: Store, tmp_path: Path, command: tuple[str, ...]) -> None:
    two_methods(store)
    (tmp_path / "file").write_text("precious")
    name = f"out.{command[-1] if '--to' in command else 'html'}"
    (tmp_path / "folder" / name).mkdir(parents=True)
    codes = {"file": Exit.ENVIRONMENT, "nowhere": Exit.ENVIRONMENT,
             "folder": Exit.USAGE if command[0] == "report" else Exit.ENVIRONMENT}  # fmt: skip
    for folder in ["file"] if command[0] == "plot" else codes:  # figures make and fill folders
        one_line(call(*command, "-o", f"{folder}/{name}"), codes[folder], f"{folder}/{name}")
    assert (tmp_path / "file").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "results"]
    assert list((tmp_path / "folder").rglob("*")) == [tmp_path / "folder" / name]
