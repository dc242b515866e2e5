"""The report in a real browser: Debian's Chromium without a window, one for all tests, cut off from every network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from suite.report.page import render
from suite.results import result_row
from tests.suite.records_for_tests import record, ten_rows
from tests.suite.report.reports_for_tests import EVIL, evil, failure, report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
pytest.importorskip("matplotlib", reason="matplotlib is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium with chromedriver on this machine"),
    pytest.mark.xdist_group("browser"),
    pytest.mark.timeout(120),
]
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1000",
           "--host-resolver-rules=MAP * ~NOTFOUND", "--no-first-run", "--disable-background-networking")  # fmt: skip
CONTRAST = """
const channel = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
const rgb = (text) => [numbers(text).slice(0, 3), numbers(text)[3] ?? 1];
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const [colour, alpha] = rgb(getComputedStyle(at).backgroundColor);
    if (alpha > 0.99) return colour;
  }
  return [255, 255, 255];
};
for (const details of document.querySelectorAll("details")) details.open = true;
const found = {};
let looked = 0;
for (const element of document.querySelectorAll("body *")) {
  const own = Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || ["SCRIPT", "OPTION", "title"].includes(element.tagName) || !element.getClientRects().length) continue;
  const style = getComputedStyle(element);
  const [colour] = rgb(element instanceof SVGElement ? style.fill : style.color);
  const [a, b] = [light(colour), light(behind(element))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  looked += 1;
  if (ratio < 4.5) found[`${element.tagName}.${element.className.baseVal ?? element.className}`] = ratio;
}
return [looked, found];
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows = ten_rows()
    rows += [result_row(record(50 + seed, "widen", seed=seed, right=[[10], [9, 9], [9, 8, 8]])) for seed in range(1, 6)]
    rows += [result_row(record(60 + seed, "prune_it", seed=seed, right=[[10], [9, 9], [9, 9, 8 + seed % 2]]))
             for seed in range(2, 6)]  # fmt: skip
    for row in rows:
        if row["method"] == "prune_it":
            row["notes"] = [{"saturation": 0.5, "threshold": 0.6, "compress_next": t > 0} for t in range(row["tasks"])]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(report(rows, failures={"f" * 16: failure(label="drift toy-b4i2 o1993 s1")})).html)
    return path.as_uri()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    yield driver
    driver.quit()


