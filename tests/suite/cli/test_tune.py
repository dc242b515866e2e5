"""`tune` from the command line: what it says, writes and returns, and what other verbs make of its preset."""

from __future__ import annotations

import json
import os
import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

import suite.tuning
from suite.errors import Exit
from tests.suite.cli.conftest import Call, Said

# settings in use that cannot learn, so that whatever the search finds is better
BAD = '[replay.toy-b0i2]\nsource = "bad"\ninitial = { lr = 1e-6 }\nlater = { lr = 1e-6, weight_decay = 0.001 }\n'
TUNE = ("tune", "replay", "toy-b0i2", "--address", "none", "--gpus-per-run", "0", "--limit-epochs", "2")
SPACE = ("--search", "later.lr=0.02..0.2 log", "initial.lr=0.02..0.2 log")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    (tmp_path / "bad.toml").write_text(BAD)
    return tmp_path / "bad.toml"


def tuned(call: Call, bad: Path, *more: str) -> Said:
    return call(*TUNE, *SPACE, "--trials", "3", "--confirm", "2", "--presets", bad, "-o", "mine.toml", *more)


def test_from_the_search_to_a_marked_table(call: Call, bad: Path, tmp_path: Path) -> None:
    said = tuned(call, bad)
    assert said.code == Exit.DONE, said.err
    assert "3 trials on the first 3 of 5 tasks (6 classes, class order 0), 10 % of the training images held" in said.err
    assert "later.lr    0.02..0.2 log  (now 1e-06)" in said.err
    assert "3 trials: 3 finished" in said.out
    assert "in use" in said.out
    assert "run -m replay -p toy-b0i2 --presets mine.toml" in said.err

    table = tomllib.loads((tmp_path / "mine.toml").read_text())["replay"]["toy-b0i2"]
    drawn = table["later"]["lr"]
    assert 0.02 <= drawn <= 0.2
    assert table["later"]["weight_decay"] == 0.001  # what was searched around stays
    about = table["tuned_on"]
    assert {name: about[name] for name in ("protocol", "order", "tasks", "holdout", "seed", "trials")} == {
        "protocol": "toy-b0i2", "order": 0, "tasks": 3, "holdout": 0.1, "seed": 0, "trials": 3,
    }  # fmt: skip
    assert about["confirmed_with"] == [1, 2]
    assert about["score"] > about["default_score"]
    assert about["metric"] == "average incremental accuracy"
    assert set(about["space"]) == {"later.lr", "initial.lr"}

    runs = ("-m", "replay", "finetune", "-p", "toy-b0i2", "--limit-epochs", "1", "--presets", "mine.toml")
    said = call("run", *runs, "--address", "none", "--name", "both")
    assert said.code == Exit.DONE, said.err
    row, other = call("results", "--where", "method=replay", "--json").json, call("results", "--json").json
    assert row[0]["config"]["later"]["lr"] == drawn
    assert row[0]["tuned_on"] == about
    assert "tuned on toy-b0i2: first 3 tasks" in row[0]["preset"]
    assert [each["tuned_on"] for each in other if each["method"] == "finetune"] == [None]
    assert all(run["done"] for run in call("plan", *runs, "--json").json["runs"])
    assert not any(run["done"] for run in call("plan", *runs[:-2], "-m", "replay", "--json").json["runs"][:1])
    (tmp_path / "mine.toml").unlink()
    assert "nothing to do: all 2 runs are done" in call("resume", "both", "--address", "none").err

    marks = {"rich": "Replay\N{DOUBLE DAGGER} ", "md": "| Replay\N{DOUBLE DAGGER} ", "tex": r"Replay$\ddagger$ &",
             "html": ">Replay\N{DOUBLE DAGGER}</th>"}  # fmt: skip
    for form, mark in marks.items():
        out = call("table", "--smoke", "--to", form).out
        assert mark in out, form
        assert "tune found settings" in " ".join(out.split()), form
        assert "10 % of their training images held out" in " ".join(out.replace("\\", "").split()), form
        assert "FineTune\N{DOUBLE DAGGER}" not in out
    assert (
        "settings of Replay were tuned, those of others were not"
        in call("compare", "replay", "finetune", "--smoke").out
    )
    assert call("report", "-o", "page.html", "--smoke").code == Exit.DONE
    assert "Replay\N{DOUBLE DAGGER}" in (tmp_path / "page.html").read_text()


