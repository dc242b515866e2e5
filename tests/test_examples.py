"""The examples do what they say."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from suite.sweep import read_sweep, resolve

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_a_method_of_ones_own_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("add_a_method", EXAMPLES / "add_a_method.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    accuracy = module.main()
    assert len(accuracy) == 5
    assert accuracy[0] > 0.9
    assert accuracy[-1] > 0.4  # chance is 0.1, and 0.2 for a learner that knows only the last task


def test_the_sweeps_resolve() -> None:
    found = {path.name: len(resolve(read_sweep(path))) for path in (EXAMPLES / "demo.toml", EXAMPLES / "cluster.toml")}
    # of the demo's aligned runs one is another run already; the others wait for the runs that they are, or follow from
    assert found == {"demo.toml": 5 * 1 * 2 + 1 * 2, "cluster.toml": 4 * 4 * 3}


def test_a_protocol_of_ones_own_plans_without_its_images() -> None:
    command = [sys.executable, "run_suite.py", "plan", "-m", "grace", "-p", "flowers-b51i17", "--json"]
    command += ["--protocols", "examples/own_protocol.toml"]
    done = subprocess.run(command, cwd=EXAMPLES.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert (run["method"], run["protocol"], run["done"]) == ("grace", "flowers-b51i17", False)
