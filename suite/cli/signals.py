"""Whether to stop: what signals and others ask for while a sweep is carried out."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from suite.cli.settings import Settings
from suite.errors import Exit

SOON = 1e-3  # seconds; a timer of none would be no timer


class Stop:
    """Whether to stop. The first Ctrl-C asks for it at the next safe point, the second stops at once.

    SIGTERM asks for it, too, but it comes before a kill: what is not at a safe point after `grace` seconds is stopped
    at once. `wishes` are others that may want it: each says why, or nothing.
    """

    def __init__(self, settings: Settings, wishes: Sequence[Callable[[], str]] = (), grace: float = 25.0) -> None:
        self.say: Callable[[str], None] = settings.note
        self.received: int | None = None  # the first signal
        self._wishes, self._wished, self._grace = wishes, False, grace

    def __call__(self) -> bool:
        """Return whether a signal asked to stop, or somebody wishes it."""
        if not self._wished and (reason := next(filter(None, (wish() for wish in self._wishes)), "")):
            self._wished = True
            self.say(f"{reason}: runs save at their next safe point")
        return self._wished or self.received is not None

    @property
    def preempted(self) -> bool:
        """Whether the first signal was SIGTERM."""
        return self.received == signal.SIGTERM

    @property
    def code(self) -> Exit:
        """The exit code of what was stopped: Ctrl-C is the user's wish, SIGTERM that of a scheduler that may return."""
        by_hand = self.received == signal.SIGINT or (self.received is None and not self._wished)
        return Exit.INTERRUPTED if by_hand else Exit.RESUMABLE

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM while this lasts."""
        hears = {signal.SIGINT: self._hear, signal.SIGTERM: self._hear, signal.SIGALRM: self._end}
        before = {number: signal.signal(number, heard) for number, heard in hears.items()}
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
        within = ""
        if self.preempted:
            signal.setitimer(signal.ITIMER_REAL, max(SOON, self._grace))
            within = f" within {self._grace:g} s"
        self.say(f"stopping: runs save at their next safe point{within} (Ctrl-C again: at once)")

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.say(f"no safe point within {self._grace:g} s: stopped at once; what was saved stays")
        raise KeyboardInterrupt