def test_the_same_command_trains_nothing_again_and_more_trials_go_on(
    call: Call, bad: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tuned(call, bad, "--json").json
    with monkeypatch.context() as patch:
        patch.setattr("suite.cli.tuning.tune", None)
        again = tuned(call, bad, "--json").json
    assert again == first
    assert first["written"] == "mine.toml"
    assert first["best"]["trial"] in (1, 2)
    assert len(first["best"]["confirmed"]) == 2
    more = call(*TUNE, *SPACE, "--trials", "4", "--presets", bad, "--json").json
    assert more["trials"][:3] == first["trials"]
    assert len(more["trials"]) == 4


def test_what_fails_is_the_worst_and_the_search_goes_on(call: Call) -> None:
    said = call(
        *TUNE, "--search", "initial.lr={1e30,1e-7}", "--confirm", "1", "--trials", "9", "--tasks", "2", "--json"
    )
    assert said.code == Exit.DONE, said.err
    assert "the space has no more than 2 settings to try" not in said.err  # --json is quiet
    states = {each["values"].get("initial", {}).get("lr"): each["state"] for each in said.json["trials"]}
    assert states == {None: "finished", 1e30: "failed", 1e-7: "finished"}
    assert said.json["best"]["values"] == {"initial": {"lr": 1e-7}}
    assert said.json["gain"] < 0
    assert said.json["written"] is None
    told = call(*TUNE, "--search", "initial.lr={1e30,1e-7}", "--confirm", "1", "--trials", "9", "--tasks", "2")
    assert "failed: non-finite: task" in told.err
    assert "no preset is written" in told.err
    assert "next: more trials go on from these" not in told.err  # there are none


def test_ctrl_c_saves_and_the_same_command_goes_on(call: Call, bad: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = suite.tuning.Event

    def event(kind: Any, key: str = "", *more: Any) -> Any:
        if (kind, key) == ("task", "trial-001-s0"):
            os.kill(os.getpid(), signal.SIGINT)
        return shown(kind, key, *more)

    with monkeypatch.context() as patch:
        patch.setattr(suite.tuning, "Event", event)
        said = tuned(call, bad)
    assert said.code == Exit.INTERRUPTED
    assert "stopped: 1 of 3 trials done" in said.err
    (line,) = [line for line in said.err.splitlines() if line.startswith("next: ")]
    assert "tune replay toy-b0i2 --address none" in line
    assert "--search 'later.lr=0.02..0.2 log' 'initial.lr=0.02..0.2 log' --trials 3" in line
    kept = json.loads(next(Path().glob("results/tuning/*/trial-001-s0.json")).read_text())
    assert (kept["state"], len(kept["scores"])) == ("running", 1)
    assert tuned(call, bad, "--json").json["trials"][1]["state"] == "finished"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("wa", "digits-b0i3x"), Exit.SPEC, "digits-b0i3x"),
        (("wb", "digits-b0i2"), Exit.SPEC, 'did you mean "wa"'),
        (("wa", "digits-b0i2", "--search", "temperatur=1..2"), Exit.SPEC, 'did you mean "temperature"'),
        (("wa", "digits-b0i2", "--search", "temperature=-1..2"), Exit.SPEC, "temperature must be above 0"),
        (("wa", "digits-b0i2", "--tasks", "9"), Exit.USAGE, "choose 2 to 5"),
        (("wa", "digits-b0i2", "--trials", "1"), Exit.USAGE, "x>=2"),
        (("wa", "digits-b0i2", "--holdout", "0"), Exit.USAGE, "0<x<=0.5"),
        (("wa", "digits-b0i2", "--name", "a/b"), Exit.SPEC, "letters, digits"),
        (("wa", "digits-b0i2+align=der"), Exit.SPEC, "tune wa on digits-b0i2"),
        (("wa",), Exit.USAGE, "PROTOCOL"),
    ],
)
def test_a_mistake_is_one_line(call: Call, arguments: tuple[str, ...], code: Exit, words: str) -> None:
    said = call("tune", *arguments, "--address", "none", "-q")
    assert said.code == code
    assert words in said.err
    assert said.err.count("\n") == 1


def test_a_file_that_holds_no_presets_is_refused_before_anything_is_trained(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("a = 1\n")
    said = call(*TUNE, "-o", "mine.toml", "-q")
    assert said.code == Exit.SPEC
    assert "[METHOD.PROTOCOL]" in said.err
    assert not (tmp_path / "results").exists()


def test_the_published_order_is_warned_of(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.cli.tuning.tune", lambda *_: True)
    said = call(*TUNE, "--order", "1993")
    assert "class order 1993 is the one of results" in said.err


def test_a_root_that_is_no_folder_is_refused(call: Call) -> None:
    said = call(*TUNE, "--root", "s3://bucket/results", "-q")
    assert said.code == Exit.USAGE
    assert "a search is kept in a folder" in said.err
