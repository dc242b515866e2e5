"""What a machine needs to run sweeps, looked at: versions, devices, Ray, the results folder, the data."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from grace.checks import DataError
from grace.storage.folders import Folder
from grace.storage.objects import ObjectPath
from grace.streams.registry import DATASETS
from suite.errors import SuiteError
from suite.provenance import PACKAGE
from suite.store import Store

if TYPE_CHECKING:
    from grace.streams.catalogue import DatasetSpec

State = Literal["good", "note", "bad"]  # a note stops nothing
ROOM = 10**9  # bytes that a results folder should have free
TENSOR_CORES = (8, 0)  # compute capability from which a GPU has them for tf32 and bf16
TORCH = """
import json, torch
found = {"torch": torch.__version__, "cuda": torch.version.cuda, "gpus": [], "capabilities": [], "trouble": ""}
try:
    for i in range(torch.cuda.device_count()):
        of = torch.cuda.get_device_properties(i)
        found["gpus"].append(f"{of.name}, {of.total_memory / 2**30:.0f} GiB")
        found["capabilities"].append([of.major, of.minor])
        torch.ones(2, device=f"cuda:{i}").sum().item()
except Exception as error:
    found["trouble"] = f"GPU {i}: " + (str(error).strip().splitlines() or [type(error).__name__])[0]
for name, test in {"amx": "_is_amx_tile_supported", "avx512_bf16": "_is_avx512_bf16_supported"}.items():
    found[name] = hasattr(torch.cpu, test) and getattr(torch.cpu, test)()
try:
    import triton
    found["triton"] = True
except Exception:
    found["triton"] = False
"""
PAIR = """
import json, torchvision
found = {**globals().get("found", {}), "torchvision": torchvision.__version__}
"""
RAY = """
import json, ray, ray.train.torch
found = {**globals().get("found", {}), "ray": ray.__version__}
"""
SAY = "print(json.dumps(found))"


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    state: State
    text: str  # what is there, or what is wrong and what to do
    node: str = ""  # of a cluster, where it is the only one, or one of few


def examine(root: Folder, folder: Path) -> Iterator[Finding]:
    """Yield the findings on this machine, each as soon as it is known; `folder` is for data."""
    yield _python()
    yield from packages(requirements())
    yield from imports()[0]
    yield machine()
    yield _root(root)
    yield from data(folder, DATASETS)


def _python() -> Finding:
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding(
        "Python", "good" if supported else "bad", found if supported else f"{found}; 3.11 to 3.13 are wanted"
    )


def requirements() -> list[str] | None:
    """Return what the project declares to need; None where it is not installed."""
    try:
        return [text for text in requires(PACKAGE) or [] if "extra ==" not in text]
    except PackageNotFoundError:
        return None


def packages(wanted: Sequence[str] | None) -> Iterator[Finding]:
    """Compare what is installed with what is wanted."""
    if wanted is None:
        yield Finding("packages", "note", f"{PACKAGE} is not installed, its requirements are not known (make setup)")
        return
    lacking = []
    for text in wanted:
        name, least = _requirement(text)
        try:
            found = version(name)
            if _numbers(found) < _numbers(least):
                lacking.append(f"{name} {found}, at least {least} is wanted")
        except PackageNotFoundError:
            lacking.append(f"{name} is missing")
    text = "; ".join(lacking) + " (make setup)" if lacking else f"all {len(wanted)} requirements are met"
    yield Finding("packages", "bad" if lacking else "good", text)


def _requirement(text: str) -> tuple[str, str]:
    """Return name and least version of a requirement such as `ray[train,tune]>=2.50`."""
    found = re.match(r"([A-Za-z0-9._-]+)", text)
    least = re.search(r">=\s*([0-9.]+)", text)
    return found[1] if found else text, least[1] if least else "0"


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("+")[0])[:3])


def imports() -> tuple[list[Finding], int]:
    """Import torch, torchvision and what lanes need of Ray, and use each GPU; return findings, and how many GPUs.

    That is done in processes of their own: a bad pair may not even raise.
    """
    facts, trouble = _facts(TORCH, PAIR, RAY)  # in one: torch takes its time
    if not trouble:
        return [*_torch(facts), Finding("torchvision", "good", facts["torchvision"]), *_devices(facts),
                Finding("Ray", "good", facts["ray"])], len(facts["gpus"])  # fmt: skip
    found, gpus = [], 0
    facts, trouble = _facts(TORCH)
    if trouble:
        found.append(Finding("torch", "bad", f"cannot be imported: {trouble}"))
    else:
        pair, unfit = _facts(PAIR)
        fit = f"does not fit torch {facts['torch']}: {unfit}" if unfit else pair["torchvision"]
        found += [*_torch(facts), Finding("torchvision", "bad" if unfit else "good", fit), *_devices(facts)]
        gpus = len(facts["gpus"])
    facts, trouble = _facts(RAY)
    found.append(
        Finding("Ray", "bad" if trouble else "good", f"cannot be imported: {trouble}" if trouble else facts["ray"])
    )
    return found, gpus


def _torch(facts: Mapping[str, Any]) -> Iterator[Finding]:
    yield Finding("torch", "good", f"{facts['torch']}, {'CUDA ' + facts['cuda'] if facts['cuda'] else 'CPU only'}")


def _devices(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Say which GPUs there are, whether torch can use them, and what pays on what there is."""
    if facts["trouble"]:
        yield Finding("GPUs", "bad", f"cannot be used: {facts['trouble']}")
    else:
        kinds = [name if number == 1 else f"{number} x {name}" for name, number in Counter(facts["gpus"]).items()]
        none = "none: runs train on the CPU"
        yield Finding("GPUs", "good" if kinds else "note", "; ".join(kinds) or none)
    yield _precision(facts)
    yield _compiler(facts)


