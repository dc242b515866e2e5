"""`check-method`: a line per check, file and line where one fails, and an exit code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from grace.conformance import CHECKS
from suite.errors import Exit
from tests.suite.cli.conftest import Call
from tests.suite.plugins_for_tests import FAULTS, write

EXAMPLE = Path(__file__).parents[3] / "examples" / "outside_method" / "smoothed.py"


def test_a_method_that_conforms(call: Call) -> None:
    said = call("check-method", EXAMPLE)
    assert said.code == Exit.DONE, said.out
    lines = said.out.splitlines()
    assert [re.fullmatch(r"ok    (.*) \(\d+\.\d s\)", line)[1] for line in lines] == ["can be imported", *CHECKS]  # type: ignore[index]
    assert f"smoothed passes {len(CHECKS) + 1} checks" in said.err
    assert f"run -m smoothed -p digits-b0i2 --plugin {EXAMPLE}" in said.err


@pytest.mark.parametrize("name", ["no_python", "no_import", "no_config", "two_learners", "bad_config"])
def test_a_file_that_cannot_be_imported_is_told_at_once(name: str, call: Call, tmp_path: Path) -> None:
    path, fault = write(tmp_path, name), FAULTS[name]
    said = call("check-method", f"{name}.py")
    assert said.code == Exit.FAILED
    (line,) = said.out.splitlines()
    assert line.startswith(f"FAIL  can be imported: {path}:{fault.line()}: ")
    assert fault.words in line
    assert f"{name}: 1 of 1 check failed" in said.err


@pytest.mark.parametrize("name", ["not_a_number", "undeclared", "raises"])
def test_each_check_that_fails_names_file_and_line(name: str, call: Call, tmp_path: Path) -> None:
    path, fault = write(tmp_path, name), FAULTS[name]
    said = call("check-method", path, "--json")
    assert said.code == Exit.FAILED
    assert [finding["check"] for finding in said.json] == ["can be imported", *CHECKS]
    failed = [finding for finding in said.json if not finding["passed"]]
    assert {(finding["file"], finding["line"]) for finding in failed} == {(str(path), fault.line())}
    assert all(fault.words in finding["reason"] for finding in failed)
    # all but importing and the class variables, which are as they should be
    assert {finding["check"] for finding in failed} == set(CHECKS) - {"class variables are declared"}


def test_names_and_the_plugin_option_do_too(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(iter(CHECKS))
    monkeypatch.setattr("grace.conformance.CHECKS", {first: CHECKS[first]})
    assert call("check-method", "replay").code == Exit.DONE
    path = write(tmp_path, "sound")
    assert "run -m sound" in call("check-method", "sound", "--plugin", path).err
    assert call("check-method", "sound.py", "--plugin", "sound.py").code == Exit.DONE
    said = call("check-method", "replya")
    assert (said.code, said.out) == (Exit.SPEC, "")
    assert said.err == 'error: unknown method "replya"; did you mean "replay"? (list methods)\n'
    assert call("check-method", "none.py").err == f"error: {tmp_path}/none.py: No such file or directory\n"
