"""Plugins on the command line: a faulty one fails alone, a sound one is recorded, and resumed as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from grace.methods import METHODS
from suite.plugins import read_plugin
from suite.store import Store
from tests.suite.cli.conftest import Call
from tests.suite.plugins_for_tests import FAULTS, SOUND, write

HERE = ("--address", "none", "--gpus-per-run", "0")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write(tmp_path, "sound")


@pytest.mark.parametrize("name", FAULTS)
def test_a_run_of_a_faulty_plugin_fails_and_the_others_go_on(name: str, tmp_path: Path, call: Call) -> None:
    path, fault = write(tmp_path, name), FAULTS[name]
    said = call("run", "-m", name, "finetune", "-p", "digits-b0i2", "--limit-epochs", "1", "--plugin", path, *HERE)
    assert said.code == 5, said
    assert "Traceback" not in said.err + said.out
    assert "1 run finished, 1 failed" in said.err
    (failure,) = Store.open(tmp_path / "results").failures().values()
    place = f"{path}:{fault.line()}"
    assert failure.where.partition(" in ")[0] == place
    assert place in failure.reason
    assert fault.words in failure.reason
    assert "\n" not in failure.reason
    (line,) = [line for line in said.err.splitlines() if line.startswith("failed: ")]
    assert line.startswith(f"failed: {name} digits-b0i2 o1993 s0: ")
    assert place in line
    assert f"--plugin {path}" in line.partition("alone: ")[2]
    assert failure.kind == ("non-finite" if name == "not_a_number" else "error")


def test_a_broken_plugin_is_planned_with_a_warning(tmp_path: Path, call: Call) -> None:
    path = write(tmp_path, "no_config")
    said = call("plan", "-m", "no_config", "replay", "-p", "digits-b0i2", "--plugin", path)
    assert said.code == 0
    assert f"warning: {path}:{FAULTS['no_config'].line()}: there is no Config" in said.err
    assert "2 runs" in said.out
    said = call("show", "no_config", "--plugin", path)
    assert said.code == 3
    assert said.err == f"error: {path}:{FAULTS['no_config'].line()}: {FAULTS['no_config'].words}: " + (
        "a frozen dataclass of the settings, beside the learner\n"
    )


def test_the_record_names_the_file_and_its_digest(sound: Path, tmp_path: Path, call: Call) -> None:
    command = ("-m", "sound", "-p", "toy-b0i5", "--plugin", sound)
    assert call("run", *command, *HERE).code == 0
    (row,) = call("results", "--json").json
    record = Store.open(tmp_path / "results").read(row["key"])
    digest = read_plugin(sound, {}).digest
    assert record.provenance["plugin"] == {"file": str(sound), "digest": digest, "package": ""}
    assert record.spec["plugin"] == row["plugin"] == digest
    assert call("plan", *command, "--json").json["done"] == 1
    sound.write_text(SOUND.replace("lr=0.05", "lr=0.04"))
    assert call("plan", *command, "--json").json["done"] == 0  # it is another method now
    assert call("run", *command, *HERE).code == 0
    table = call("table", "--to", "csv").out
    assert all(f"plugin={json.dumps(of)}".replace('"', '""') in table for of in (digest, read_plugin(sound, {}).digest))


def test_resume_goes_on_with_what_the_sweep_began_with(sound: Path, tmp_path: Path, call: Call) -> None:
    assert call("run", "-m", "sound", "-p", "toy-b0i5", "--name", "mine", "--plugin", sound, *HERE).code == 0
    (row,) = call("results", "--json").json
    record = tmp_path / "results" / "records" / f"{row['key']}.parquet"
    record.unlink()
    sound.write_text("this is no longer Python")
    METHODS.pop("sound")
    said = call("resume", "mine")
    assert said.code == 0
    assert f"{sound} has changed: the sweep goes on with what it held" in said.err
    assert record.is_file()
    record.unlink()
    sound.unlink()
    METHODS.pop("sound")
    said = call("resume", "mine")
    assert said.code == 0
    assert "has changed" not in said.err
    assert record.is_file()
    write(tmp_path, "sound").write_text(SOUND.replace("lr=0.05", "lr=0.04"))
    again = call("resume", "mine", "--plugin", sound, "--json")
    assert (again.code, again.json["done_before"], len(again.json["finished"])) == (0, 0, 1)
