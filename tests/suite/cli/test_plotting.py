"""`plot` on a folder of results: which files it writes, what it says, and what it refuses."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

from suite.errors import Exit
from suite.figures import KINDS
from suite.store import Store
from tests.suite.cli.conftest import Call
from tests.suite.records_for_tests import record

SWEEP = 'methods = ["der", "finetune"]\nprotocols = ["toy-b0i5"]\n'


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two methods on one protocol and one of them on another; a third method has nothing but a smoke run."""
    store = Store.open(tmp_path / "results", write=True)
    store.write(record(1, "widen", branches=3))
    store.write(record(2, "widen", seed=1, branches=3))
    store.write(record(3, "anchor"))
    store.write(record(4, "anchor", "toy-b4i2"))
    store.write(record(5, "drift", smoke=True))
    return store.root


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("results")
def test_a_folder_gets_each_figure_with_its_numbers(call: Call, tmp_path: Path) -> None:
    said = call("plot", "pareto", "--to", "svg", "-o", "here/there")
    assert said.code == Exit.DONE
    assert said.out == ""
    assert names(tmp_path / "here" / "there") == [
        "pareto-toy-b0i2.csv", "pareto-toy-b0i2.svg", "pareto-toy-b4i2.csv", "pareto-toy-b4i2.svg",
    ]  # fmt: skip
    assert "wrote 4 files" in said.err
    assert "1 smoke run left out" in said.err
    assert "one sample standard deviation" in said.err  # what a caption must say


@pytest.mark.usefixtures("results")
def test_formats_by_ending_by_option_and_by_default(call: Call, tmp_path: Path) -> None:
    assert call("plot", "curves", "-o", "a.png").code == Exit.DONE
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert call("plot", "curves").code == Exit.DONE
    assert names(tmp_path / "figures") == ["curves.csv", "curves.pdf"]
    assert (tmp_path / "figures" / "curves.pdf").read_bytes().startswith(b"%PDF")
    assert call("plot", "curves", "--to", "pdf,svg", "-o", "both").code == Exit.DONE
    assert names(tmp_path / "both") == ["curves.csv", "curves.pdf", "curves.svg"]
    assert call("plot", "memory", "-o", "all.csv").code == Exit.DONE  # figures of several protocols in one table
    lines = list(csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text())))
    assert {line["panel"] for line in lines} == {"toy-b0i2", "toy-b4i2"}


@pytest.mark.usefixtures("results")
def test_numbers_alone_are_printed(call: Call, tmp_path: Path) -> None:
    said = call("plot", "curves", "--to", "csv", "--where", "method=widen")
    lines = list(csv.DictReader(io.StringIO(said.out)))
    assert {line["series"] for line in lines} == {"Widen"}
    assert [float(line["y"]) for line in lines] == [100, 100, 100]
    assert not (tmp_path / "figures").exists()


@pytest.mark.usefixtures("results")
def test_machines_are_told_the_figure_itself(call: Call, tmp_path: Path) -> None:
    (figure,) = call("plot", "curves", "--json").json
    assert figure["kind"] == "curves"
    assert {series["label"] for series in figure["panels"][0]["series"]} == {"Anchor", "Widen"}
    assert figure["alt"].startswith("Line chart")
    assert not (tmp_path / "figures").exists()


@pytest.mark.usefixtures("results")
def test_columns_set_the_width(call: Call, tmp_path: Path) -> None:
    from PIL import Image

    for columns, inches in (("1", 3.3), ("2", 6.9)):
        assert call("plot", "curves", "--columns", columns, "-o", "a.png").code == Exit.DONE
        with Image.open(tmp_path / "a.png") as image:
            assert image.size[0] == round(300 * inches)


@pytest.mark.usefixtures("results")
def test_smoke_runs_are_no_results(call: Call) -> None:
    said = call("plot", "curves", "--where", "method=drift", "--to", "csv")
    assert said.code == Exit.NOTHING
    assert "the only run is a smoke run (--limit-epochs), no results; add --smoke" in said.err
    assert "Drift" in call("plot", "curves", "--where", "method=drift", "--to", "csv", "--smoke").out


@pytest.mark.usefixtures("results")
def test_a_sweep_is_its_own_runs_and_coverage_says_what_lacks(call: Call, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP)
    said = call("plot", "coverage", "sweep.toml", "--to", "csv")
    assert said.code == Exit.DONE, said.err
    lines = {line["series"]: line for line in csv.DictReader(io.StringIO(said.out))}
    assert set(lines) == {"DER", "FineTune"}
    assert {line["mark"] for line in lines.values()} == {"none"}
    said = call("plot", "curves", "sweep.toml")
    assert said.code == Exit.NOTHING
    assert "there is no finished run to plot curves of" in said.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["plot"], Exit.USAGE, f"which figure? known: {', '.join(KINDS)}."),
        (["plot", "curvs"], Exit.USAGE, 'unknown figure "curvs"; did you mean "curves"?'),
        (["plot", "curves", "--to", "gif"], Exit.USAGE, 'unknown format "gif"; '),
        (["plot", "curves", "--to", "pdf", "-o", "a.svg"], Exit.USAGE, "a.svg cannot be pdf: leave --to out, or give"),
        (["plot", "memory", "-o", "a.svg"], Exit.USAGE, "2 figures (memory-toy-b0i2, memory-toy-b4i2) do not fit"),
        (["plot", "auc"], Exit.NOTHING, "no run on a ladder of budgets; run -p PROTOCOL+auc gives such runs"),
        (["plot", "saturation"], Exit.NOTHING, "no method among these runs notes its saturation"),
        (["plot", "curves", "-m", "nobody"], Exit.SPEC, 'unknown method "nobody"'),
        (["plot", "curves", "--columns", "3"], Exit.USAGE, 'unknown width "3"'),
        (["plot", "curves", "-o", "results/store.json/a.svg"], Exit.ENVIRONMENT, "store.json/a.svg cannot be written"),
        (["plot", "curves", "nowhere"], Exit.NOTHING, "no sweep under results"),
    ],
)
@pytest.mark.usefixtures("results")
def test_what_cannot_be_is_one_line(call: Call, words: list[str], code: Exit, message: str) -> None:
    said = call(*words)
    assert said.code == code
    error = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert error[0].startswith(f"error: {message}") or message in error[0]


def test_an_empty_folder_is_one_line(call: Call) -> None:
    said = call("plot", "curves")
    assert said.code == Exit.NOTHING
    assert said.err == "error: no finished run under results\n"


def test_help_and_errors_wait_for_no_drawing(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom suite.cli.main import main\n"
        "for words in (['plot', '--help'], ['plot', 'curves'], ['plot', 'curvs']): main(words)\n"
        "print(sorted({n.partition('.')[0] for n in sys.modules} & {'matplotlib', 'torch', 'ray'}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
    for kind, about in KINDS.items():
        assert kind in done.stdout
        assert about in done.stdout
