"""The dependency rules of CONTRIBUTING.md, read off the imports and the text."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from grace.methods import METHODS

ROOT = Path(__file__).parents[1]

# What each part may import besides the standard library; the most specific prefix decides.
MAY_IMPORT: dict[str, set[str]] = {
    "grace.checks": set(),
    "grace.seeds": set(),
    "grace.storage": {"pyarrow"},
    "grace.streams": {"numpy", "torch", "grace.checks", "grace.seeds"},
    "grace.streams.datasets": {"numpy", "torch", "torchvision", "PIL", "grace.checks", "grace.seeds", "grace.streams"},
    "grace.streams.encoded": {"numpy", "torch", "torchvision", "PIL", "pyarrow", "grace.checks", "grace.seeds",
                              "grace.streams"},
    "grace.streams.archives": {"numpy", "torchvision", "grace.checks", "grace.streams"},
    "grace.streams.views": {"numpy", "torch", "torchvision", "PIL", "grace.checks", "grace.seeds", "grace.streams"},
    "grace.streams.autoaugment": {"numpy", "torch", "torchvision", "grace.checks", "grace.streams"},
    "grace.streams.autoaugment_ops": {"numpy", "torch", "PIL"},
    "grace.nets": {"torch", "grace.checks"},
    "grace.losses": {"torch", "grace.checks"},
    "grace.memory": {"torch", "grace.streams"},
    "grace.ridge": {"torch", "grace.checks"},
    "grace.training": {"torch", "grace.checks", "grace.seeds", "grace.storage", "grace.streams", "grace.nets",
                       "grace.losses"},
    "grace.learner": {"torch", "grace.streams", "grace.nets", "grace.memory", "grace.training"},
    "grace.footprint": {"torch", "grace.learner"},
    "grace.metrics": {"numpy"},
    "grace.methods": {"torch", "grace.checks", "grace.streams", "grace.nets", "grace.losses", "grace.memory",
                      "grace.ridge", "grace.training", "grace.learner"},
    "grace.contract": {"torch", "grace.streams", "grace.training", "grace.learner", "grace.footprint"},
    "grace.conformance": {"torch", "grace.streams", "grace.nets", "grace.training", "grace.learner", "grace.contract",
                          "grace.storage", "grace.run"},
    "grace.run": {"torch", "grace.storage", "grace.streams", "grace.nets", "grace.training", "grace.learner",
                  "grace.footprint", "grace.contract"},
    "protocols": {"grace.streams", "grace.checks"},
    "suite": {"numpy", "click", "pydantic", "pydantic_core", "tomlkit", "filelock", "grace", "protocols"},
    "suite.diagnosis": {"torch", "grace", "protocols", "suite"},
    "suite.attempt": {"torch", "grace", "suite"},
    "suite.execute": {"numpy", "torch", "grace", "protocols", "suite"},
    "suite.trial": {"torch", "grace", "suite"},
    "suite.lanes": {"ray", "grace.storage", "suite"},
    "suite.lanes.ranks": {"ray", "torch", "grace", "suite"},
    "suite.columns": {"numpy"},
    "suite.record": {"numpy", "pyarrow", "grace", "suite"},
    "suite.live": {"rich", "suite"},
    "suite.screen": {"rich", "suite"},
    "suite.trackers.tensorboard": {"tensorboardX", "suite"},
    "suite.trackers.mlflow": {"mlflow", "suite"},
    "suite.trackers.wandb": {"wandb", "suite"},
    "suite.figures.draw": {"matplotlib", "suite"},
    "suite.figures.paint": {"matplotlib", "suite"},
    "suite.render.terminal": {"rich", "suite"},
    "suite.report": {"jinja2", "markupsafe", "suite"},
    "suite.cli": {"click", "rich", "grace", "protocols", "suite"},
    "run_suite": {"suite"},
}  # fmt: skip


def covers(prefix: str, name: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def imports(path: Path) -> set[str]:
    """Every module imported anywhere in a file, those for the type checker aside."""
    tree = ast.parse(path.read_text())
    unseen = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names = set()
    for node in set(ast.walk(tree)) - unseen:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


def modules() -> list[tuple[str, Path]]:
    files = [path for top in ("grace", "suite", "protocols") for path in sorted(ROOT.glob(f"{top}/**/*.py"))]
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for f in files]
    return [*zip(names, files, strict=True), ("run_suite", ROOT / "run_suite.py")]


def faults(module: str, names: set[str]) -> list[str]:
    """The imports that a module may not have."""
    rule = max((p for p in MAY_IMPORT if covers(p, module)), key=len, default=None)
    if rule is None:
        return []  # `grace/__init__.py` re-exports
    found = []
    for name in sorted(names):
        own = covers(rule, name) and (rule != "grace.methods" or name == "grace.methods")
        allowed = name.split(".")[0] in sys.stdlib_module_names or own
        if not (allowed or any(covers(p, name) for p in MAY_IMPORT[rule])):
            found.append(name)
    return found


@pytest.mark.parametrize(("module", "path"), modules())
def test_imports_stay_in_their_layer(module: str, path: Path) -> None:
    assert not faults(module, imports(path))


def test_the_rules_catch_planted_faults() -> None:
    assert faults("grace.methods.der", {"grace.methods.grace"}) == ["grace.methods.grace"]
    assert faults("suite.store", {"ray", "pyarrow"}) == ["pyarrow", "ray"]
    assert faults("grace.nets.resnet", {"torchvision"}) == ["torchvision"]
    assert faults("grace.training.trainer", {"grace.learner"}) == ["grace.learner"]
    assert faults("protocols.cifar100", {"grace.training.phase"}) == ["grace.training.phase"]
    assert not faults("grace.methods.der", {"torch.nn.functional", "grace.learner", "dataclasses"})


def text_of(*patterns: str) -> dict[str, str]:
    return {str(p.relative_to(ROOT)): p.read_text() for pattern in patterns for p in ROOT.glob(pattern)}


def test_the_engine_and_the_suite_name_no_method() -> None:
    for path, text in text_of("grace/training/*.py", "grace/learner.py", "grace/run.py", "suite/*.py").items():
        for name in METHODS:
            assert f'"{name}"' not in text, f"{path} names {name}"
            assert f"methods.{name}" not in text, f"{path} names {name}"


def test_one_training_loop() -> None:
    sources = text_of("grace/**/*.py", "suite/**/*.py", "protocols/**/*.py")
    assert [p for p, text in sources.items() if ".backward(" in text] == ["grace/training/steps.py"]
    modes = re.compile(r"\.train\(|\.eval\(|requires_grad")
    keepers = {p for p, text in sources.items() if modes.search(text)}
    assert all(p == "grace/training/trainables.py" or p.startswith("grace/nets/") for p in keepers), keepers


def test_files_stay_small() -> None:
    for path, text in text_of("grace/**/*.py", "suite/**/*.py", "protocols/**/*.py", "run_suite.py").items():
        limit = 120 if path.startswith("grace/methods/") else 250
        assert text.count("\n") <= limit, f"{path} has {text.count(chr(10))} lines, at most {limit}"


def test_files_say_what_they_do() -> None:
    for path in text_of("grace/**/*.py", "suite/**/*.py", "protocols/**/*.py"):
        assert not re.search(r"(utils|misc|helpers|common|toolkit)\.py$", path), path


def test_public_names_are_sorted_and_all_there() -> None:
    import grace

    assert list(grace._EXPORTS) == sorted(grace._EXPORTS)
    for name in grace.__all__:
        assert getattr(grace, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_this"):
        grace.nothing_like_this  # noqa: B018
