"""Every format of one table of ten fixed runs, against files that were read by eye, and against its own grammar."""

from __future__ import annotations

import csv as reader
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from suite.render import csv, latex, markdown, terminal
from suite.table import Table
from tests.suite.records_for_tests import ten_rows
from tests.suite.test_table import made

GOLDEN = Path(__file__).parent / "golden"
NASTY = "A&B_100% #1 {x} ~^\\ <b> | *c* [d] `e` $f$"


@pytest.fixture(scope="module")
def table() -> Table:
    return Table.of(ten_rows())


@pytest.fixture(scope="module")
def nasty() -> Table:
    rows = [made(1, title=NASTY, reference=NASTY, family=NASTY, protocol=NASTY, preset=NASTY), made(2, method="anchor")]
    return Table.of(rows)


def plain(table: Table, width: int, **options: bool) -> str:
    return "".join(f"{line.plain}\n" for line in terminal.lines(table, width, **options))


def printed(table: Table, width: int = 80, **options: object) -> str:
    out = io.StringIO()
    terminal.show(table, Console(file=out, width=width, **options))  # type: ignore[arg-type]
    return out.getvalue()


def test_golden_terminal(table: Table) -> None:
    assert plain(table, 80, signs=True) == (GOLDEN / "table-80.txt").read_text()
    assert plain(table, 120, signs=True) == (GOLDEN / "table-120.txt").read_text()


def test_golden_markdown(table: Table) -> None:
    assert markdown.render(table) == (GOLDEN / "table.md").read_text()


def test_golden_csv(table: Table) -> None:
    assert csv.render(table) == (GOLDEN / "table.csv").read_text()


def test_golden_latex(table: Table) -> None:
    assert latex.render(table) == (GOLDEN / "table.tex").read_text()


# Terminal


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(table: Table, width: int) -> None:
    assert max(map(len, plain(table, width).splitlines())) <= width
    assert max(map(len, plain(table, width, signs=True).splitlines())) <= width


def test_protocols_stand_side_by_side_where_they_fit(table: Table) -> None:
    assert plain(table, 80).count("Method") == 2
    assert plain(table, 120).count("Method") == 1
    assert plain(table, 20).count("Method") == 2  # too narrow for one: wider than asked, and all there


def test_figures_stand_below_each_other(table: Table) -> None:
    lines = [line for line in plain(table, 120).splitlines() if "\N{PLUS-MINUS SIGN}" in line and "n:" not in line]
    assert len(lines) == 3
    places = [[match.start() for match in re.finditer("\N{PLUS-MINUS SIGN}", line)] for line in lines]
    assert places[0] == places[1] == places[2]


def test_a_terminal_shows_styles_and_a_pipe_shows_signs(table: Table) -> None:
    styled = printed(table, force_terminal=True, color_system="standard")
    assert "\x1b[1m92.2 \N{PLUS-MINUS SIGN} 1.6\x1b[0m" in styled
    assert "\x1b[4m81.4 \N{PLUS-MINUS SIGN} 2.7\x1b[0m" in styled
    assert "Bold: best, underlined: second best" in styled
    assert "*" not in re.sub(r"\x1b\[[0-9;]*m", "", styled)
    piped = printed(table)
    assert "\x1b" not in piped
    assert "92.2 \N{PLUS-MINUS SIGN} 1.6*" in piped
    assert "81.4 \N{PLUS-MINUS SIGN} 2.7'" in piped
    assert "*: best, ': second best" in piped


def test_a_terminal_without_unicode_is_served(table: Table) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    terminal.show(table, Console(file=out, width=80))
    out.flush()
    text = out.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "92.2 +-1.6*" in text
    assert "1!" in text
    assert [len(line) for line in text.splitlines()][:12] == [len(line) for line in printed(table).splitlines()][:12]


def test_brackets_are_no_markup(nasty: Table) -> None:
    assert NASTY in printed(nasty, 400)
    assert NASTY in printed(nasty, 400, force_terminal=True, color_system=None)


def test_warnings_are_last() -> None:
    table = Table.of([made(1), made(2, seed=1, torch="2.11.0")])
    assert plain(table, 100).splitlines()[-1] == "warning: unlike environments: torch 2.11.0, 2.15.0"
    assert "**Warning**: unlike environments" in markdown.render(table).splitlines()[-1]
    assert "Warning: unlike environments: torch 2.11.0, 2.15.0." in latex.render(table)


# Markdown


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.mark.parametrize("which", ["table", "nasty"])
def test_markdown_rows_have_one_length(which: str, request: pytest.FixtureRequest) -> None:
    table: Table = request.getfixturevalue(which)
    rows = [line for line in markdown.render(table).splitlines() if line.startswith("|")]
    assert len({len(cells(row)) for row in rows}) == 1
    assert len(cells(rows[0])) == 2 + len(table.headings) * 6
    assert re.fullmatch(r"[|: -]+", rows[1])


