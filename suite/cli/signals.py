"""Whether to stop: what signals and others ask for while a sweep is carried out."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from suite.cli.settings import Settings
from suite.errors import Exit


class Stop:
    """Whether to stop. The first Ctrl-C asks for it at the next safe point, the second stops at once."""

    def __init__(self, settings: Settings, asked: Callable[[], bool]) -> None:
        self.say: Callable[[str], None] = settings.note
        self.received: int | None = None  # the signal
        self._asked, self._told = asked, False

    def __call__(self) -> bool:
        """Return whether a signal asked to stop, or somebody did by `stop`."""
        if not self._told and self._asked():
            self._told = True
            self.say("asked to stop: runs save at their next safe point")
        return self._told or self.received is not None

    @property
    def code(self) -> Exit:
        """The exit code of what was stopped: Ctrl-C is the user's wish, SIGTERM that of a scheduler that may return."""
        by_hand = self.received == signal.SIGINT or (self.received is None and not self._told)
        return Exit.INTERRUPTED if by_hand else Exit.RESUMABLE

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM while this lasts."""
        before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
        self.say("stopping: runs save at their next safe point (Ctrl-C again: at once)")
