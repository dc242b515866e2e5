"""Class-incremental learning methods over one engine: streams, nets, losses, memory, training, run.

The names below are loaded when first used, so that reading a protocol or a plan imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "Augmentation": "grace.streams.catalogue",
    "BACKBONES": "grace.nets",
    "Backbone": "grace.nets.backbone",
    "Batch": "grace.streams.samples",
    "Budget": "grace.streams.protocol",
    "ContractError": "grace.contract",
    "CosineHead": "grace.nets.heads",
    "DATASETS": "grace.streams.registry",
    "DataError": "grace.checks",
    "Dataset": "grace.streams.samples",
    "DatasetSpec": "grace.streams.catalogue",
    "Footprint": "grace.footprint",
    "IncrementalNet": "grace.nets.incremental",
    "Learner": "grace.learner",
    "LinearHead": "grace.nets.heads",
    "METHODS": "grace.methods",
    "Memory": "grace.memory",
    "NonFiniteLoss": "grace.training.trainer",
    "Phase": "grace.training.phase",
    "Progress": "grace.training.trainer",
    "Protocol": "grace.streams.protocol",
    "Recipe": "grace.training.phase",
    "Samples": "grace.streams.samples",
    "Stopped": "grace.training.trainer",
    "Task": "grace.streams.samples",
    "TaskRecord": "grace.run",
    "Trainer": "grace.training.trainer",
    "backbone_factory": "grace.nets",
    "begin": "grace.training.beginning",
    "derive": "grace.seeds",
    "load": "grace.streams.datasets",
    "method": "grace.methods",
    "run_stream": "grace.run",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it; raises AttributeError for any other."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'grace' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
