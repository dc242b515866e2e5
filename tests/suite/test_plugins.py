"""Plugins: how they are found, what their runs are, that they travel, and that each fault is named."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from grace.methods import METHODS, method
from suite import lanes
from suite.declared import declared
from suite.errors import SuiteError
from suite.launch import LaunchOptions
from suite.plugin import Plugin, PluginError
from suite.plugins import REGISTERED, adopt, digest_of, load_plugins, loaded, plugin_of, read_plugin
from suite.spec import RunSpec
from suite.store import Store
from suite.sweep import Sweep, chosen, read_sweep, resolve, sweep_name, sweep_of, with_texts, write_sweep
from tests.suite.plugins_for_tests import FAULTS, SOUND, write

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "outside_method"
HERE = ("--address", "none", "--gpus-per-run", "0")


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    torch.set_num_threads(1)
    before = dict(METHODS), dict(REGISTERED)
    yield
    for table, saved in zip((METHODS, REGISTERED), before, strict=True):
        table.clear()
        table.update(saved)  # type: ignore[arg-type]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write(tmp_path, "sound")


def sweep(*plugins: Path, **values: Any) -> Sweep:
    methods = values.pop("methods", [path.stem for path in plugins])
    given = {"methods": methods, "protocols": ["toy-b0i5"], "plugins": [str(path) for path in plugins]}
    return sweep_of(given | values, "test")


def test_a_file_is_a_method_by_its_stem(sound: Path) -> None:
    (plugin,) = load_plugins([sound])
    assert (plugin.name, plugin.file, plugin.source) == ("sound", str(sound), SOUND)
    learner, config = method("sound")
    assert (learner.title, config().initial.epochs) == ("Odd", 2)
    found = declared("sound")
    assert (found.title, found.family, found.reference, found.growth) == ("Odd", "single backbone", "", "fixed")
    assert asdict(found.config()) == asdict(config())
    assert found.module == str(sound)
    assert loaded("sound", plugin.digest) == (learner, config)


def test_reading_a_plugin_imports_neither_it_nor_torch(sound: Path) -> None:
    program = (
        "import sys; from suite.cli.main import main\n"
        f"main(['list', 'methods', '--plugin', {str(sound)!r}])\n"
        f"main(['show', 'sound', '--plugin', {str(sound)!r}])\n"
        f"main(['plan', '-m', 'sound', '-p', 'digits-b0i2', '--plugin', {str(sound)!r}])\n"
        "heavy = {name for name in sys.modules if name.partition('.')[0] in ('torch', 'numpy', 'ray')}\n"
        "print(sorted(heavy | {name for name in sys.modules if 'sound' in name}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
    assert done.stdout.count("Odd") == 1  # in the list
    assert "set one with --set method.sound.FIELD=VALUE" in done.stdout


def test_keys_hold_what_a_plugin_holds_and_those_of_ours_do_not(sound: Path, tmp_path: Path) -> None:
    (mine, ours) = resolve(sweep(sound, methods=["sound", "replay"]))
    assert mine.plugin == digest_of("sound") != ""
    assert len(mine.plugin) == 12
    assert mine.identity()["plugin"] == mine.plugin
    assert ours.plugin == ""
    assert "plugin" not in ours.identity()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert resolve(sweep(write(elsewhere, "sound")))[0].key == mine.key  # where it lies does not count
    sound.write_text(SOUND + "# a remark\n")
    assert resolve(sweep(sound))[0].key != mine.key


def test_names_that_are_taken_or_cannot_be(tmp_path: Path) -> None:
    def refused(name: str, text: str = SOUND) -> str:
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(SuiteError) as caught:
            load_plugins([path])
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert refused("replay.py") == f"{tmp_path}/replay.py: replay is a method of the suite's own; rename the file"
    assert "as its method, such as my_method.py" in refused("sound.txt")
    assert "as its method, such as my_method.py" in refused("so und.py")
    with pytest.raises(SuiteError, match="No such file"):
        load_plugins([tmp_path / "none.py"])
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "sound.py"
    other.write_text(SOUND + "#\n")
    with pytest.raises(SuiteError, match="are both called sound; rename one"):
        load_plugins([write(tmp_path, "sound"), other])
    load_plugins([write(tmp_path, "sound"), tmp_path / "sound.py"])  # the same twice is one
    assert method("replay")[0].__module__ == "grace.methods.replay"


def test_what_was_planned_is_what_runs(sound: Path) -> None:
    load_plugins([sound])
    learner = method("sound")[0]
    sound.write_text(SOUND.replace('"Odd"', '"Even"'))
    assert loaded("sound", digest_of("sound"))[0] is learner  # known as it was read
    load_plugins([sound])
    assert method("sound")[0].title == "Even"
    assert declared("sound").title == "Even"
    with pytest.raises(SuiteError, match="is not the one that the run was planned with"):
        loaded("sound", "0" * 12)
    with pytest.raises(SuiteError, match="is not the one that the run was planned with"):
        loaded("replay", "0" * 12)
    with pytest.raises(SuiteError, match="is not the one that the run was planned with"):
        loaded("sound", "")


@pytest.mark.parametrize("name", ["no_python", "no_config", "no_learner", "two_learners", "no_title", "bad_config"])
def test_what_a_text_shows_is_told_with_file_and_line(name: str, tmp_path: Path) -> None:
    path, fault = write(tmp_path, name), FAULTS[name]
    load_plugins([path])
    with pytest.raises(PluginError) as caught:
        declared(name)
    assert str(caught.value).startswith(f"{path}:{fault.line()}: ")
    assert fault.words in str(caught.value)


def test_sweep_files_name_plugins_beside_them(sound: Path, tmp_path: Path) -> None:
    text = 'methods = ["sound"]\nprotocols = ["toy-b0i5"]\nplugins = ["sound.py"]\n'
    (tmp_path / "sweep.toml").write_text(text)
    found = read_sweep(tmp_path / "sweep.toml")
    assert found.plugins == [str(sound)]
    (spec,) = resolve(found)
    whole = with_texts(found)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "whole.toml").write_text(write_sweep(whole))
    assert read_sweep(tmp_path / "other" / "whole.toml") == whole
    named = sweep_name(found)
    assert sweep_name(whole) == named
    sound.unlink()
    assert resolve(read_sweep(tmp_path / "other" / "whole.toml")) == [spec]
    assert sweep_name(whole) == named
    assert sweep_name(whole.model_copy(update={"plugin_texts": {"sound": SOUND + "#"}})) != named


def options_with(tmp_path: Path, *plugins: Plugin) -> LaunchOptions:
    return LaunchOptions(root=tmp_path / "results", data=tmp_path, gpus_per_run=0, plugins=plugins, max_concurrent=1)


def planned(sound: Path) -> tuple[RunSpec, Plugin]:
    (spec,) = resolve(sweep(sound))
    plugin = plugin_of("sound")
    assert plugin is not None
    return spec, plugin


def test_a_process_that_never_saw_the_file_does_the_run(sound: Path, tmp_path: Path) -> None:
    spec, plugin = planned(sound)
    sound.unlink()
    faulty = replace(plugin, name="faulty", file=str(tmp_path / "faulty.py"), source=FAULTS["raises"].source())
    adopt(faulty)
    runs = [spec, replace(spec, method="faulty", plugin=faulty.digest)]
    (tmp_path / "job").write_bytes(pickle.dumps((runs, options_with(tmp_path, plugin, faulty))))
    program = (
        "import pickle, sys; from pathlib import Path; from suite.local import launch\n"
        "runs, options = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "launch(runs, options, lambda event: None, lambda: False)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "job")], cwd=ROOT, check=True)
    store = Store.open(tmp_path / "results")
    assert store.keys() == [spec.key]
    (failure,) = store.failures().values()
    assert f"{faulty.file}:{FAULTS['raises'].line()}: AttributeError" in failure.reason  # as the user knows it
    assert "trainer.no_such_thing()" in failure.traceback


@pytest.mark.ray
def test_lanes_work_on_what_only_the_launch_has_seen(sound: Path, tmp_path: Path) -> None:
    spec, plugin = planned(sound)
    sound.unlink()
    outcome = lanes.launch([spec], options_with(tmp_path, plugin), lambda event: None, lambda: False)
    assert outcome.finished == [spec.key]


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a process to which the example is installed."""
    place = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    copy = tmp_path / "outside_method"
    copy.mkdir()
    for file in ("pyproject.toml", "smoothed.py"):
        (copy / file).write_text((EXAMPLE / file).read_text())
    subprocess.run([*command, "--target", str(place), str(copy)], check=True, capture_output=True)
    return {**os.environ, "PYTHONPATH": f"{place}{os.pathsep}{ROOT}"}


