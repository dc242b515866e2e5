"""What is read off a method's source is what importing the method gives."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import get_type_hints

import pytest

from grace.methods import METHODS, method
from suite.declared import declared
from suite.errors import Exit, SuiteError

VARIABLES = ("title", "family", "reference", "growth", "uses_memory", "shared_stem", "closed_form", "cumulative")


@pytest.mark.parametrize("name", METHODS)
def test_the_declaration_is_what_the_module_says(name: str) -> None:
    found, (learner, config) = declared(name), method(name)
    assert {variable: getattr(found, variable) for variable in VARIABLES} == {
        variable: getattr(learner, variable) for variable in VARIABLES
    }
    assert [field.name for field in fields(found.config)] == [field.name for field in fields(config)]
    assert asdict(found.config()) == asdict(config())
    assert get_type_hints(found.config) == get_type_hints(config)
    assert found.about == (sys.modules[learner.__module__].__doc__ or "").partition("\n")[0]
    assert found.doc.partition("\n")[0] == (learner.__doc__ or "").partition("\n")[0]


@pytest.mark.parametrize("name", METHODS)
def test_every_number_says_where_it_is_from(name: str) -> None:
    found = declared(name)
    assert set(found.comments) == {field.name for field in fields(found.config)}


def test_reading_imports_no_torch() -> None:
    program = (
        "import sys; from grace.methods import METHODS; from suite.declared import declared\n"
        "configs = [declared(name).config() for name in METHODS]\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'ray', 'numpy'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


SOURCE = '''"""An odd one."""
from __future__ import annotations
from dataclasses import dataclass
{imports}
from grace.learner import Learner

BASE = 2
EPOCHS: int = BASE * 3


def least() -> int:
    return 4


@dataclass(frozen=True)
class Config:
    """Settings."""

    factor: float = {factor}  # from
    # not about factor
    several: tuple[int, ...] = (
        EPOCHS,  # two
        least(),  # lines
    )


class Odd(Learner):
    """Odd."""

    title = "Odd"
    family = "floor"
'''


def planted(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **parts: str) -> None:
    (folder / f"{name}_module.py").write_text(SOURCE.format(**parts))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(METHODS, name, f"{name}_module:Odd")


def test_constants_and_functions_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted("odd_light", tmp_path, monkeypatch, imports="import math", factor="math.sqrt(16)")
    found = declared("odd_light")
    assert "odd_light_module" not in sys.modules
    assert asdict(found.config()) == {"factor": 4.0, "several": (6, 4)}
    assert found.comments == {"factor": "from", "several": "two lines"}
    assert (found.reference, found.uses_memory) == ("", True)  # the interface's own


def test_a_config_that_needs_more_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted("odd_heavy", tmp_path, monkeypatch, imports="import torch", factor="torch.tensor(3.0).item()")
    found = declared("odd_heavy")
    assert "odd_heavy_module" in sys.modules
    assert found.config is sys.modules["odd_heavy_module"].Config
    assert found.config().factor == 3.0


def test_an_unknown_method_is_told_the_nearest() -> None:
    with pytest.raises(SuiteError, match='unknown method "gracee"; did you mean "grace"') as error:
        declared("gracee")
    assert error.value.code is Exit.SPEC
