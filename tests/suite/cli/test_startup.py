"""What answers at once imports little: neither torch nor ray, and numpy and pyarrow only where there are records."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from suite.cli.main import main
for command in {commands!r}:
    if main(command.split()) not in {codes!r}:
        sys.exit(command)
print(sorted({{name.partition(".")[0] for name in sys.modules}} & {heavy!r}), file=sys.stderr)
"""
HEAVY = {"torch", "torchvision", "ray", "numpy", "pyarrow", "pandas", "filelock", "tomlkit", "matplotlib", "jinja2"}
QUICK = [
    "--help",
    "list",
    "list protocols --json",
    "show grace",
    "show digits",
    "show resnet32 --json",
    "plan -m grace der -p cifar100-b0i10 digits-b0i2 --seeds 0-2",
    "plan -m joint -p imagenet100-b50i10+aa --set method.joint.initial.epochs=3 --json",
    "results",
    "table",
    "table aligned",
    "compare der replay",
    "plot curves",
    "report",
    "watch",
    "plan -m grace der -p cifar100-b0i10+align=grace cifar100-b0i10+auc",
    "run --help",
    "tune --help",
    "tune wa digits-b0i2 --search temperature=2..1",
    "list methds",
]


def imported(folder: Path, commands: list[str], heavy: set[str]) -> str:
    """Return which heavy modules a process has after some commands."""
    program = PROGRAM.format(commands=commands, codes={0, 2, 8}, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, check=True)
    return done.stderr.splitlines()[-1]


def test_quick_verbs_import_nothing_heavy(tmp_path: Path) -> None:
    assert imported(tmp_path, QUICK, HEAVY) == "[]"


@pytest.mark.parametrize("command", ["show cifar100-b50i10+align=der --orders 0-3", "import old.json"])
def test_the_others_import_neither_torch_nor_ray(tmp_path: Path, command: str) -> None:
    (tmp_path / "old.json").write_text(
        '{"dataset": "cifar100", "model_name": "der", "convnet_type": "resnet32", "init_cls": 10, "increment": 10,'
        ' "memory_size": 2000, "seed": [1993]}'
    )
    assert imported(tmp_path, [command], {"torch", "torchvision", "ray"}) == "[]"


def test_the_script_and_the_module_are_one_command(tmp_path: Path) -> None:
    script = Path(__file__).parents[3] / "run_suite.py"
    done = subprocess.run(
        [sys.executable, str(script), "list", "methds"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    near, known = 'did you mean "methods"?', "known: backbones, datasets, methods, protocols."
    assert done.stderr == f'error: unknown kind of name "methds"; {near} {known}\n'


def test_a_reader_that_has_had_enough_is_no_error(tmp_path: Path) -> None:
    script = Path(__file__).parents[3] / "run_suite.py"
    with subprocess.Popen(
        [sys.executable, str(script), "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
