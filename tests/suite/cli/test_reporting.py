"""`report`: where the page goes, what it is of, and what is said where there is none."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from suite.cli.reporting import _aside
from suite.errors import Exit
from suite.record import Failure
from suite.report.pictures import Galleries
from suite.store import Store
from suite.sweep import resolve, sweep_of
from tests.suite.cli.conftest import Call
from tests.suite.cli.test_bad_input import one_line
from tests.suite.records_for_tests import record
from tests.suite.report.reports_for_tests import Parsed


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store.open(tmp_path / "results", write=True)
    found.write(record(1, "widen", right=[[10], [10, 10], [10, 10, 10]], branches=3))
    found.write(record(2, "widen", seed=1, right=[[10], [10, 10], [10, 10, 4]], branches=3))
    found.write(record(3, "anchor", right=[[5], [5, 5], [5, 5, 5]]))
    found.write(record(4, "drift", smoke=True))
    return found


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures have tests of their own, and take their time."""
    monkeypatch.setattr("suite.report.page.galleries", lambda *_: lambda: Galleries({}, (), False))


def test_it_writes_one_page(store: Store, call: Call, tmp_path: Path) -> None:
    said = call("report", "-o", "all.html")
    assert (said.code, said.out) == (0, "")
    assert said.err.startswith("wrote all.html (3 runs, ")
    assert said.err.count("\n") == 1
    page = Parsed((tmp_path / "all.html").read_text())
    assert page.all("h1")[0].text == "Report"
    assert "1 smoke run (--limit-epochs) is left out: it is no result" in page.by_id("provenance").text
    assert len(page.all("svg")) > 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.html", "results"]
    one = (tmp_path / "all.html").read_bytes()
    call("report", "-o", "all.html")
    assert (tmp_path / "all.html").read_bytes() == one


@pytest.mark.usefixtures("bare")
def test_filters_choose_the_runs(store: Store, call: Call, tmp_path: Path) -> None:
    call("report", "-m", "widen", "--where", "seed=1")
    data = json.loads(Parsed((tmp_path / "report.html").read_text()).by_id("data").text)
    assert [(run[3], run[5]) for run in data["runs"]] == [(1, f"{2:016x}")]
    said = call("report", "--smoke", "--json").json
    size = (tmp_path / "report.html").stat().st_size
    assert said == {"output": "report.html", "runs": 4, "bytes": size, "beside": 0}


@pytest.mark.usefixtures("bare")
def test_a_sweep_is_reported_with_what_it_lacks(store: Store, call: Call, tmp_path: Path) -> None:
    text = 'methods = ["der", "replay"]\nprotocols = ["toy-b0i2"]\nseeds = [0, 1]\n'
    (tmp_path / "mine.toml").write_text(text)
    specs = resolve(sweep_of({"methods": ["der", "replay"], "protocols": ["toy-b0i2"], "seeds": [0, 1]}, "here"))
    about = "oom", "CUDA <out> of memory", "task 2", "", "host", "2026-01-01T00:00:00+00:00"
    store.fail(Failure(specs[0].key, specs[0].label, *about))  # type: ignore[arg-type]
    said = call("report", "mine.toml")
    assert said.code == 0
    page = Parsed((tmp_path / "report.html").read_text())
    assert page.all("h1")[0].text == "Report: mine"
    cells = [" ".join(e.text.split()) for e in page.all("td") if e.attrs.get("class", "").startswith("state")]
    assert cells == ["0/2", "0/2 1 failed"]
    failures = " ".join(page.by_id("provenance").text.split())
    assert "CUDA <out> of memory" in failures
    assert f"run -m {specs[0].method} -p toy-b0i2 --orders 1993 --seeds 0" in failures


@pytest.mark.usefixtures("bare")
def test_what_does_not_fit_lies_beside(
    store: Store, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.report.page.LIMIT", 30_000)
    said = call("report", "-o", "big.html", "--json")
    assert said.json["beside"] == 2
    assert said.json["runs"] == 3
    links = {e.attrs["href"] for e in Parsed((tmp_path / "big.html").read_text()).all("a")}
    for file in (tmp_path / "big-runs").iterdir():
        assert f"big-runs/{file.name}" in links
    assert "wrote big.html (3 runs" in call("report", "-o", "big.html").err


def test_places_where_no_page_can_be(store: Store, call: Call, tmp_path: Path) -> None:
    one_line(call("report", "-o", "page.pdf"), Exit.USAGE, "name it page.html")
    one_line(call("report", "-o", "results"), Exit.USAGE, "results.html")
    (tmp_path / "there.html").mkdir()
    one_line(call("report", "-o", "there.html"), Exit.USAGE, "there.html/report.html")
    one_line(call("report", "-o", "not/there.html"), Exit.ENVIRONMENT, "no folder not")


@pytest.mark.usefixtures("bare")
def test_a_disk_that_refuses_is_one_line(store: Store, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise PermissionError(13, "Permission denied", str(path) + ".tmp-1234")

    monkeypatch.setattr("suite.cli.reporting.place", refuse)
    one_line(call("report"), Exit.ENVIRONMENT, "report.html cannot be written: Permission denied")


def test_nothing_to_report(call: Call, tmp_path: Path) -> None:
    one_line(call("report"), Exit.NOTHING, "no finished run under results")
    Store.open(tmp_path / "results", write=True).write(record(4, "drift", smoke=True))
    one_line(call("report"), Exit.NOTHING, "add --smoke")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.usefixtures("bare")
def test_damaged_records_are_named_on_the_page(store: Store, call: Call, tmp_path: Path) -> None:
    (tmp_path / "results" / "records" / f"{3:016x}.parquet").write_bytes(b"cut short")
    call("report")
    text = Parsed((tmp_path / "report.html").read_text()).by_id("provenance").text
    assert f"1 damaged record set aside under damaged/ and left out: {3:016x}" in text


@pytest.mark.parametrize("threads", [1, 2])
def test_much_is_written_by_a_copy_of_this_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, threads: int) -> None:
    monkeypatch.setattr("suite.cli.reporting.threading.active_count", lambda: threads)
    (tmp_path / "by").touch()
    wait = _aside(lambda: (tmp_path / "by").write_text(str(os.getpid())) and None, True)
    wait()
    assert ((tmp_path / "by").read_text() == str(os.getpid())) == (threads > 1 or sys.platform != "linux")


def test_what_fails_in_the_copy_is_told_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.cli.reporting.threading.active_count", lambda: 1)

    def refuse() -> None:
        raise PermissionError(13, "Permission denied")

    wait = _aside(refuse, True)
    with pytest.raises(PermissionError):
        wait()
