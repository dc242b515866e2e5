"""A cluster of which some nodes have GPUs: with `--mixed` the others work on their CPUs, and keep to themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from suite.store import Store

SUITE = Path(__file__).parents[3] / "run_suite.py"
CLUSTER = """
import subprocess, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
cluster.add_node(num_cpus=1, num_gpus=1)
cluster.add_node(num_cpus=1)
done = subprocess.run([*sys.argv[1:], "--address", cluster.address])
cluster.shutdown()
sys.exit(done.returncode)
"""


@pytest.mark.ray
@pytest.mark.soak
def test_a_lane_that_finds_no_gpu_leaves_its_run_to_those_that_need_none(tmp_path: Path) -> None:
    """Ray believes in the GPU that a node claims to have, torch does not: that lane breaks with a run in its hands."""
    sweep = ["run", "-m", "finetune", "-p", "toy-b0i2", "--seeds", "0-2", "--limit-epochs", "1"]
    where = ["--gpus-per-run", "1", "--mixed", "--root", str(tmp_path / "root")]
    command = [sys.executable, "-c", CLUSTER, sys.executable, str(SUITE), *sweep, *where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "starting 2 lanes on Ray" in done.stderr
    assert "sees no GPU here" in done.stderr
    assert len(Store.open(tmp_path / "root").keys()) == 3
