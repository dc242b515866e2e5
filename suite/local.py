"""Runs one after the other in this process, without Ray: for tests, debuggers and machines of one run at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from suite.attempt import attempt
from suite.events import Event, ready
from suite.execute import device_for
from suite.launch import LaunchOptions, Observe, Outcome, carries
from suite.line import serve
from suite.provenance import code
from suite.queue import Claim, Queue
from suite.spec import RunSpec
from suite.store import Store

LANE = "here"


def launch(
    specs: Sequence[RunSpec], options: LaunchOptions, observe: Observe, should_stop: Callable[[], bool]
) -> Outcome:
    """Work on the runs; `should_stop` is asked after every epoch, KeyboardInterrupt stops at once."""
    carries(options, max((spec.workers for spec in specs), default=1))
    device = device_for(options.gpus_per_run)
    runs = {spec.key: spec for spec in specs}
    store, queue, outcome, origin = Store.open(options.root, write=True), Queue(list(runs)), Outcome(), code()
    asked = False

    def flush() -> None:
        for event in queue.look().events:
            outcome.add(event)
            observe(event)

    def tell(event: Event) -> None:
        queue.report(LANE, event.key, [event])
        flush()

    def stopping() -> bool:
        nonlocal asked
        if should_stop():
            queue.stop()
            asked = True
        return asked

    def work(claim: Claim) -> Event:
        flush()
        if stopping():
            return Event("stopped", str(claim.key))
        return attempt(runs[str(claim.key)], store, options, tell, stopping, origin)

    def pause(seconds: float) -> None:
        flush()
        if not stopping():
            time.sleep(min(seconds, 0.2))

    observe(ready(LANE, device.type == "cuda"))
    try:
        serve(queue, LANE, work, pause)
    except KeyboardInterrupt:
        asked = True
    flush()
    outcome.stopped = asked and bool(queue.look().left)
    return outcome
