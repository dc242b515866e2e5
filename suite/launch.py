"""What a launch takes and gives, whichever way the runs are worked on. Imports neither torch nor ray."""

from __future__ import annotations

import getpass
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grace.storage.folders import Folder
from grace.training.engine import WAYS, Way
from suite.errors import Exit, SuiteError, unknown
from suite.events import Event

if TYPE_CHECKING:
    from suite.plugin import Plugin
    from suite.record import Failure
    from suite.spec import RunSpec

HERE = "none"  # the address that stands for this process


@dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """Where and how runs are worked on; nothing here is part of what a run is. Raises SuiteError for bad values."""

    root: Folder
    data: Path
    download: bool = True
    address: str | None = None  # None: a Ray of our own; "auto", HOST:PORT or ray://...: a cluster; "none": no Ray
    gpus_per_run: float | None = None  # None: one where there are any; a fraction lets runs share one
    cpus_per_run: int = 1
    max_concurrent: int | None = None
    engine: Way = "auto"  # how to carry out the training; results differ by rounding, as they do between devices
    checkpoint_seconds: float = 60.0
    mixed: bool = False  # where runs take GPUs, nodes without any work too, on their CPUs
    stall_minutes: float = 60.0  # without progress, after which a run is taken for hung
    share: bool = True  # first tasks among runs that begin alike
    patience_minutes: float = 10.0  # to wait for what is gone for now: room on the disk, the root, a node
    sizes: Mapping[str, int] = field(default_factory=dict)  # key -> how many slots' room a run wants, where not one
    verbose: bool = False  # tell of every line that Ray and the runs print
    sources: Mapping[str, str] = field(default_factory=dict)  # key -> where the run's settings come from
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # key -> how a search found those, if one did
    plugins: Sequence[Plugin] = ()  # the user's own methods: their texts, since workers may not see the files

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; make paths absolute, since workers start elsewhere."""
        _usage(self.cpus_per_run >= 1, f"--cpus-per-run must be at least 1, not {self.cpus_per_run}")
        _usage(
            self.gpus_per_run is None or 0 <= self.gpus_per_run <= 1,
            f"--gpus-per-run must lie between 0 and 1, not {self.gpus_per_run}; workers = 2 trains a run on two",
        )
        _usage(
            self.max_concurrent is None or self.max_concurrent >= 1,
            f"--max-concurrent must be at least 1, not {self.max_concurrent}",
        )
        for name in ("checkpoint_seconds", "stall_minutes", "patience_minutes"):
            option = f"--{name.replace('_', '-')}"
            _usage(getattr(self, name) >= 0, f"{option} must not be negative, not {getattr(self, name):g}")
        if self.engine not in WAYS:
            error = unknown("engine", str(self.engine), WAYS, few=True)
            error.code = Exit.USAGE
            raise error
        object.__setattr__(self, "root", self.root.expanduser().absolute())
        object.__setattr__(self, "data", self.data.expanduser().absolute())

    @property
    def scratch(self) -> Path:
        """A folder for the files of Ray and of who starts it: below the root, if that is one that can hold them."""
        if isinstance(self.root, Path):
            return self.root / "ray"
        return Path(tempfile.gettempdir(), f"grace-suite-{getpass.getuser()}", "ray")


def _usage(condition: bool, message: str) -> None:
    if not condition:
        raise SuiteError(message, Exit.USAGE)


@dataclass
class Outcome:
    """What became of a launch: keys of finished runs, failures by key, and whether it was stopped early."""

    finished: list[str] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)
    stopped: bool = False

    def add(self, event: Event) -> None:
        """Take in one event."""
        if event.kind == "finished" and event.key not in self.finished:
            self.finished.append(event.key)
            self.failed.pop(event.key, None)
        elif event.kind == "failed":
            from suite.record import Failure

            self.failed[event.key] = Failure(**event.fields)

    def join(self, later: Outcome) -> None:
        """Take in what became of a later stage."""
        self.finished += [key for key in later.finished if key not in self.finished]
        self.failed |= later.failed
        self.stopped = self.stopped or later.stopped


Observe = Callable[[Event], None]
Launch = Callable[["Sequence[RunSpec]", LaunchOptions, Observe, Callable[[], bool]], Outcome]


def carries(options: LaunchOptions, workers: int) -> None:
    """Raise SuiteError where runs of several workers are to be worked on without Ray."""
    alone = options.address != HERE or workers == 1
    _usage(alone, f"runs of {workers} workers need Ray; leave --address none out, or --workers {workers}")


def launcher(options: LaunchOptions) -> Launch:
    """Return the launch for the address: in this process, or on Ray, which is imported only then."""
    if options.address == HERE:
        from suite import local

        return local.launch
    from suite import lanes

    return lanes.launch


def origin(options: LaunchOptions, key: str, code: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a record's provenance that the launching process knows."""
    tuned = options.tuned.get(key)
    return {**code, "preset": options.sources.get(key), **({"tuned_on": dict(tuned)} if tuned else {})}
