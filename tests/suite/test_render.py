"""Every format of one table of ten fixed runs, against files that were read by eye, and against its own grammar."""

from __future__ import annotations

import csv as reader
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from suite.grouping import Wanted
from suite.record import Failure
from suite.render import csv, html, latex, markdown, terminal
from suite.table import Table
from suite.tables import table as table_of
from tests.suite.records_for_tests import ten_rows
from tests.suite.test_table import made

GOLDEN = Path(__file__).parent / "golden"
NASTY = "A&B_100% #1 {x} ~^\\ <b> | *c* [d] `e` $f$ \"q\" 's' \N{GREEK SMALL LETTER ALPHA} &amp;"
LONG = "an_extraordinarily_long_name_of_a_method_that_has_60_letters"


@pytest.fixture(scope="module")
def table() -> Table:
    return table_of("benchmark", ten_rows(), against="widen")


@pytest.fixture(scope="module")
def nasty() -> Table:
    rows = [made(1, title=NASTY, reference=NASTY, family=NASTY, protocol=NASTY, preset=NASTY), made(2, method="anchor")]
    rows += [
        made(3, method="drift", title="[x]", protocol=NASTY),
        made(4, method="prune_it", title="*", protocol=NASTY),
    ]
    return Table.of([*rows, made(5, method="all", title=LONG, stream="toy-b4i2")])


@pytest.fixture(scope="module")
def lacking() -> Table:
    """One method there, one that failed everywhere, one whose model does not fit."""
    wanted = [
        Wanted(f"{1:016x}", "widen", "toy-b0i2"),
        Wanted("f" * 16, "new", "toy-b0i2", "New", "expansion"),
        Wanted("e" * 16, "big", "toy-b0i2", "Big", "expansion", "", "its network takes <9> MiB"),
    ]
    return table_of("benchmark", [made(1)], wanted, failures={"f" * 16: failure("out of memory")})


def failure(reason: str) -> Failure:
    return Failure("f" * 16, "new toy-b0i2 o1993 s0", "oom", reason, "", "", "", "")


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


def test_golden_html(table: Table) -> None:
    assert html.render(table) == (GOLDEN / "table.html").read_text()


def test_golden_latex(table: Table) -> None:
    assert latex.render(table) == (GOLDEN / "table.tex").read_text()


# Terminal


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(table: Table, width: int) -> None:
    assert max(map(len, plain(table, width).splitlines())) <= width
    assert max(map(len, plain(table, width, signs=True).splitlines())) <= width


def test_protocols_stand_side_by_side_where_they_fit(table: Table) -> None:
    assert plain(table, 120).count("Method") == 2
    assert plain(table, 200).count("Method") == 1


def test_columns_of_one_protocol_that_do_not_fit_stand_below(table: Table) -> None:
    text = plain(table, 72)
    assert "toy-b0i2 (continued)" in text
    before, after = text.split("toy-b0i2 (continued)")
    assert "Saved" in before
    assert "Avg" not in before
    assert "Avg" in after
    tiny = plain(table, 20)  # too narrow for one column beside the names: wider than asked, and all there
    assert all(title in tiny for title in ("Forgetting", "survey", "Saved", "Last"))


def test_titles_of_two_words_take_two_lines_before_columns_are_split() -> None:
    rows = [made(1), made(2, method="anchor")]
    wide = max(map(len, plain(Table.of(rows), 200).split("\n\n")[0].splitlines()))
    text = plain(Table.of(rows), wide - 4)
    assert "continued" not in text
    assert any(line.split() == ["#P", "MB", "MB"] for line in text.splitlines())


def test_figures_stand_below_each_other(table: Table) -> None:
    lines = [line for line in plain(table, 120).splitlines() if "\N{PLUS-MINUS SIGN}" in line and "n:" not in line]
    assert max(map(len, lines)) <= 120
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
    assert [len(line) for line in text.splitlines()][:30] == [len(line) for line in printed(table).splitlines()][:30]


def test_brackets_are_no_markup(nasty: Table) -> None:
    assert NASTY in printed(nasty, 400)
    assert NASTY in printed(nasty, 400, force_terminal=True, color_system=None)
    assert LONG in printed(nasty, 80)


def test_names_cannot_steer_a_terminal() -> None:
    text = printed(Table.of([made(1, title="a\x1b[2Jb\nc", reference="", preset="\x1b[31m")]), 120)
    assert "\x1b" not in text
    assert "a [2Jb c" in text


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
    assert len(cells(rows[0])) == 2 + sum(1 + len(table.under(heading)) for heading in table.headings)
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
    assert {row["title"] for row in rows} == {NASTY, "Anchor", "[x]", "*", LONG}


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
    tabulars = re.findall(r"\\begin\{tabular\}\{([lrc]+)\}(.*?)\\end\{tabular\}", body, re.DOTALL)
    assert tabulars
    found = 0
    for spec, inner in tabulars:
        rows = inner.split("\\\\\n")[:-1]
        found += len(spec) - 2
        for row in rows:
            width = 0
            for part in re.split(r"(?<!\\)&", row):
                span = re.search(r"\\multicolumn\{(\d+)\}", part)
                width += int(span[1]) if span else 1
            assert width == len(spec), row
        for row in rows[1:]:  # what follows a \\ must not be taken for its argument
            assert not row.lstrip().startswith(("*", "[")), row
        for start, end in re.findall(r"\\cmidrule\(lr\)\{(\d+)-(\d+)\}", inner):
            assert 3 <= int(start) <= int(end) <= len(spec)
    assert found == columns


