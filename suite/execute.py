"""One run from its spec to its record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from grace.checks import DataError
from grace.nets import backbone_factory
from grace.run import run_stream
from grace.storage.folders import Folder
from grace.streams.catalogue import DatasetSpec
from grace.streams.datasets import fingerprint, load
from grace.streams.samples import Dataset
from grace.training.engine import PRECISIONS, Engine, Way
from grace.training.parallel import ALONE, Ranks
from grace.training.trainer import Observer
from suite.configure import build
from suite.declared import declared
from suite.errors import Exit, SuiteError
from suite.plugins import loaded, plugin_of
from suite.provenance import environment, now, processor
from suite.record import RunRecord
from suite.sharing import sharing
from suite.spec import RunSpec

# Read when cuBLAS starts and when memory is first asked for. One of the two small workspaces with which cuBLAS is
# deterministic: the other one takes 32 MiB for every stream, and the products here are small. Segments that grow leave
# less memory unused.
CUDA = {
    "CUBLAS_WORKSPACE_CONFIG": ":16:8",
    "CUBLASLT_WORKSPACE_SIZE": "128",  # KiB: all of that
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",
}


def execute(
    spec: RunSpec,
    folder: Folder,
    *,
    data: Path,
    download: bool,
    threads: int,
    device: torch.device,
    engine: Way,
    checkpoint_seconds: float,
    observe: Observer,
    origin: Mapping[str, Any],
    ranks: Ranks = ALONE,
    shared: Folder | None = None,
) -> RunRecord:
    """Work on one run, going on from what `folder` holds, and return its record.

    `origin` is the part of the provenance that only the launching process knows, `shared` the results folder within
    which runs share first tasks, if they do. Raises Stopped when `observe` asked for it, Busy while another run trains
    this one's first task, NonFiniteLoss, ContractError, DataError, PluginError, and whatever a method raises.
    """
    started = now()
    exact(threads, device, spec.precision)
    learner_class, config_class = loaded(spec.method, spec.plugin)
    if spec.plugin:
        declared(spec.method)  # what is wrong with it should show now, and not at the end of the run
    config = build(config_class, spec.config, spec.method)
    protocol = spec.stream
    order = protocol.class_order(spec.order_seed)
    workers = max(int(device.type == "cuda"), threads - 1)  # a GPU should not wait for this process to decode
    train, test, content = _loaded(protocol.dataset, data, order, download, workers, device)
    smallest = min(int(torch.bincount(train.y).min()), protocol.dataset.shots or len(train.y))
    if protocol.budget.per == "class" and protocol.budget.exemplars > smallest:
        raise DataError(
            f"{protocol.name}: {protocol.budget} exemplars are wanted, and a class of {protocol.dataset.name} has "
            f"{smallest} images; choose +m={smallest}/class or fewer"
        )
    learner = learner_class(config, backbone_factory(protocol.backbone, learner_class.signed), protocol.budget, device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    where = environment(name, threads, engine)
    rows = run_stream(
        learner,
        protocol,
        train,
        test,
        seed=spec.train_seed,
        folder=folder,
        device=device,
        observe=observe,
        checkpoint_seconds=checkpoint_seconds,
        engine=Engine(spec.precision, engine),
        ranks=ranks,
        sharing=None if shared is None else sharing(shared, spec, where, content),
    )
    plugin = plugin_of(spec.method)
    provenance = {
        **origin,
        **where,
        "device_bytes": torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None,
        "method": {"title": learner_class.title, "family": learner_class.family, "reference": learner_class.reference},
        **({"plugin": plugin.provenance()} if plugin else {}),
        "data": content,
        "started": started,
        "finished": now(),
    }
    return RunRecord.of(spec, rows, provenance)


def exact(threads: int, device: torch.device, precision: str) -> None:
    """Make results a function of the spec and the machine; raises ValueError for a precision that is not there.

    Sets every flag every time: a process does many runs, not all of one precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision} is not known; known: {', '.join(PRECISIONS)}")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # filling fresh memory with NaN is a debugging aid: it costs a sixth of a training step and changes no result
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    # torch's own default is TF32 for convolutions alone, whatever the precision; here that is what tf32 is
    convolutions = "tf32" if precision == "tf32" else "ieee"
    torch.backends.cudnn.conv.fp32_precision = convolutions  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    if device.type == "cuda":
        for name, value in CUDA.items():
            os.environ.setdefault(name, value)


@lru_cache(maxsize=2)  # the runs of a sweep share few datasets and orders
def _loaded(
    dataset: DatasetSpec, data: Path, order: tuple[int, ...], download: bool, workers: int, device: torch.device
) -> tuple[Dataset, Dataset, str]:
    """Return both splits, on the device where they are held whole, and their fingerprint."""
    train, test = load(dataset, data, order, download=download, workers=workers)
    content = fingerprint(train, test)
    return train.to(device), test.to(device), content


def device_for(gpus_per_run: float | None) -> torch.device:
    """Return where to train; raises SuiteError where a GPU is asked for and there is none."""
    if gpus_per_run == 0 or (gpus_per_run is None and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise SuiteError(
            f"--gpus-per-run {gpus_per_run:g}: torch {torch.__version__} sees no GPU here; use --gpus-per-run 0",
            Exit.ENVIRONMENT,
        )
    return torch.device("cuda")