class Reader:
    """What a reader does with the page and sees of it."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver, self.address = driver, address

    def open(self, fragment: str = "") -> None:
        self.driver.get("about:blank")  # a fragment alone would not load it anew
        self.driver.get(self.address + fragment)

    def ask(self, script: str, *values: Any) -> Any:
        return self.driver.execute_script(script, *values)

    def click(self, selector: str) -> None:
        self.ask("document.querySelector(arguments[0]).click()", selector)

    def type(self, id_: str, text: str) -> None:
        find = "const e = document.getElementById(arguments[0]);"
        self.ask(f"{find} e.value = arguments[1]; e.dispatchEvent(new Event('input'))", id_, text)

    def shown(self, selector: str) -> list[str]:
        """The texts of the elements that are to be seen."""
        seen = "(e) => e.checkVisibility() && e.getClientRects().length"
        script = f"return [...document.querySelectorAll(arguments[0])].filter({seen}).map((e) => e.textContent.trim())"
        found: list[str] = self.ask(script, selector)
        return found

    def emulate(self, command: str, **values: Any) -> None:
        self.driver.execute_cdp_cmd(f"Emulation.{command}", values)

    @property
    def fragment(self) -> str:
        return str(self.ask("return decodeURIComponent(location.hash)"))


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Reader]:
    reader = Reader(chromium, address)
    reader.open()
    yield reader
    assert [entry["message"] for entry in chromium.get_log("browser")] == []
    reader.emulate("setEmulatedMedia", media="", features=[])
    reader.emulate("clearDeviceMetricsOverride")


TABLE = "[data-sheet=benchmark] table"
NAMES = f"{TABLE} tbody tr:not(.family) th"


def test_columns_are_sorted_and_say_so(page: Reader) -> None:
    head = f'{TABLE} th[data-column=last][data-protocol="toy-b0i2"]'
    paper = page.shown(NAMES)
    page.click(f"{head} button")
    assert page.ask("return document.querySelector(arguments[0]).ariaSort", head) == "descending"
    assert page.shown(NAMES)[0] == "All"  # right in everything
    assert page.shown(NAMES)[-1] == "Drift"
    assert page.shown(f"{TABLE} tr.family") == []
    page.click(f"{head} button")
    assert page.shown(NAMES)[0] == "Drift"
    page.click(f"{head} button")
    assert page.shown(NAMES) == paper
    page.click(f'{TABLE} th[data-column=last][data-protocol="toy-b4i2"] button')
    assert set(page.shown(NAMES)[-3:]) == {"Drift", "Widen", "All"}  # without a figure: last, whichever way
    assert "Sorted by Last, descending" in page.shown("#status")


def test_columns_are_sorted_with_the_keyboard(page: Reader) -> None:
    button = page.driver.find_element("css selector", f'{TABLE} th[data-column=avg][data-protocol="toy-b0i2"] button')
    button.send_keys(Keys.ENTER)
    assert page.ask("return arguments[0].parentElement.ariaSort", button) == "descending"
    page.open()
    page.driver.find_element("css selector", "body").send_keys(Keys.TAB)
    assert page.ask("return document.activeElement.textContent") == "Skip to the content"


def test_a_word_filters_methods_or_protocols(page: Reader) -> None:
    page.type("search", "prune")
    assert page.shown(NAMES) == ["Prune_It"]
    assert page.shown("#lines-shown") == ["1 of 5"]
    assert set(page.shown(".grid tbody th")) == {"Prune_It"}
    page.type("search", "b4i2")
    assert len(page.shown(NAMES)) == 5
    assert page.shown(f"{TABLE} thead th[scope=colgroup]")[0].startswith("toy-b4i2")
    assert len(page.shown(f"{TABLE} thead th[scope=colgroup]")) == 1
    page.type("search", "nothing like it")
    assert page.shown(NAMES) == []
    page.click("#reset")
    assert len(page.shown(NAMES)) == 5


def test_a_method_is_switched_off_everywhere_at_once(page: Reader) -> None:
    marks = "#figure-curves svg [data-method=anchor], #accuracy svg [data-method=anchor]"
    assert page.ask("return document.querySelectorAll(arguments[0]).length", marks) > 0
    assert "Anchor" in page.shown(NAMES)
    page.click("[data-switch=line][value=anchor]")
    hidden = "svg [data-method=anchor], svg [data-legend=anchor], [data-line=anchor]"
    assert page.shown(hidden) == []
    assert "Anchor" not in page.shown(NAMES)
    assert "Widen" in page.shown(NAMES)
    page.click("[data-none=line]")
    assert page.shown(NAMES) == []
    page.click("[data-all=line]")
    assert len(page.shown(NAMES)) == 5


@pytest.mark.parametrize("form", ["latex", "markdown", "csv"])
def test_a_table_is_copied(page: Reader, form: str) -> None:
    page.click(f"[data-copy=copy-benchmark-{form}]")
    wanted = page.ask("return document.getElementById(arguments[0]).value", f"copy-benchmark-{form}")
    read = "navigator.clipboard.readText().then(arguments[0], (e) => arguments[0](`refused: ${e}`))"
    assert page.driver.execute_async_script(read) == wanted
    assert {"latex": "\\toprule", "markdown": "| Method", "csv": "family,method"}[form] in wanted
    assert page.shown("#status") == [f"{ {'latex': 'LaTeX', 'markdown': 'Markdown', 'csv': 'CSV'}[form] } copied"]


def test_without_a_clipboard_the_text_is_selected(page: Reader) -> None:
    page.ask("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.click("[data-copy=bibtex]")
    page.driver.execute_async_script("setTimeout(arguments[0], 50)")
    selected = "const e = document.activeElement; return [e.id, e.value.slice(e.selectionStart, e.selectionEnd)]"
    assert page.ask(selected) == ["bibtex", page.ask("return document.getElementById('bibtex').value")]


def test_the_address_holds_what_is_seen(page: Reader) -> None:
    page.type("search", "i")
    page.click("[data-switch=line][value=anchor]")
    page.click(f'{TABLE} th[data-column=avg][data-protocol="toy-b0i2"] button')
    page.type("theme", "dark")
    page.type("budget-mb", "6")
    page.type("duel-a", "widen")
    page.type("digits", "3")
    seen, fragment = page.shown(f"{TABLE} tbody tr"), page.fragment
    assert "line=anchor" in fragment
    page.open(fragment)
    assert page.shown(f"{TABLE} tbody tr") == seen
    assert page.fragment == fragment
    values = {id_: page.ask("return document.getElementById(arguments[0]).value", id_)
              for id_ in ("search", "theme", "budget-mb", "duel-a", "digits")}  # fmt: skip
    assert values == {"search": "i", "theme": "dark", "budget-mb": "6", "duel-a": "widen", "digits": "3"}
    assert page.ask("return document.documentElement.dataset.theme") == "dark"
    page.open("#q=%E0%A4%A&sort=benchmark.99.d&line=nobody&theme=pink&a=nobody&constructor=1")  # nonsense harms nothing
    assert len(page.shown(NAMES)) == 5


def test_a_link_to_a_run_opens_it(page: Reader) -> None:
    key = f"{8:016x}"
    assert page.shown(f"#run-{key}") == []
    page.open(f"#run-{key}")
    assert len(page.shown(f"#run-{key}")) == 1
    page.open("#theme=dark")
    page.click(".grid tbody a")
    assert "at=toy-b0i2--drift" in page.fragment
    assert "theme=dark" in page.fragment
    assert page.ask("return document.activeElement.tagName") == "SUMMARY"


def test_the_question_is_answered_for_any_memory(page: Reader) -> None:
    page.type("budget-mb", "12")
    rows = [row for row in page.shown("#budget-table tbody tr") if row.startswith("toy-b0i2")]
    assert "Prune_It" in rows[0]
    assert "ahead in 2 of 2 pairs; fewer than 5 pairs: not sure" in rows[0]
    page.type("budget-mb", "14")
    (row,) = [row for row in page.shown("#budget-table tbody tr") if row.startswith("toy-b0i2")]
    assert "of 6 pairs" in row
    page.type("budget-mb", "1")
    assert "no method fits" in page.shown("#budget-table tbody tr")[0]


def test_any_two_methods_are_compared(page: Reader) -> None:
    page.type("duel-a", "prune-it")
    page.type("duel-b", "widen")
    cells = page.shown("#duel-table tbody tr:first-child > *")
    assert cells[0] == "toy-b0i2"
    # images of 30 more right after the last of three tasks, from seed 0 on: 1, 0, 1, 2, 1, 2
    assert cells[3] == f"+{100 * (7 / 6) / 30 / 3:.2f}"
    assert cells[5:7] == ["6", "5/1/0"]
    assert cells[7].startswith("+1.11 (order 1993, seed 0), +0.00 (order 1993, seed 1)")
    page.type("duel-b", "prune-it")
    assert page.shown("#duel-note") == ["Choose two methods."]


def test_digits_and_intervals_are_a_choice(page: Reader) -> None:
    cell = f'{TABLE} tr[data-method=anchor] td[data-column=avg][data-protocol="toy-b0i2"]'
    before = page.shown(cell)
    page.type("digits", "2")
    assert page.shown(cell) == ["81.39 \N{PLUS-MINUS SIGN} 2.75"]
    page.type("spread", "ci")  # two runs: 12.706 standard errors
    assert page.shown(cell) == ["81.39 \N{PLUS-MINUS SIGN} 24.71"]
    page.type("spread", "none")
    assert page.shown(cell) == ["81.39"]
    page.type("spread", "")
    page.type("digits", "")
    assert page.shown(cell) == before


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("chosen", [True, False])
def test_text_has_contrast_in_both_themes(page: Reader, theme: str, chosen: bool) -> None:
    if chosen:
        page.type("theme", theme)
    else:
        page.emulate("setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    ground = page.ask("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (theme == "light")
    looked, weak = page.ask(CONTRAST)
    assert looked > 500
    assert weak == {}


def test_on_a_phone_only_tables_and_figures_scroll(page: Reader) -> None:
    page.emulate("setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    page.open()
    page.ask("for (const details of document.querySelectorAll('details')) details.open = true")
    assert page.ask("return [document.documentElement.scrollWidth, innerWidth]") == [390, 390]
    wide = ("return Array.from(document.querySelectorAll('main *')).filter((e) => !e.closest('.scroll, textarea, pre')"
            " && e.getBoundingClientRect().right > 391).map((e) => e.outerHTML.slice(0, 80))")  # fmt: skip
    assert page.ask(wide) == []
    assert page.ask("const e = document.querySelector('#table .scroll'); return e.scrollWidth > e.clientWidth")
    assert page.shown("#budget-words li")[0].startswith("toy-b0i2: ")  # the answer needs no scrolling


def test_without_scripts_all_of_it_is_there(chromium: Any, address: str) -> None:
    page = Reader(chromium, address)
    page.emulate("setScriptExecutionDisabled", value=True)
    try:
        page.open()
        text = chromium.find_element("css selector", "main").text
        for words in ("Which method, within which memory", "Prune_It", "CUDA out of memory", "8. Paired comparison"):
            assert words in text
        assert not chromium.find_element("id", "controls").is_displayed()
        assert not chromium.find_element("id", "budget").is_displayed()
        assert len(chromium.find_elements("css selector", "#accuracy svg")) > 0
        assert chromium.find_element("css selector", NAMES).is_displayed()
        chromium.find_element("css selector", ".fold summary").send_keys(Keys.ENTER)  # what is folded still opens
        assert chromium.find_element("css selector", ".fold .run").is_displayed()
    finally:
        page.emulate("setScriptExecutionDisabled", value=False)


def test_on_paper_nothing_is_folded_and_nothing_is_a_control(page: Reader) -> None:
    page.type("theme", "dark")
    page.emulate("setEmulatedMedia", media="print")
    assert page.shown(".side, .tool, .copies, .buttons") == []
    assert len(page.shown(f"#run-{8:016x}")) == 1
    assert page.ask("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    paper = page.driver.execute_cdp_cmd("Page.printToPDF", {})
    assert len(paper["data"]) > 20_000


def test_texts_that_attack_the_page_are_only_shown(chromium: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(evil()).html)
    page = Reader(chromium, path.as_uri())
    page.open()
    assert page.ask("return document.querySelectorAll('img, main script').length") == 0
    names = page.shown(NAMES)
    assert len(names) == 5
    assert all(name.endswith(EVIL) for name in names)
    page.click(f"{TABLE} thead th button")
    page.click("[data-switch=line]")
    assert len(page.shown(NAMES)) == 4
    page.open(page.fragment)
    assert len(page.shown(NAMES)) == 4
    assert page.shown("#duel-table tbody th")[0].endswith(EVIL)
    assert [entry["message"] for entry in chromium.get_log("browser")] == []


def test_figures_are_told_to_those_who_do_not_see_them(page: Reader) -> None:
    script = (
        "return Array.from(document.querySelectorAll('svg')).map((e) => [e.getAttribute('role'), e.ariaLabel || ''])"
    )
    told = page.ask(script)
    assert len(told) > 4
    assert {role for role, _ in told} == {"img"}
    assert all(len(words) > 40 for _, words in told)


def test_no_request_leaves_the_file(page: Reader, chromium: Any, address: str) -> None:
    import json

    chromium.get_log("performance")
    page.open()
    page.ask("for (const details of document.querySelectorAll('details')) details.open = true")
    events = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert asked <= {address, "about:blank"}
    assert address in asked
    assert page.ask("return performance.getEntriesByType('resource').length") == 0
    assert Path(address.removeprefix("file://")).stat().st_size < 5_000_000