def _precision(facts: Mapping[str, Any]) -> Finding:
    """Say which precisions should be faster here than fp32."""
    if facts["gpus"]:
        old = {f"{major}.{minor}" for major, minor in facts["capabilities"] if (major, minor) < TENSOR_CORES}
        if old:
            least, found = ".".join(map(str, TENSOR_CORES)), ", ".join(sorted(old))
            return Finding("precision", "note", f"tf32, bf16: no gain expected on compute capability {found} < {least}")
        return Finding("precision", "good", "tf32, bf16: a gain is expected here (tensor cores)")
    if facts["amx"]:
        return Finding("precision", "good", "bf16: a gain is expected here (AMX); tf32 is for GPUs")
    lacks = "AVX512-BF16 but no AMX" if facts["avx512_bf16"] else "no AMX"
    return Finding("precision", "note", f"bf16: no gain expected here ({lacks}); tf32 is for GPUs")


def _compiler(facts: Mapping[str, Any]) -> Finding:
    """Look for what torch.compile needs; without it runs go the eager way."""
    usual = "clang++" if sys.platform == "darwin" else "g++"  # torch takes no other unless it is told
    name = (os.environ.get("CXX", "").split() or [usual])[0]
    lacking = []
    if not shutil.which(name):
        other = "set CXX=clang++" if shutil.which("clang++") else "install g++ or set CXX"
        lacking.append(f"there is no C++ compiler {name} ({other})")
    if facts["gpus"] and not facts["triton"]:
        lacking.append("triton cannot be imported")
    text = f"runs train without it: {'; '.join(lacking)}" if lacking else f"C++ compiler: {name}"
    return Finding("torch.compile", "note" if lacking else "good", text)


def _facts(*programs: str) -> tuple[dict[str, Any], str]:
    """Return what programs find, run as one, or what is wrong."""
    found, trouble = _python_says("".join((*programs, SAY)))
    return ({}, trouble) if trouble else (json.loads(found), "")


def _python_says(program: str) -> tuple[str, str]:
    """Return the last line that a program prints, and the last line of its complaint if it fails."""
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return "", lines[-1] if lines else f"exit code {done.returncode}"
    return done.stdout.strip().splitlines()[-1], ""


def machine() -> Finding:
    """Say how large this machine is."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding("machine", "good", f"{cores} cores, {pages / 2**30:.0f} GiB memory")


def _root(root: Folder) -> Finding:
    """Look at the results folder without making it."""
    try:
        store = Store.open(root)
    except SuiteError as error:
        return Finding("results", "bad", str(error))
    if isinstance(root, ObjectPath):
        return Finding("results", "good", f"{root}: {len(store.keys())} records")
    there = root.absolute()
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK):
        return Finding("results", "bad", f"{there} cannot be written; name another folder with --root")
    free = shutil.disk_usage(there).free
    text = f"{root}: {len(store.keys())} records, {free / 10**9:.1f} GB free"
    return Finding("results", "good" if free >= ROOM else "note", text)


def data(folder: Path, specs: Mapping[str, DatasetSpec]) -> Iterator[Finding]:
    """Look for datasets, by name; one that is not there matters only to the runs that want it."""
    from grace.streams.datasets import check

    for name, spec in specs.items():
        try:
            yield Finding(f"data {name}", "good", check(spec, folder))
        except DataError as error:
            yield Finding(f"data {name}", "note", str(error))
