"""What is said of nodes that agree and of nodes that do not, and of a real cluster with a stray node."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grace.storage.folders import folder
from suite import node as looking
from suite.cluster import Seen, findings
from suite.doctor import Finding
from suite.errors import Exit
from suite.node import Looked
from tests.suite.cli.conftest import Call, call  # noqa: F401

ROOT = Path(__file__).parents[2]
VERSIONS = {"Python": "3.11.7", "torch": "2.15.0+cu130", "ray": "2.60.0"}
HERE = Looked("head", {**VERSIONS, "torch": "2.15.0+cpu"}, "c0de")
MANY = 10**12
FIT = Looked("a", VERSIONS, "c0de", findings=(Finding("torch.compile", "good", "C++ compiler: g++"),), gpus=2,
             free={"temporary files": 2 * MANY, "results": MANY})  # fmt: skip


def said(seen: Seen) -> list[Finding]:
    return list(findings("auto", seen))


def three(**changed: Looked) -> Seen:
    return Seen(HERE, {name: changed.get(name, replace(FIT, host=name)) for name in "abc"})


def of(found: list[Finding], what: str) -> list[tuple[str, str, str]]:
    return [(each.node, each.state, each.text) for each in found if each.what == what]


def test_nodes_that_agree_are_one_line_each() -> None:
    found = said(replace(three(), gone=2, clocks={name: (0.01, 0.002) for name in "abc"}, gpus=dict.fromkeys("abc", 2)))
    assert {each.state for each in found} == {"good"}
    assert len({each.what for each in found}) == len(found)
    assert of(found, "nodes") == [("", "good", "3 at auto: a, b, c; 2 more have gone")]
    assert of(found, "versions") == [
        ("", "good", "Python 3.11.7, torch 2.15.0+cpu, ray 2.60.0 (on all 3 nodes)")
    ]  # builds for other devices are the same version
    assert of(found, "room for results") == [("", "good", "1000.0 GB free or more")]
    assert of(found, "clocks") == [("", "good", "within 0.01 s of the one here")]


@pytest.mark.parametrize(
    ("changes", "what", "state", "words"),
    [
        ({"versions": {**VERSIONS, "torch": "2.14.1"}}, "versions", "bad", "torch 2.14.1, but 2.15.0+cpu here"),
        ({"versions": {**VERSIONS, "ray": None}}, "versions", "bad", "ray is missing, but 2.60.0 here"),
        ({"code": "0ther"}, "code", "bad", "0ther, but c0de here; something there goes before what is sent"),
        ({"findings": (Finding("torch.compile", "note", "no g++"),)}, "torch.compile", "note", "no g++"),
        ({"root": "/r is not there"}, "results", "bad", "/r is not there; --root must be a folder that all"),
        ({"locks": "files cannot be locked: x"}, "locks", "bad", "files cannot be locked: x"),
        ({"locks": "unseen"}, "locks", "note", "let one command at a time work on these results"),
        ({"locks": "unseen", "host": "head"}, "locks", "bad", "a lock that another process holds is not seen"),
        ({"free": {"results": 5e8}}, "room for results", "note", "0.5 GB free"),
        ({"free": {"temporary files": 5e8, "results": MANY}}, "room for temporary files", "note", "0.5 GB free"),
    ],
)
def test_a_node_that_differs_has_a_line_of_its_own(changes: dict[str, Any], what: str, state: str, words: str) -> None:
    found = said(three(b=replace(FIT, **{"host": "b", **changes})))
    odd = [each for each in found if each.state != "good"]
    assert [(each.what, each.node, each.state) for each in odd] == [(what, "b", state)]
    assert odd[0].text.startswith(words.partition(";")[0]) or words in odd[0].text
    others = [text for node, _, text in of(found, what) if not node]
    assert all("on 2 of 3 nodes" in text for text in others)


def test_a_folder_that_some_see_and_some_do_not() -> None:
    """Each node writes and reads something, and yet they do not share."""
    end = "--root must be a folder that all nodes share"
    own = said(replace(three(), unread={"here": ["b"], "a": ["b"], "c": ["b"], "b": ["a", "c"]}))
    assert of(own, "results") == [
        ("", "good", "what each node writes, all others read (on 2 of 3 nodes)"),
        ("b", "bad", f"not the folder that is here: what is written there is not seen here; {end}"),
    ]
    blind = said(replace(three(), unread={"b": ["a", "c"]}))
    assert of(blind, "results")[1:] == [("b", "bad", f"not one folder: files that a, c wrote are not seen; {end}")]


def test_gpus_that_ray_counts_and_torch_does_not_see() -> None:
    found = said(replace(three(b=replace(FIT, host="b", gpus=0)), gpus={"a": 2, "b": 2, "c": 1}))
    assert [each for each in found if each.state == "bad"] == [
        Finding("GPUs", "bad", "Ray gives out 2, torch sees 0: a torch for CPUs, or a driver too old for its CUDA", "b")
    ]


@pytest.mark.parametrize(
    ("ahead", "state", "words"),
    [(1.9, "good", "within 1.90 s"), (-5.0, "note", "5 s behind: ages of news"), (90.0, "bad", "90 s ahead")],
)
def test_clocks(ahead: float, state: str, words: str) -> None:
    found = said(replace(three(), clocks={"a": (0.0, 0.001), "b": (ahead, 0.001)}))
    assert [(each.state, each.node) for each in found if each.what.startswith("clock")] == [
        (state, "" if state == "good" else "b")
    ]
    assert any(each.text.startswith(words) for each in found)


def test_a_slow_network_is_no_skewed_clock() -> None:
    assert {each.state for each in said(replace(three(), clocks={"b": (4.0, 3.0)}))} == {"good"}


def test_the_quickest_call_tells_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of 4, 0.2 and 2 s, of which a part lies before the clock is read there; it is 100 s ahead."""
    from suite.lanes import checkup

    now = 1000.0
    calls = iter([(3.0, 1.0), (0.1, 0.1), (0.5, 1.5), (1.0, 1.0), (1.0, 1.0)])

    def ask(nodes: Any, work: Any) -> Iterator[tuple[Any, float]]:
        nonlocal now
        there, back = next(calls)
        now += there
        answer = now + 100
        now += back
        yield nodes[0], answer

    monkeypatch.setattr(checkup, "ask", ask)
    monkeypatch.setattr("time.time", lambda: now)
    ahead, error = checkup._clock({})
    assert (round(ahead, 6), round(error, 6)) == (100.0, 0.1)


