"""A Ray cluster of several nodes on this machine, in a process of its own: `python -m bench.faults.nodes PORT`.

The process is told by lines what to do (add CPUS, remove NUMBER, head) and answers each with a line; it ends the
cluster when its input ends.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bench.faults.processes import parent

MEMORY = 80 * 2**20  # bytes of a node's object store, near the least that Ray takes


class Nodes:
    """A head without CPUs and nodes of one CPU each, which is one lane; raises RuntimeError where it does not start."""

    def __init__(self, environment: Mapping[str, str], log: str, count: int = 2, prefix: Sequence[str] = ()) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.raylets: dict[int, int] = {}  # number of a node -> the process that starts all others there
        self._log = log
        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "bench.faults.nodes", str(port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=dict(environment),
                start_new_session=True,
            )
        self.address = self._heard()
        for _ in range(count):
            self.add()

    def add(self, cpus: int = 1) -> int:
        """Start a node and return its number."""
        self._take(self._ask(f"add {cpus}"))
        return max(self.raylets)

    def of(self, pid: int) -> int | None:
        """Return the number of the node on which a process of Ray's works, None for the head."""
        return next((number for number, raylet in self.raylets.items() if raylet == parent(pid)), None)

    def remove(self, number: int) -> None:
        """Kill all that runs on a node, as if its machine had lost its power."""
        self._ask(f"remove {number}")
        del self.raylets[number]

    def restart_head(self) -> None:
        """Kill the head and the nodes and start as many anew, the head at the same address."""
        answer = self._ask("head")
        self.raylets = {}
        self._take(answer)

    def close(self) -> None:
        """End the cluster."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def _take(self, answer: str) -> None:
        numbers = [int(number) for number in answer.split()]
        self.raylets |= dict(zip(numbers[::2], numbers[1::2], strict=True))

    def _ask(self, line: str) -> str:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self._heard()

    def _heard(self) -> str:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("> "):  # whatever else is printed is not meant for us
                return line[2:].strip()
        with open(self._log, errors="replace") as file:
            raise RuntimeError(f"the process that holds the cluster has ended: {file.read()[-2000:]}")


def main() -> None:
    """Hold the cluster."""
    from ray.cluster_utils import Cluster

    port = int(sys.argv[1])
    rest: dict[str, Any] = {"object_store_memory": MEMORY, "include_dashboard": False}

    def head() -> Any:
        return Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "gcs_server_port": port, **rest})

    cluster, nodes = head(), dict[int, Any]()

    def add(cpus: int = 1) -> str:
        number = max(nodes, default=-1) + 1
        nodes[number] = cluster.add_node(num_cpus=cpus, **rest)
        return f"{number} {nodes[number].all_processes['raylet'][0].process.pid}"

    print(f"> {cluster.address}", flush=True)
    for line in sys.stdin:
        verb, *argument = line.split()
        answer = ""
        if verb == "add":
            answer = add(int(argument[0]))
        elif verb == "remove":
            cluster.remove_node(nodes[int(argument[0])], allow_graceful=False)
            nodes[int(argument[0])] = None
        elif verb == "head":
            living = [node for node in nodes.values() if node is not None]
            cluster.remove_node(cluster.head_node, allow_graceful=False)
            for node in living:
                cluster.remove_node(node, allow_graceful=False)
            nodes.update(dict.fromkeys(nodes))
            cluster = head()
            answer = " ".join(add() for _ in living)
        print(f"> {answer}", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
