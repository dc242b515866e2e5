"""Who follows a sweep while it is carried out: the user's screen, the ledger that `watch` reads, and trackers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from suite.cli.settings import Settings
from suite.events import Event
from suite.ledger import Ledger
from suite.live import Live
from suite.plan import Plan
from suite.sweep import Sweep, sweep_name
from suite.trackers import Place, Tracking


class Following:
    """Shows, keeps and passes on what happens: `with following as view: launch(..., following.observe, ...)`.

    That may be done for several stages of a sweep, within `with following.whole():`. None of it can fail a run.
    """

    def __init__(self, settings: Settings, sweep: Sweep) -> None:
        name, root = sweep_name(sweep), settings.root
        self.live = Live([], settings.err, quiet=settings.quiet or settings.json)
        self._ledger = Ledger(root, name, self.live.picture, self._warn)
        self._tracking = Tracking(sweep.launch.track, Place(root, name), self._warn)
        self._settings = settings
        self._open: ExitStack | None = None

    @contextmanager
    def whole(self) -> Iterator[Following]:
        """Hold ledger and trackers open from the first stage to the end of this."""
        with ExitStack() as self._open:
            yield self

    def see(self, found: Plan, done: Collection[str] = ()) -> None:
        """Take in what there is to do, and what of it was `done` without being worked on."""
        self.live.plan([(run.spec, run.done or run.spec.key in done) for run in found.runs], len(found.waiting))
        self._ledger.expect(run.spec.key for run in found.runs)
        self._tracking.expect(run.spec for run in found.left)

    def observe(self, event: Event) -> None:
        """Take in an event."""
        self.live.observe(event)
        self._ledger.touch()
        self._tracking.observe(event)

    def __enter__(self) -> Live:
        """Take the screen."""
        if self._open is not None:
            self._open.enter_context(self._ledger)
            self._open.enter_context(self._tracking)
            self._open = None
        return self.live.__enter__()

    def __exit__(self, *exception: Any) -> None:
        """Leave the screen."""
        self.live.__exit__(*exception)

    def _warn(self, text: str) -> None:
        if self._settings.json or self._settings.quiet:
            self._settings.warn(text)
        else:
            self.live.say(text)
