"""SIGTERM: a time to save in, then an end, and a resumed run that is none the worse."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from suite.cli.settings import Settings
from suite.cli.signals import Stop
from suite.errors import Exit
from suite.store import Store
from tests.suite.cli.conftest import Call
from tests.suite.plugins_for_tests import LOSS, SOUND

ROOT = Path(__file__).parents[3]
NAP = SOUND.replace("import torch\n", "import os\nimport time\n\nimport torch\n", 1).replace(
    LOSS,
    LOSS
    + """            if task.known and "NAPPING" in os.environ:
                os.mkdir(os.environ["NAPPING"])
                time.sleep(600)
""",
)
RUN = ("run", "-m", "nap", "-p", "toy-b0i5", "--plugin", "nap.py", "--address", "none", "--checkpoint-seconds", "0")


def hand(stop: Stop, number: signal.Signals) -> None:
    """Have this process get a signal."""
    os.kill(os.getpid(), number)
    assert stop()


def terminated_and_idle() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)


def test_sigterm_sets_a_time_and_ctrl_c_does_not() -> None:
    for number, code in ((signal.SIGTERM, Exit.RESUMABLE), (signal.SIGINT, Exit.INTERRUPTED)):
        stop = Stop(Settings(quiet=True), grace=30.0)
        before = signal.getsignal(signal.SIGALRM)
        with stop.listening():
            assert not stop()
            hand(stop, number)
            assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) is (number == signal.SIGTERM)
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
        assert signal.getsignal(signal.SIGALRM) is before
        assert stop.code == code


@pytest.mark.parametrize("grace", [0.0, 0.05])
def test_what_comes_to_no_safe_point_is_ended(grace: float) -> None:
    stop = Stop(Settings(quiet=True), grace=grace)
    with stop.listening(), pytest.raises(KeyboardInterrupt):
        terminated_and_idle()
    assert stop.code == Exit.RESUMABLE


def test_wishes_are_said_once_and_can_be_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    wish = ""
    stop = Stop(Settings(), [lambda: "", lambda: wish])
    assert not stop()
    wish = "time for tea"
    assert stop()
    assert stop()
    assert capsys.readouterr().err == "time for tea: runs save at their next safe point\n"
    assert stop.code == Exit.RESUMABLE


def test_an_epoch_longer_than_the_time_given_costs_no_more_than_itself(call: Call, tmp_path: Path) -> None:
    """A process whose second task sleeps for minutes is ended within seconds; resumed, its record is the same."""
    torch.set_num_threads(1)
    (tmp_path / "nap.py").write_text(NAP)
    napping = tmp_path / "napping"
    environment = {**os.environ, "NAPPING": str(napping), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "run_suite.py"), *RUN, "--grace-seconds", "0.5"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as process:
        assert process.stderr is not None
        try:
            while not napping.exists():
                assert process.poll() is None
                time.sleep(0.05)
            process.terminate()
            said = process.stderr.read()
            code = process.wait(60)
        finally:
            process.kill()
    assert code == Exit.RESUMABLE
    assert "stopping: runs save at their next safe point within 0.5 s" in said
    assert "no safe point within 0.5 s: stopped at once; what was saved stays" in said
    assert "0 runs finished, 1 left\nnext: " in said
    assert "Traceback" not in said
    assert list((tmp_path / "results" / "work").glob("*/*.pt"))
    assert call("resume").code == Exit.DONE
    resumed = Store.open(tmp_path / "results")
    assert call(*RUN, "--root", "whole").code == Exit.DONE
    whole = Store.open(tmp_path / "whole")
    (key,) = whole.keys()
    assert resumed.read(key).digest() == whole.read(key).digest()
