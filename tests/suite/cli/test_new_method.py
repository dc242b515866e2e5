"""`new method`: what it writes runs, is registered, and replaces nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from grace.conformance import CHECKS, Subject
from grace.methods import METHODS, method
from suite.errors import Exit
from suite.plugins import load_plugins
from tests.suite.cli.conftest import Call

ROOT = Path(__file__).parents[3]
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which files may be written."""
    top = tmp_path_factory.mktemp("checkout")
    for package in ("grace", "protocols", "suite"):
        shutil.copytree(ROOT / package, top / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("run_suite.py", "pyproject.toml"):
        shutil.copy(ROOT / file, top / file)
    return top


@pytest.fixture
def there(checkout: Path) -> Callable[..., Done]:
    def called(*args: str) -> Done:
        return subprocess.run(
            [sys.executable, "run_suite.py", *args], cwd=checkout, capture_output=True, text=True, check=False
        )

    return called


@pytest.mark.parametrize(("name", "title"), [("my_method", "MyMethod"), ("aaa", "Aaa"), ("zz9", "Zz9")])
def test_in_a_checkout_it_is_registered_in_its_place(
    name: str, title: str, there: Callable[..., Done], checkout: Path
) -> None:
    before = (checkout / "grace" / "methods" / "__init__.py").read_text()
    made = there("new", "method", name)
    assert made.returncode == 0, made.stderr
    assert f"grace/methods/{name}.py: {title}, plain replay until you fill in" in made.stdout
    assert f"check-method {name}\n" in made.stderr
    assert f"run -m {name} -p digits-b0i2\n" in made.stderr
    text = (checkout / "grace" / "methods" / f"{name}.py").read_text()
    assert text.count("\n") <= 50
    assert text.count("FILL IN") >= 5
    after = (checkout / "grace" / "methods" / "__init__.py").read_text()
    line = f'    "{name}": "grace.methods.{name}:{title}",\n'
    assert after.replace(line, "", 1) == before
    names = [part.split('"')[1] for part in after.splitlines() if '": "grace.methods.' in part]
    assert names == sorted(names)
    rows = {row["name"]: row for row in json.loads(there("list", "methods", "--json").stdout)}
    assert rows[name]["title"] == title
    (run,) = json.loads(there("plan", "-m", name, "-p", "digits-b0i2", "--json").stdout)["runs"]
    assert run["method"] == name
    again = there("new", "method", name)
    assert again.returncode == Exit.USAGE
    assert f"there is a method {name}" in again.stderr
    assert (checkout / "grace" / "methods" / f"{name}.py").read_text() == text
    for tool in (["ruff", "format", "--check"], ["ruff", "check"]):
        checked = subprocess.run(
            [sys.executable, "-m", *tool, f"grace/methods/{name}.py", "grace/methods/__init__.py"],
            cwd=checkout, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stdout


def test_a_file_that_is_there_stays(there: Callable[..., Done], checkout: Path) -> None:
    file = checkout / "grace" / "methods" / "mine.py"
    file.write_text("mine")
    registry = (checkout / "grace" / "methods" / "__init__.py").read_text()
    made = there("new", "method", "mine")
    assert made.returncode == Exit.USAGE
    assert "grace/methods/mine.py exists; choose another name" in made.stderr
    assert file.read_text() == "mine"
    assert (checkout / "grace" / "methods" / "__init__.py").read_text() == registry


def test_a_plugin_of_ones_own_runs_as_it_is(call: Call, tmp_path: Path) -> None:
    made = call("new", "method", "mine", "--path", "mine.py", "--json")
    assert made.code == Exit.DONE
    assert made.json["file"] == "mine.py"
    assert made.json["registry"] is None
    assert made.json["next"][0].endswith("check-method mine.py")
    assert made.json["next"][1].endswith("run -m mine -p digits-b0i2 --plugin mine.py")
    assert "mine" not in METHODS
    load_plugins([tmp_path / "mine.py"])
    for check in CHECKS.values():
        check(Subject(*method("mine")))
    text = (tmp_path / "mine.py").read_text()
    again = call("new", "method", "mine", "--path", "mine.py")
    assert again.code == Exit.USAGE
    assert (tmp_path / "mine.py").read_text() == text


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("replay",), "there is a method replay"),
        (("My",), "small letters"),
        (("lambda",), "small letters"),
        (("9to5",), "small letters"),
        (("mine", "--path", "yours.py"), "a plugin is called by its file: mine.py"),
        (("mine", "--path", "mine.txt"), "a plugin is called by its file: mine.py"),
        (("mine",), "this is no checkout of the suite, so give the file: new method mine --path mine.py"),
    ],
)
def test_what_cannot_be_a_method(args: tuple[str, ...], words: str, call: Call, tmp_path: Path) -> None:
    said = call("new", "method", *args)
    assert said.code == Exit.USAGE
    assert words in said.err
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