def test_nodes_that_cannot_be_looked_at() -> None:
    found = said(Seen(HERE, {}, broken={"b": "the node has died"}))
    assert found[1:] == [Finding("node", "bad", "cannot run the suite: the node has died", "b")]


def test_a_mark_is_left_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "LAG", 0.1)
    place = tmp_path / "ray" / "1"
    assert looking._answered(place, "a") == f"{tmp_path} is another folder there"
    assert looking._answered(Path("/nothing/like/this"), "a") == "/nothing is not there"
    place.mkdir(parents=True)
    assert looking._answered(place, "a") == f"{tmp_path} is another folder there"  # nobody has left anything
    looking.leave(place, looking.HERE)
    assert looking._answered(place, "a") == ""
    (place / "b").write_text("something else")
    assert looking.unread(place, ["a", "b", "c"]) == ["b", "c"]
    (place / "d").mkdir()
    assert looking._answered(place, "d") == f"{tmp_path} cannot be written: Is a directory"


def test_a_mark_in_an_object_store(bucket: str) -> None:
    place = folder(f"{bucket}/results") / "live" / "1"
    looking.leave(place, looking.HERE)
    assert looking._answered(place, "a") == ""
    assert looking.unread(place, ["a"]) == []


def test_a_lock_is_seen_from_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    with path.open("wb") as file:
        assert looking._locks(path) == "unseen"  # nobody holds it
        fcntl.flock(file, fcntl.LOCK_EX)
        program = f"from pathlib import Path; from suite.node import _locks; print(_locks(Path({str(path)!r})))"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
        assert done.stdout == "\n"
    assert looking._locks(tmp_path / "none") == "files cannot be locked: No such file or directory"