def answered(command: list[str], folder: Path, env: dict[str, str]) -> Any:
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_suite.py"), *command, "--json"],
        capture_output=True,
        text=True,
        cwd=folder,
        env=env,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_installed_package_brings_its_method(installed: dict[str, str], tmp_path: Path) -> None:
    rows = {row["name"]: row for row in answered(["list", "methods"], tmp_path, installed)}
    assert rows["smoothed"]["title"] == "Smoothed"
    plan = ["plan", "-m", "smoothed", "-p", "digits-b0i2", "--limit-epochs", "1"]
    (run,) = answered(plan, tmp_path, installed)["runs"]
    (same,) = answered([*plan, "--plugin", str(EXAMPLE / "smoothed.py")], tmp_path, dict(os.environ))["runs"]
    assert run["key"] == same["key"]  # however it is brought
    done = answered(["run", *plan[1:], *HERE], tmp_path, installed)
    assert done["finished"] == [run["key"]]
    plugin = Store.open(tmp_path / "results").read(run["key"]).provenance["plugin"]
    assert plugin["file"] == str(tmp_path / "site" / "smoothed.py")
    assert plugin["package"] == "outside-method 0.1.0"
    assert plugin["digest"] == read_plugin(EXAMPLE / "smoothed.py", {}).digest
    other = tmp_path / "smoothed.py"
    other.write_text((EXAMPLE / "smoothed.py").read_text() + "#\n")
    refused = subprocess.run(
        [sys.executable, str(ROOT / "run_suite.py"), "list", "methods", "--plugin", str(other)],
        capture_output=True, text=True, env=installed, check=False,
    )  # fmt: skip
    assert refused.stderr == f"error: {other}: smoothed is also a method of outside-method 0.1.0; rename the file\n"