@pytest.mark.parametrize("which", ["table", "nasty", "lacking"])
def test_latex_is_well_formed(which: str, request: pytest.FixtureRequest) -> None:
    table: Table = request.getfixturevalue(which)
    check(latex.render(table), sum(1 + len(table.under(heading)) for heading in table.headings))


def test_latex_escapes_what_not_every_engine_knows(nasty: Table) -> None:
    text = latex.render(nasty)
    assert text.isascii()
    assert "{[}x]" in text
    assert "$2^{20}$" in text
    # a Polish ogonek and a quotation mark that fonts of LaTeX's default encoding do not have
    assert latex.escape('a\u0105\u00e9\u00df\u00ab "b"') == "a?\u00e9\u00df? ''b''"


def test_the_check_finds_faults(table: Table) -> None:
    text = latex.render(table)
    for fault in (text.replace("\\#P", "#P"), text.replace("Prune\\_It", "Prune_It"), text.replace("--", "-- &", 1),
                  text.replace("\\end{tabular}", ""), text.replace("\\textbf{9", "\\textbf9", 1),
                  text.replace("$\\pm$", "$\\pm", 1)):  # fmt: skip
        with pytest.raises((AssertionError, AttributeError)):
            check(fault, 16)


ENGINE = next((tool for tool in ("pdflatex", "tectonic") if shutil.which(tool)), "")


@pytest.mark.skipif(not ENGINE, reason="no TeX engine here (pdflatex or tectonic): the table is parsed, not compiled")
def test_latex_compiles(nasty: Table, table: Table, lacking: Table, tmp_path: Path) -> None:
    body = "\\clearpage\n".join(map(latex.render, (table, nasty, lacking)))
    (tmp_path / "t.tex").write_text(
        f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{body}\\end{{document}}"
    )
    options = ["-interaction=nonstopmode", "-halt-on-error"] if ENGINE == "pdflatex" else []
    done = subprocess.run([ENGINE, *options, "t.tex"], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 10_000


# HTML


class Outline(HTMLParser):
    """Checks that elements nest, and keeps what a browser would show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[tuple[str, str, int]]] = []  # element, text, columns
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "meta":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append((tag, "", int(dict(attrs).get("colspan") or 1)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self.open):
            tag, text, columns = self.rows[-1][-1]
            self.rows[-1][-1] = (tag, text + data, columns)


@pytest.mark.parametrize("which", ["table", "nasty", "lacking"])
def test_html_is_well_formed_and_escaped(which: str, request: pytest.FixtureRequest) -> None:
    table: Table = request.getfixturevalue(which)
    page = Outline(html.render(table))
    known = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "div",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert {tag for tag, _ in page.tags} <= {*known, "span", "ul", "li", "b"}  # a name makes no element
    widths = {sum(columns for _, _, columns in row) for row in page.rows[2:]}
    assert widths == {2 + sum(1 + len(table.under(heading)) for heading in table.headings)}
    for name in (line.name for block in table.blocks for line in block.lines):
        assert name in page.text


def test_html_says_what_each_header_is_of(table: Table) -> None:
    fragment = Outline(html.fragment(table))
    assert fragment.tags[0][0] == "table"
    scopes = [attributes.get("scope") for tag, attributes in fragment.tags if tag == "th"]
    assert scopes.count("colgroup") == 2
    assert scopes.count("row") == 5
    assert scopes.count("rowgroup") == 4
    assert None not in scopes
    assert "style" not in {tag for tag, _ in fragment.tags}
    marked = [attributes for tag, attributes in fragment.tags if tag == "td" and attributes.get("class") == "best"]
    assert ("0.9222222222222222", "toy-b0i2", "avg") in {
        (m["data-value"], m["data-protocol"], m["data-column"]) for m in marked
    }


def test_html_fetches_nothing(table: Table) -> None:
    assert not re.search(r"https?:|src=|href=|@import|url\(", html.render(table))


# Failed, and impossible


def test_failed_and_impossible_runs_in_every_format(lacking: Table) -> None:
    rows = [line for line in plain(lacking, 120).splitlines() if line.startswith(("  New", "  Big"))]
    assert [line.split()[:3] for line in rows] == [["Big", "0", "\N{EN DASH}"], ["New", "0/1", "fail"]]
    below = " ".join(plain(lacking, 120).split())
    assert "fail: every run failed." in below
    assert "No Big on toy-b0i2: its network takes <9> MiB." in below
    assert "warning: 1 run of New on toy-b0i2 failed: out of memory" in below
    assert "| fail |" in re.sub(" +", " ", markdown.render(lacking))
    assert "New &  & 0/1 & fail & fail" in latex.render(lacking)
    assert '<td class="fail"' in html.render(lacking)
    assert 'title="its network takes &lt;9&gt; MiB"' in html.fragment(lacking)
    new = next(row for row in reader.DictReader(io.StringIO(csv.render(lacking))) if row["method"] == "new")
    assert (new["n"], new["missing"], new["failed"], new["avg_mean"]) == ("0", "1", "1", "")


def test_one_protocol_and_one_method() -> None:
    table = Table.of([made(1)])
    check(latex.render(table), 7)
    assert len(list(reader.reader(io.StringIO(csv.render(table))))) == 2
    assert "Widen" in markdown.render(table)
    assert "Widen" in plain(table, 80)