def test_the_digest_is_of_what_is_imported(tmp_path: Path) -> None:
    for name in ("grace", "protocols", "suite"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    program = [sys.executable, "-c", "from suite.node import digest; print(digest())"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def there() -> str:
        done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True)
        return done.stdout.strip()

    assert there() == looking.digest()
    with (tmp_path / "protocols" / "cifar100.py").open("a") as file:
        file.write("# changed\n")
    assert there() != looking.digest()


@pytest.mark.parametrize("arguments", [["--cluster", "--address", "none"], ["--address", "auto"]])
def test_an_address_is_that_of_a_cluster(call: Call, arguments: list[str]) -> None:  # noqa: F811
    said = call("doctor", *arguments)
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert said.err == "error: --address is that of a Ray cluster, for --cluster (doctor --help)\n"


def test_no_cluster_is_one_line_and_leaves_nothing(call: Call, tmp_path: Path) -> None:  # noqa: F811
    said = call("doctor", "--cluster", "--address", "127.0.0.1:1")
    assert (said.code, said.out, said.err.count("\n")) == (Exit.ENVIRONMENT, "", 1)
    assert said.err.startswith("error: no Ray cluster answers at 127.0.0.1:1: ")
    assert list(tmp_path.iterdir()) == []


HEAD = """
import sys
from ray.cluster_utils import Cluster
with_ = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args={**with_, "temp_dir": sys.argv[1]})
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
STRAY = """
mount -t tmpfs none "$1"
exec "$2" -m ray.scripts.scripts start --address "$3" --num-cpus 1 --object-store-memory 80000000 --block
"""


def can_unshare() -> bool:
    made = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(made, capture_output=True, check=False).returncode == 0


@pytest.mark.ray
@pytest.mark.skipif(not can_unshare(), reason="the kernel gives no mount namespaces to users")
def test_a_node_with_a_folder_of_its_own_is_found(tmp_path: Path) -> None:
    """Two nodes on this machine; one has another file system where the results folder is."""
    results = tmp_path / "results"
    results.mkdir()
    other = tmp_path / "other"
    (other / "grace").mkdir(parents=True)
    (other / "grace" / "__init__.py").write_text("raise ImportError('of the folder that the command was given in')")
    temporary = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets: be short
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen([sys.executable, "-c", HEAD, temporary], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, env=environment) as head:  # fmt: skip
        assert head.stdout is not None
        address = head.stdout.readline().strip()
        stray = ["unshare", "-rm", "sh", "-ec", STRAY, "sh", str(results), sys.executable, address]
        with subprocess.Popen(stray, env=environment, **quiet) as node:
            try:
                until_alive(address, 2)
                doctor = [sys.executable, str(ROOT / "run_suite.py"), "doctor", "--cluster", "--address", address]
                places = ["--root", str(results), "--data", str(tmp_path), "--json"]
                done = subprocess.run([*doctor, *places], capture_output=True, text=True, cwd=other, check=False)
            finally:
                node.terminate()
                node.wait(60)
                head.communicate("")
                shutil.rmtree(temporary, ignore_errors=True)
    assert done.stderr == ""
    found = [Finding(**each) for each in json.loads(done.stdout)["findings"]]
    assert done.returncode == Exit.ENVIRONMENT
    bad = [each for each in found if each.state == "bad"]
    assert [(each.what, each.text) for each in bad] == [
        ("results", f"{results} is another folder there; --root must be a folder that all nodes share")
    ]
    states = {each.what: each.state for each in found if not each.node}
    assert {"versions", "code", "torch", "torchvision", "Ray", "machine", "locks", "clocks", "data digits"} <= set(
        states
    )
    assert (states["code"], states["locks"], states["clocks"]) == ("good", "good", "good")
    assert list(results.iterdir()) == []


def until_alive(address: str, number: int) -> None:
    """Wait for nodes, without a Ray in this process."""
    program = f"""
import ray, time
ray.init({address!r}, logging_level="ERROR", log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < {number}:
    time.sleep(0.1)
"""
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=120)
