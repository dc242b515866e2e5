"""The files for clusters, as far as they can be tried without one: schemas, commands, and the script with stubs."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from suite.cli.main import suite
from suite.sweep import read_sweep

ROOT = Path(__file__).parents[1]
FILES = ROOT / "examples" / "cluster"
PAGES = [ROOT / "README.md", ROOT / "docs" / "cluster.md", ROOT / "examples" / "cluster.toml"]
COMMAND = re.compile(r"(?:run_suite\.py|grace-suite) +((?=[a-z])[^\n'`#&;|)]+)")


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def strings(value: Any) -> Iterator[str]:
    """Every text in plain values."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(inner)


def commands(path: Path) -> list[str]:
    """What our command is called with in a file: in code, comments and values."""
    text = path.read_text()
    if path.suffix == ".md":
        text = "\n".join(block or line for block, line in re.findall(r"```sh\n(.*?)```|`([^`\n]+)`", text, re.DOTALL))
    if path.suffix == ".yaml":
        remarks = [line.strip() for line in text.splitlines() if line.startswith("#")]
        text = "\n".join([*(line.lstrip("# ") for line in remarks), *strings(documents(path))])
    return [found.strip() for found in COMMAND.findall(re.sub(r"\s*\\\n\s*", " ", text))]


def parsed(arguments: list[str], group: click.Group = suite) -> click.Context:
    """The arguments as our command takes them; click raises where it would refuse them."""
    command = group.get_command(click.Context(group), arguments[0])
    assert command is not None, arguments
    if isinstance(command, click.Group):
        return parsed(arguments[1:], command)
    return command.make_context(arguments[0], arguments[1:])


CALLS = [(path, text) for path in [*PAGES, *sorted(FILES.iterdir())] for text in commands(path)]


@pytest.mark.parametrize(("path", "text"), CALLS, ids=[f"{path.name}: {text}"[:60] for path, text in CALLS])
def test_our_command_takes_what_it_is_called_with(path: Path, text: str) -> None:
    parsed(shlex.split(text))


def test_commands_are_found_everywhere() -> None:
    where = [path.name for path, _ in CALLS]
    least = {"README.md": 20, "cluster.md": 6, "rayjob.yaml": 1, "slurm.sh": 1, "aws.yaml": 2, "cluster.toml": 2}
    assert {name: where.count(name) >= number for name, number in least.items()} == dict.fromkeys(least, True)
    with pytest.raises(click.UsageError):
        parsed(["run", "--adress", "auto"])


def test_the_sweep_that_they_name_is_there() -> None:
    assert read_sweep(ROOT / "examples" / "cluster.toml").name == "cifar100"  # as docs/cluster.md calls it
    for path, text in CALLS:
        for file in re.findall(r"(?:/suite/)?(examples/\S+\.toml)", text):
            assert (ROOT / file).is_file(), path


def test_links_lead_somewhere() -> None:
    page = ROOT / "docs" / "cluster.md"
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert len(links) >= 4
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_autoscaler_takes_its_file() -> None:
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import validate_config

    (config,) = documents(FILES / "aws.yaml")
    validate_config({**config, "cluster_synced_files": []})
    with pytest.raises(ValidationError):
        validate_config({**config, "cluster_synced_files": [], "idle_minutes": 5})
    kinds = config["available_node_types"]
    assert kinds[config["head_node_type"]]["resources"] == {"CPU": 0}
    assert all(mount.split(":")[0] == "-v /shared" for mount in config["docker"]["run_options"] if "-v" in mount)
    spot = [name for name, kind in kinds.items() if "InstanceMarketOptions" in kind["node_config"]]
    assert config["head_node_type"] not in spot
    assert spot


def test_as_many_runs_at_a_time_as_the_largest_cluster_holds(rayjob: dict[str, Any]) -> None:
    def at_once(command: str) -> int:
        words = shlex.split(command)
        wanted = {name: words[words.index(name) + 1] for name in ("--max-concurrent", "--gpus-per-run")}
        return round(int(wanted["--max-concurrent"]) * float(wanted["--gpus-per-run"]))

    aws = (FILES / "aws.yaml").read_text()
    (started,) = re.findall(r"'python (.* run .*)'", aws)
    kinds = yaml.safe_load(aws)["available_node_types"].values()
    assert at_once(started) == sum(kind["max_workers"] * kind["resources"].get("GPU", 0) for kind in kinds)
    groups = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert at_once(rayjob["spec"]["entrypoint"]) == sum(group["maxReplicas"] for group in groups)


