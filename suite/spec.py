"""RunSpec: one run resolved to plain values, and its key. Imports neither torch nor ray."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from grace.storage.folders import Folder
from grace.streams.protocol import Budget, Protocol
from grace.training.engine import Precision
from suite.errors import Exit, SuiteError

SCHEMA = 1  # of records and keys; raised when either changes meaning


def schema_of(mark: Folder) -> int:
    """Return the version that a results root's store.json names; raises SuiteError where it names none, and OSError."""
    try:
        return int(json.loads(mark.read_text())["schema"])
    except (ValueError, TypeError, KeyError):
        message = f"{mark} does not say which version wrote it: restore it, or delete it if this version did"
        raise SuiteError(message, Exit.ENVIRONMENT) from None


@dataclass(frozen=True)
class Allocation:
    """How one run spends the memory of an aligned protocol; see suite.alignment."""

    backbone: str
    exemplars: int | None  # None: the method keeps none, whatever the budget
    size: int  # the budget in bytes, by the survey's count
    branches: int | None = None  # for how many backbones it was solved, where that depends on the images


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One run: everything that determines its result, and nothing else (no paths, devices or lanes)."""

    method: str
    config: dict[str, Any]  # the resolved Config: plain values, recipes as dictionaries
    protocol: Protocol
    order_seed: int  # of the class order (NumPy's legacy generator)
    train_seed: int  # of weights, batches and views
    precision: Precision = "fp32"
    workers: int = 1  # that share its batches: sums and batch norms are others, so it is another class of precision
    plugin: str = ""  # digest of the file that holds the method, where it is not one of ours
    smoke: bool = False  # epochs were limited: not a result
    allocation: Allocation | None = None  # where the protocol gives every method the same memory

    def identity(self) -> dict[str, Any]:
        """Return the plain values that the key is a hash of."""
        plugin = {"plugin": self.plugin} if self.plugin else {}  # keys of our own methods are what they were
        workers = {"workers": self.workers} if self.workers > 1 else {}
        allocation = {"allocation": asdict(self.allocation)} if self.allocation else {}
        return {
            "schema": SCHEMA,
            "method": self.method,
            "config": self.config,
            "protocol": self.protocol.identity(),
            "order_seed": self.order_seed,
            "train_seed": self.train_seed,
            "precision": self.precision,
            "smoke": self.smoke,
            **workers,
            **plugin,
            **allocation,
        }

    @cached_property
    def key(self) -> str:
        """Hash of the identity: 16 hexadecimal digits of BLAKE2b over its canonical JSON."""
        text = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @cached_property
    def stream(self) -> Protocol:
        """The protocol as the run meets it: with its share of an aligned memory, and no alignment."""
        if self.allocation is None:
            return self.protocol
        exemplars, backbone = self.allocation.exemplars, self.allocation.backbone
        budget = self.protocol.budget if exemplars is None else Budget(exemplars)
        # a share that is what the protocol has anyway is no other share
        classes = sum(self.protocol.increments)
        if all(budget.share(n) == self.protocol.budget.share(n) for n in range(1, classes + 1)):
            budget = self.protocol.budget
        return replace(self.protocol, alignment="", backbone=backbone, budget=budget)

    @cached_property
    def twin(self) -> str:
        """Key of the run without alignment that has the very same content; its own where it has no alignment."""
        return replace(self, protocol=self.stream, allocation=None).key

    @property
    def label(self) -> str:
        """How people read it: `grace cifar100-b0i10 o1993 s0`; then `bf16`, `x2` for another precision, two workers."""
        precision = "" if self.precision == "fp32" else f" {self.precision}"
        workers = "" if self.workers == 1 else f" x{self.workers}"
        return f"{self.method} {self.protocol.name} o{self.order_seed} s{self.train_seed}{precision}{workers}"
