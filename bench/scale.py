"""What tables and the report take over many runs: time and memory of each command, in a process of its own.

    python -m bench.scale [--runs 10000] [--root DIR]

The records are made up (bench.synthetic). First without the index of result rows, as on a store that was copied from
elsewhere, then with it, each command three times, of which the middle time counts. Memory is the most of one process.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench.machine import report
from bench.synthetic import written

SUITE = Path(__file__).parents[1] / "run_suite.py"
ROUNDS = 3
LIMITS = {"table": (5.0, 1024), "report": (5.0, 1024)}  # seconds and MiB with the index, over 10,000 runs
COMMANDS = (
    ("table",),
    ("table", "-o", "table.md"),
    ("table", "-o", "table.html"),
    ("table", "--where", "method=der"),
    ("results",),
    ("results", "--json"),
    ("compare", "der", "grace"),
    ("plot", "curves", "--to", "svg", "-o", "figures"),
    ("report", "-o", "report.html"),
)


# A process begins with the peak of the one that starts it: a small one does, and tells what was used.
STARTER = """
import os, sys, time
start = time.perf_counter()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(child, 0)
with open(sys.argv[1], "w") as file:
    print(time.perf_counter() - start, used.ru_maxrss / 1024, os.waitstatus_to_exitcode(status), file=file)
"""


def measured(command: tuple[str, ...], root: Path, folder: Path) -> tuple[float, float, int]:
    """Return seconds, MiB at the most and the exit code of a command of the suite."""
    arguments = [sys.executable, str(SUITE), *command, "--root", str(root), "-q"]
    with open(folder / "out", "wb") as out:
        starter = [sys.executable, "-S", "-c", STARTER, str(folder / "used"), *arguments]
        subprocess.run(starter, stdout=out, stderr=subprocess.STDOUT, cwd=folder, check=True)
    seconds, memory, code = (folder / "used").read_text().split()
    return float(seconds), float(memory), int(code)


def lines(root: Path, folder: Path) -> list[str]:
    """Return a Markdown table of every command that there is."""
    shutil.rmtree(root / "index", ignore_errors=True)
    found = ["| command | index | seconds | MiB |", "|---|---|---|---|"]
    for index, command in [("made", COMMANDS[0]), *(("there", command) for command in COMMANDS)]:
        rounds = [measured(command, root, folder) for _ in range(ROUNDS if index == "there" else 1)]
        seconds, memory, failed = median(r[0] for r in rounds), max(r[1] for r in rounds), rounds[0][2]
        name = f"`{' '.join(command)}`"
        if failed:
            found.append(f"| {name} | {index} | failed: {(folder / 'out').read_text()[-200:].strip()} | |")
            continue
        limits = LIMITS.get(command[0]) if index == "there" else None
        over = " (too much)" if limits and (seconds > limits[0] or memory > limits[1]) else ""
        found.append(f"| {name} | {index} | {seconds:.2f}{over} | {memory:.0f} |")
    size = sum(file.stat().st_size for file in (root / "index").glob("*"))
    return [*found, "", f"The index takes {size / 2**20:.1f} MiB."]


def main() -> None:
    """Make the records, time everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--root", type=Path, metavar="DIR", help="where the records are made, or are already")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="grace-scale-"))
    root = (options.root or folder / "root").resolve()
    try:
        runs = written(root, options.runs)
        told = lines(root, folder)
    finally:
        shutil.rmtree(folder)
    told += ["", f"With the index there, a table and the report of 10,000 runs should take {LIMITS['table'][0]:.0f} s "
                 f"and {LIMITS['table'][1]} MiB at most."]  # fmt: skip
    report(f"scale-{runs}", f"Commands over {runs} runs", told)


if __name__ == "__main__":
    main()