# Of the fields of ray.io/v1 RayJob (KubeRay's API reference) and of a pod (Kubernetes'), those that may be of use here.
QUANTITY = re.compile(r"[0-9.]+([kMGTPE]i?|m)?")
MOUNT = {"name": str, "mountPath": str, "subPath": str, "readOnly": bool}
AMOUNTS = {"requests": {str: QUANTITY}, "limits": {str: QUANTITY}}
CONTAINER = {"name": str, "image": str, "imagePullPolicy": str, "command": [str], "args": [str], "resources": AMOUNTS,
             "env": [{"name": str, "value": str}], "volumeMounts": [MOUNT]}  # fmt: skip
VOLUME = {"name": str, "persistentVolumeClaim": {"claimName": str}, "emptyDir": {"medium": str, "sizeLimit": QUANTITY}}
TOLERATION = {"key": str, "operator": str, "value": str, "effect": str}
POD = {"spec": {"terminationGracePeriodSeconds": int, "nodeSelector": {str: str}, "tolerations": [TOLERATION],
                "containers": [CONTAINER], "volumes": [VOLUME]}}  # fmt: skip
HEAD = {"rayStartParams": {str: str}, "template": POD}
WORKERS = {**HEAD, "groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int, "numOfHosts": int}
CLUSTER = {"rayVersion": str, "enableInTreeAutoscaling": bool,
           "autoscalerOptions": {"idleTimeoutSeconds": int, "upscalingMode": str},
           "headGroupSpec": HEAD, "workerGroupSpecs": [WORKERS]}  # fmt: skip
JOB = {"entrypoint": str, "backoffLimit": int, "shutdownAfterJobFinishes": bool, "ttlSecondsAfterFinished": int,
       "activeDeadlineSeconds": int, "submissionMode": str, "runtimeEnvYAML": str, "suspend": bool,
       "rayClusterSpec": CLUSTER}  # fmt: skip
RAYJOB = {"apiVersion": str, "kind": str, "metadata": {"name": str, "labels": {str: str}}, "spec": JOB}


def faults(value: Any, shape: Any, at: str = "") -> list[str]:
    """Where plain values are not of a shape: types, lists of one shape, tables of known fields or of any names."""
    if isinstance(shape, type):
        return [] if type(value) is shape else [f"{at}: {value!r} is no {shape.__name__}"]
    if isinstance(shape, re.Pattern):
        return [] if isinstance(value, str) and shape.fullmatch(value) else [f"{at}: {value!r}"]
    if not isinstance(value, type(shape)):
        return [f"{at}: {value!r}"]
    if isinstance(shape, list):
        return [fault for each in value for fault in faults(each, shape[0], at)]
    found = []
    for name, inner in value.items():
        known = shape.get(name, shape.get(str))
        found += [f"{at}.{name}"] if known is None else faults(inner, known, f"{at}.{name}")
    return found


@pytest.fixture(scope="module")
def rayjob() -> dict[str, Any]:
    (job,) = (each for each in documents(FILES / "rayjob.yaml") if each["kind"] == "RayJob")
    return job


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_the_rayjob_has_the_fields_of_its_kind(rayjob: dict[str, Any]) -> None:
    assert rayjob["apiVersion"] == "ray.io/v1"
    assert faults(rayjob, RAYJOB) == []
    spec = rayjob["spec"]
    assert faults({"spec": {**spec, "backOffLimit": 1}}, RAYJOB) == [".spec.backOffLimit"]
    assert faults({"spec": {**spec, "backoffLimit": "4"}}, RAYJOB) == [".spec.backoffLimit: '4' is no int"]
    assert (
        re.search(r"^ray==([0-9.]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)[1]
        == (  # type: ignore[index]
            spec["rayClusterSpec"]["rayVersion"]
        )
    )


def test_every_pod_mounts_what_the_command_names(rayjob: dict[str, Any]) -> None:
    (claim,) = (each for each in documents(FILES / "rayjob.yaml") if each["kind"] == "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    words = shlex.split(rayjob["spec"]["entrypoint"])
    folders = [words[words.index(option) + 1] for option in ("--root", "--data")]
    for pod in pods(rayjob):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        (container,) = pod["containers"]
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        assert mounts["/shared"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert all(folder.startswith("/shared/") for folder in folders)
        gpus = [container["resources"][kind].get("nvidia.com/gpu") for kind in ("requests", "limits")]
        assert gpus[0] == gpus[1]  # Kubernetes lends them whole


def test_the_head_has_no_work_and_is_not_taken_away(rayjob: dict[str, Any]) -> None:
    assert rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    head, *workers = pods(rayjob)
    assert "nodeSelector" not in head
    spot = [pod for pod in workers if "nodeSelector" in pod]
    assert spot
    for pod in spot:
        ((key, value),) = pod["nodeSelector"].items()
        assert [(each["key"], each["value"]) for each in pod["tolerations"]] == [(key, value)]


def test_the_image_has_the_files_that_are_named() -> None:
    text = (FILES / "Dockerfile").read_text()
    assert "WORKDIR /suite" in text
    for source in re.findall(r"^COPY (\S+) ", text, re.MULTILINE):
        assert (ROOT / source).exists()
    assert (FILES / "Dockerfile.dockerignore").read_text().split()[:3] == [".venv", "results", "data"]


STUBS = {
    # the task of a step: runs here what would run on a node
    "srun": 'echo "srun $*" >> "$LOG"; while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    "ray": 'echo "$*" >> "$LOG"; trap "echo stopped $2 >> $LOG; exit 0" TERM; while :; do sleep 0.05; done',
    "scontrol": 'echo "scontrol $*" >> "$LOG"',
    "python": """
case "$1" in
  -c) case "$2" in *secrets*) echo token ;; *) echo 10.0.0.7 ;; esac ;;
  -) cat > "$TMPDIR/asked"; [ -z "$NONE" ] && grep -c '^start ' "$LOG" ;;
  *) echo "python $*" >> "$LOG"
     trap 'echo saved >> "$LOG"; exit 75' TERM
     until [ -e "$TMPDIR/end" ]; do sleep 0.05; done
     exit "$(cat "$TMPDIR/end")" ;;
esac
""",
}


class Batch:
    """The script for SLURM at work, with stubs of whatever it calls."""

    def __init__(self, folder: Path, nodes: int = 2, **environment: str) -> None:
        places = {name: folder / name for name in ("bin", "suite", "tmp")}
        for place in places.values():
            place.mkdir()
        for name, text in STUBS.items():
            (places["bin"] / name).write_text(f"#!/bin/bash\n{text}\n")
            (places["bin"] / name).chmod(0o755)
        self.log, self.end = folder / "log", places["tmp"] / "end"
        self.log.touch()
        told = {"SLURM_JOB_ID": "4242", "SLURM_SUBMIT_DIR": str(places["suite"]), "SLURM_JOB_NUM_NODES": str(nodes),
                "SLURM_CPUS_PER_TASK": "16", "SLURM_GPUS_ON_NODE": "4", "LOG": str(self.log), "NONE": "",
                "TMPDIR": str(places["tmp"]), "PATH": f"{places['bin']}:{os.environ['PATH']}"}  # fmt: skip
        self.process = subprocess.Popen(
            ["bash", str(FILES / "slurm.sh")], env={**told, **environment}, stderr=subprocess.PIPE, text=True
        )

    def until(self, word: str) -> None:
        deadline = time.monotonic() + 30
        while word not in self.log.read_text():
            assert time.monotonic() < deadline, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def over(self) -> tuple[int, list[str], str]:
        """The exit code, what was called, and what was said."""
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, self.log.read_text().splitlines(), said


@pytest.mark.parametrize("code", [0, 5])
def test_slurm_starts_the_nodes_runs_the_command_and_ends(tmp_path: Path, code: int) -> None:
    batch = Batch(tmp_path)
    batch.until("python run_suite.py")
    batch.end.write_text(str(code))
    ended, log, said = batch.over()
    assert (ended, said) == (code, "")
    first, head, second, worker, command, *rest = log
    assert first.startswith("srun --overlap --nodes=1 --ntasks=1 --nodelist=")
    assert second.startswith("srun --nodes=1 --ntasks=1 --exclude=")
    assert head.startswith("start --head --port 24242 ")
    assert "--num-cpus 16 --num-gpus 4" in worker
    assert worker.startswith("start --address 10.0.0.7:24242 ")
    assert "--address 10.0.0.7:24242 --root /shared/results" in command
    assert command.endswith("--grace-seconds 90")
    assert sorted(rest) == ["stopped --address", "stopped --head"]


def test_slurm_passes_on_the_signal_and_requeues(tmp_path: Path) -> None:
    batch = Batch(tmp_path)
    batch.until("python run_suite.py")
    batch.process.send_signal(signal.SIGTERM)
    ended, log, said = batch.over()
    assert (ended, said) == (75, "")
    assert log[5:7] == ["saved", "scontrol requeue 4242"]


def test_slurm_on_one_node(tmp_path: Path) -> None:
    batch = Batch(tmp_path, nodes=1)
    batch.until("python run_suite.py")
    batch.end.write_text("0")
    ended, log, _ = batch.over()
    assert (ended, [line for line in log if "srun" in line]) == (0, log[:1])


def test_slurm_gives_up_on_nodes_that_do_not_come(tmp_path: Path) -> None:
    ended, log, said = Batch(tmp_path, NONE="yes", PATIENCE="0").over()
    assert ended == 6
    assert re.fullmatch(r"error: after \d+ seconds the Ray cluster at 10\.0\.0\.7:24242 has not 1 nodes\n", said)
    assert not any("run_suite.py" in line for line in log)
