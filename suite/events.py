"""What happens in a sweep, told as it happens: small, plain and cheap to send. Imports nothing of ours."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["claimed", "progress", "task", "finished", "failed", "stopped", "elsewhere", "lane", "output"]
ENDINGS = ("finished", "failed", "stopped", "elsewhere")  # after one of these a lane no longer has the run
NEWS = ("progress", "task")  # a run has come further
MEASURED = ("accuracy", "old", "new", "seen", "backbones", "parameters", "memory_bytes")  # after a task


@dataclass(frozen=True)
class Event:
    """One thing that happened to the run `key` (to a lane, for kind `lane`). By kind, `fields` holds:

    * claimed: lane, attempt (1, and more when its process died before), size (of the lane, in slots of the usual size)
    * progress: task, tasks, phase, epoch, epochs, images_per_second, and of its training so far: trained (epochs of the
      whole run), work (of them, by this attempt), losses (trained, phase and the mean per term of each epoch since the
      event before)
    * task: task, tasks, trained, work, losses, and what was MEASURED: accuracy (headline, on all classes seen), old and
      new (of the classes before and of this task; fractions), seen (classes), backbones, parameters, memory_bytes
    * finished: seconds, or already = True when its record was there
    * failed: the fields of a `suite.record.Failure`
    * stopped: nothing; the state is saved
    * elsewhere: nothing, another process is at it; or shared (key of the first task that another run trains for it),
      pause (seconds until it is worth trying again) and reason
    * lane: state, and by state: "connecting" address (None: a Ray of our own), "connected" nothing, "starting" lanes,
      "ready" lane, host and device (where its runs are worked on from now on; on Ray also process), "lost" lane and
      reason (it is launched again), "broken" lane, reason and code (an exit code), "waiting" reason (what is gone for
      now), "noted" reason (something to say)
    * output: source and text, a line of a log; only where all is to be seen
    """

    kind: Kind
    key: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=time.time)  # seconds since the epoch, by the clock of where it happened


def ready(lane: str, gpu: bool) -> Event:
    """Return the event that tells where a lane is: `device` is cpu, or gpu and the number that it has there."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]  # a run trains on the first one that it sees
    device = f"gpu{seen if seen.isdecimal() else ''}" if gpu else "cpu"
    return Event("lane", "", {"lane": lane, "state": "ready", "host": socket.gethostname(), "device": device})