def test_markdown_marks(table: Table) -> None:
    text = markdown.render(table)
    assert "**92.2 \N{PLUS-MINUS SIGN} 1.6**" in text
    assert "<u>81.4 \N{PLUS-MINUS SIGN} 2.7</u>" in text
    assert "1\N{DAGGER}" in text
    assert "Prune\\_It" in text
    assert "\N{EN DASH}" in text


# CSV


def test_csv_is_read_back_to_the_numbers(table: Table) -> None:
    rows = list(reader.DictReader(io.StringIO(csv.render(table))))
    assert len(rows) == 5 * 2
    anchor = next(row for row in rows if (row["method"], row["protocol"]) == ("anchor", "toy-b0i2"))
    assert (anchor["n"], anchor["missing"], anchor["family"]) == ("2", "0", "single backbone")
    runs = [row for row in ten_rows() if (row["method"], row["protocol"]) == ("anchor", "toy-b0i2")]
    assert float(anchor["last_mean"]) == sum(run["last"] for run in runs) / 2
    assert float(anchor["last_std"]) == pytest.approx(2**0.5 / 30)
    assert float(anchor["params_final_mean"]) == 1_000_060
    empty = next(row for row in rows if (row["method"], row["protocol"]) == ("widen", "toy-b4i2"))
    assert (empty["n"], empty["avg_mean"], empty["avg_std"]) == ("0", "", "")


def test_csv_quotes(nasty: Table) -> None:
    rows = list(reader.DictReader(io.StringIO(csv.render(nasty))))
    assert {row["title"] for row in rows} == {NASTY, "Anchor"}


# LaTeX


def check(text: str, columns: int) -> None:
    """Raise AssertionError unless braces, maths, environments and columns are those of a document that compiles."""
    body = re.sub(r"(?<!\\)%.*", "", text)
    depth, maths = 0, 0
    for token in re.findall(r"\\\\|\\.|[{}$&#_^~%]|[^\\{}$&#_^~%]+", body, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(token, 0)
        maths += token == "$"
        assert depth >= 0, "a brace too many"
        assert token not in ("#", "~", "_"), f"bare {token}"
        assert token != "^" or maths % 2, "a power outside of maths"
    assert depth == 0, "a brace too few"
    assert maths % 2 == 0, "maths left open"
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{([^}]*)\}", body):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    spec, inner = re.search(r"\\begin\{tabular\}\{([lrc]+)\}(.*)\\end\{tabular\}", body, re.DOTALL).groups()  # type: ignore[union-attr]
    assert len(spec) == columns
    rows = [row for row in inner.split("\\\\\n")[:-1]]
    for row in rows:
        width = 0
        for part in re.split(r"(?<!\\)&", row):
            span = re.search(r"\\multicolumn\{(\d+)\}", part)
            width += int(span[1]) if span else 1
        assert width == columns, row
    for start, end in re.findall(r"\\cmidrule\(lr\)\{(\d+)-(\d+)\}", inner):
        assert 3 <= int(start) <= int(end) <= columns


@pytest.mark.parametrize("which", ["table", "nasty"])
def test_latex_is_well_formed(which: str, request: pytest.FixtureRequest) -> None:
    table: Table = request.getfixturevalue(which)
    check(latex.render(table), 2 + len(table.headings) * 6)


def test_the_check_finds_faults(table: Table) -> None:
    text = latex.render(table)
    for fault in (text.replace("\\#P", "#P"), text.replace("Prune\\_It", "Prune_It"), text.replace("--", "-- &", 1),
                  text.replace("\\end{tabular}", ""), text.replace("\\textbf{9", "\\textbf9", 1),
                  text.replace("$\\pm$", "$\\pm", 1)):  # fmt: skip
        with pytest.raises((AssertionError, AttributeError)):
            check(fault, 14)


@pytest.mark.skipif(not shutil.which("pdflatex") and not shutil.which("tectonic"), reason="no LaTeX here")
def test_latex_compiles(nasty: Table, table: Table, tmp_path: Path) -> None:
    body = latex.render(table) + latex.render(nasty)
    (tmp_path / "t.tex").write_text(
        f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{body}\\end{{document}}"
    )
    tool = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error"] if shutil.which("pdflatex") else ["tectonic"]
    subprocess.run([*tool, "t.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_one_protocol_and_one_method() -> None:
    table = Table.of([made(1)])
    check(latex.render(table), 8)
    assert len(list(reader.reader(io.StringIO(csv.render(table))))) == 2
    assert "Widen" in markdown.render(table)
    assert "Widen" in plain(table, 80)
