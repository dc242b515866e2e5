"""What happens in a sweep, told as it happens: small, plain and cheap to send. Imports nothing of ours."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["claimed", "progress", "task", "finished", "failed", "stopped", "elsewhere", "lane"]
ENDINGS = ("finished", "failed", "stopped", "elsewhere")  # after one of these a lane no longer has the run


@dataclass(frozen=True)
class Event:
    """One thing that happened to the run `key` (to a lane, for kind `lane`). By kind, `fields` holds:

    * claimed: lane, attempt (1, and more when its process died before)
    * progress: task, tasks, phase, epoch, epochs, images_per_second, work (epochs trained by this attempt)
    * task: task, tasks, accuracy (headline, on all classes seen; a fraction), work
    * finished: seconds, or already = True when its record was there
    * failed: the fields of a `suite.record.Failure`
    * stopped, elsewhere: nothing; the state is saved, another process is at it
    * lane: state, and by state: "connecting" address (None: a Ray of our own), "connected" nothing, "starting" lanes,
      "lost" lane and reason (it is launched again), "broken" lane, reason and code (an exit code)
    """

    kind: Kind
    key: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=time.time)  # seconds since the epoch, by the clock of where it happened
