"""`compare` over made-up runs in a store: what is printed, written and refused."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import protocols
from suite.declared import declared
from suite.errors import Exit
from suite.index import indexed_rows
from suite.record import RunRecord
from suite.store import Store
from suite.sweep import resolve, sweep_of
from tests.suite.cli.conftest import Call
from tests.suite.cli.test_bad_input import one_line
from tests.suite.records_for_tests import record

NAME = "cifar100-b0i10"
LAST = {"der": (59, 60, 61, 60, 58, 62), "replay": (41, 40, 44, 40, 41, 39)}  # by seed
DIFFERENCES = (18.0, 20.0, 17.0, 20.0, 17.0, 23.0)


def kept(folder: Path, *records: RunRecord) -> None:
    store = Store.open(folder / "results", write=True)
    for each in records:
        store.write(each)


def run(method: str, protocol: str, seed: int, percent: int) -> RunRecord:
    """A record that has `percent` % of the images of every task right, after every task."""
    made = record(0, "anchor", right=[[percent] * t for t in (1, 2, 3)], per_class=50, seed=seed)
    usual = resolve(sweep_of({"methods": [method], "protocols": [protocol], "seeds": [seed]}, "test"))[0]
    spec = {**made.spec, "method": method, "protocol": protocols.get(protocol).identity(), "config": usual.config}
    provenance = {**made.provenance, "method": {"title": declared(method).title}}
    return replace(made, key=usual.key, method=method, protocol=protocol, spec=spec, provenance=provenance)


def runs(pairs: int, protocol: str = NAME) -> list[RunRecord]:
    return [run(method, protocol, seed, LAST[method][seed]) for method in LAST for seed in range(pairs)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pairs on one protocol, and three on another, where DER has a run more."""
    folder = tmp_path_factory.mktemp("whole")
    kept(folder, *runs(6), *runs(3, "cifar100-b0i20"), run("der", "cifar100-b0i20", 9, 60))
    indexed_rows(Store.open(folder / "results"))
    return folder / "results"


@pytest.fixture
def six(tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path / "results")


@pytest.mark.usefixtures("six")
def test_what_is_printed(call: Call) -> None:
    said = call("compare", "der", "replay", "--metric", "last")
    assert said.code == Exit.DONE
    lines = said.out.splitlines()
    assert lines[0] == "A = DER, B = Replay: Last (%)"
    assert lines[2].split() == ["protocol", "pairs", "A", "B", "A", "-", "B", "95", "%", "interval", "win/tie/loss"]
    ten, twenty = (line.split() for line in lines[3:5])
    assert ten[:2] == [NAME, "6"]
    assert float(ten[4]) == pytest.approx(sum(DIFFERENCES) / 6, abs=0.006)
    assert 17 <= float(ten[5]) < float(ten[4]) < float(ten[7]) <= 23
    assert (ten[-1], twenty[:2], twenty[-1]) == ("6/0/0", ["cifar100-b0i20", "3"], "3/0/0")
    assert twenty[5].startswith("(")
    words = " ".join(said.out.split())
    assert "warning: 3 pairs on cifar100-b0i20: too few for an interval to mean much" in words
    assert "unpaired: 1 run of der on cifar100-b0i20 (order 1993 seed 9): no such run of replay" in words
    assert "Over 2 protocols: A better on 2, as good on 0, worse on 0" in words
    assert "all pairs have class order 1993" in words


@pytest.mark.usefixtures("six")
def test_neither_stars_nor_p_values(call: Call) -> None:
    for form in ("rich", "csv", "json"):
        said = call("compare", "der", "replay", "--to", form).out
        assert "*" not in said
        assert not re.search(r"\bp\b|p-value|signific", said)


@pytest.mark.usefixtures("six")
def test_from_five_pairs_on_nothing_is_said(call: Call) -> None:
    assert "too few" not in call("compare", "der", "replay", "-p", NAME).out


def test_one_pair_has_no_interval(call: Call, tmp_path: Path) -> None:
    kept(tmp_path, *runs(1))
    said = call("compare", "der", "replay").out
    assert "1 pair: too few for an interval to mean much" in said
    assert "needs at least two pairs" in said


@pytest.mark.usefixtures("six")
def test_twice_it_is_the_same(call: Call) -> None:
    assert call("compare", "der", "replay", "--json").out == call("compare", "der", "replay", "--to", "json").out


@pytest.mark.usefixtures("six")
def test_json_has_every_pair(call: Call) -> None:
    found = call("compare", "der", "replay", "--metric", "last", "--json").json
    assert [len(each["pairs"]) for each in found["streams"]] == [6, 3]
    assert [100 * (pair["a"] - pair["b"]) for pair in found["streams"][0]["pairs"]] == pytest.approx(
        DIFFERENCES, abs=1e-9
    )
    assert (found["a"], found["wins"], found["metric"]["field"]) == ("der", 2, "last")
    assert [run["train_seed"] for run in found["unpaired"]] == [9]