def register(place: Path, line: str, **modules: str) -> dict[str, str]:
    """Write a package by hand; return the environment in which it is installed."""
    info = place / "by_hand-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: by-hand\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text(f"[grace_suite.methods]\n{line}\n")
    for name, text in modules.items():
        file = place / f"{name.replace('.', '/')}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return {**os.environ, "PYTHONPATH": f"{place}{os.pathsep}{ROOT}"}


def test_entry_points_are_read_without_importing_what_is_around_them(tmp_path: Path) -> None:
    modules = {"around.__init__": "import no_such_thing\n", "around.odd": SOUND}
    env = register(tmp_path / "site", "odd = around.odd:Odd", **modules)
    (run,) = answered(["plan", "-m", "odd", "-p", "digits-b0i2"], tmp_path, env)["runs"]
    assert run["method"] == "odd"
    program = "from grace.methods import method; method('odd')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, check=False)
    assert "No module named 'no_such_thing'" in done.stderr  # found, and then imported


def test_an_entry_point_that_is_called_as_ours_is_left_out(tmp_path: Path) -> None:
    env = register(tmp_path / "site", "replay = odd:Odd", odd=SOUND)
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_suite.py"), "show", "replay"],
        capture_output=True, text=True, env=env, check=True,
    )  # fmt: skip
    assert "warning: method replay of by-hand 2.0 is left out: replay is a method of the suite's own" in done.stderr
    assert "Replay" in done.stdout


def test_settings_and_presets_are_as_for_our_own(sound: Path) -> None:
    ((spec, choice),) = chosen(sweep(sound, method={"sound": {"initial": {"epochs": 7}}}))
    assert spec.config["initial"]["epochs"] == 7
    assert (choice.source, choice.exact) == ("", True)
    with pytest.raises(SuiteError, match="unknown field"):
        chosen(sweep(sound, method={"sound": {"nothing": 1}}))