@pytest.mark.usefixtures("six")
def test_csv_has_unrounded_fractions(call: Call, tmp_path: Path) -> None:
    said = call("compare", "der", "replay", "--metric", "last", "-o", "found.csv")
    assert (said.code, said.out, said.err) == (Exit.DONE, "", "wrote found.csv\n")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "found.csv").read_text())))
    assert [row["protocol"] for row in rows] == [NAME, "cifar100-b0i20"]
    assert 100 * float(rows[0]["difference"]) == pytest.approx(sum(DIFFERENCES) / 6, abs=0.006)
    assert float(rows[0]["low"]) < float(rows[0]["difference"]) < float(rows[0]["high"])


@pytest.mark.usefixtures("six")
def test_markdown_escapes_and_warns(call: Call) -> None:
    said = call("compare", "der", "replay@precision=fp32", "--to", "md").out.splitlines()
    assert said[0] == "A = DER, B = Replay@precision=fp32: Avg (%)"
    assert said[2].count("|") == said[3].count("|") == said[4].count("|") == 8
    assert any(line.startswith("- **Warning**: 3 pairs on cifar100-b0i20") for line in said)


@pytest.mark.usefixtures("six")
def test_a_file_takes_what_the_terminal_would_show(call: Call, tmp_path: Path) -> None:
    call("compare", "der", "replay", "-o", "found.txt")
    assert (tmp_path / "found.txt").read_text().startswith("A = DER, B = Replay: Avg (%)\n")


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_it_fits_the_terminal(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    kept(tmp_path, *runs(2, "imagenet100-b50i10+net=resnet34-3x3-maxpool"))
    monkeypatch.setenv("COLUMNS", str(columns))
    said = call("compare", "der", "replay").out
    assert max(map(len, said.splitlines())) <= columns


@pytest.mark.usefixtures("six")
def test_quiet_leaves_the_warnings(call: Call) -> None:
    said = call("compare", "der", "replay", "-q").out
    assert "too few" in said
    assert "bootstrap" not in said


@pytest.mark.usefixtures("six")
def test_a_sweep_has_its_own_runs_alone(call: Call, tmp_path: Path) -> None:
    text = 'methods = ["der", "replay"]\nprotocols = ["cifar100-b0i10"]\nseeds = [{}]\n'
    (tmp_path / "own.toml").write_text(text.format("1, 2"))
    (stream,) = call("compare", "der", "replay", "own.toml", "--json").json["streams"]
    assert [pair["train_seed"] for pair in stream["pairs"]] == [1, 2]
    (tmp_path / "other.toml").write_text(text.format("7, 8"))
    one_line(call("compare", "der", "replay", "other.toml"), Exit.NOTHING, "other.toml", "none of its 4 runs")
    one_line(call("compare", "der", "replay", "nothing"), Exit.NOTHING, "no sweep")


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("der", "replai"), Exit.SPEC, ['unknown method "replai"', '"replay"']),
        (("der", "replai", "-p", "cifar100-b0i50"), Exit.SPEC, ['unknown method "replai"', '"replay"']),
        (("der", "foster"), Exit.NOTHING, ["none of", "foster"]),
        (("ewc", "foster"), Exit.NOTHING, ["none of 19 finished runs", "ewc"]),
        (("der", "replay", "-p", "cifar10-b0ix"), Exit.SPEC, ["cifar10-b0ix"]),
        (("der", "replay", "-p", "digits-b0i2"), Exit.NOTHING, ["none of 19 finished runs", "digits-b0i2"]),
        (("der", "replay", "--metric", "avrg"), Exit.SPEC, ['unknown metric "avrg"', '"avg"']),
        (("der", "replay", "--metric", "nme_avg"), Exit.NOTHING, ["it has no nme_avg"]),
        (("der", "replay", "--to", "pdf"), Exit.USAGE, ['unknown format "pdf"']),
        (("der", "replay", "-o", "no/such/folder.csv"), Exit.ENVIRONMENT, ["no/such/folder.csv"]),
        (("der", "replay", "--where", "metod=der"), Exit.SPEC, ["unknown field"]),
        (("der", "der"), Exit.USAGE, ["der beside itself"]),
        (("der",), Exit.USAGE, ["missing argument", "B"]),
    ],
)
def test_bad_input_is_one_line(call: Call, args: tuple[str, ...], code: Exit, words: list[str]) -> None:
    one_line(call("compare", *args), code, *words)


def test_an_empty_store(call: Call) -> None:
    one_line(call("compare", "der", "replay"), Exit.NOTHING, "under results")
    one_line(call("compare", "dre", "replay"), Exit.SPEC, 'unknown method "dre"; did you mean "der"?')


def test_a_method_that_is_no_longer_there(call: Call, tmp_path: Path) -> None:
    """Its records are enough."""
    kept(tmp_path, *(replace(each, method="gone" if each.method == "replay" else "der") for each in runs(2)))
    assert call("compare", "der", "gone").code == Exit.DONE


@pytest.mark.usefixtures("six")
def test_nobody_waits_for_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from suite.cli.main import main; main(['compare', 'der', 'replay']); "
        "sys.exit(bool({'torch', 'ray', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0
