"""Who draws the figures of a page: this process, or one that gets ready to while rows are read."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from suite.figures import Figure


def drawn(figures: Sequence[Figure]) -> list[str]:
    """Return each figure as SVG for the page."""
    from suite.figures.draw import draw

    return [draw(figure, "svg", ids=figure.id).decode() for figure in figures]


class Painter:
    """Draws figures once. `apart` has a copy of this process do it: to be made early, when there is little to copy."""

    def __init__(self, apart: bool = False) -> None:
        self._pipe: Connection | None = None
        if apart and sys.platform == "linux" and threading.active_count() == 1:
            context = multiprocessing.get_context("fork")
            self._pipe, other = context.Pipe()
            context.Process(target=_serve, args=(other,), daemon=True).start()
            other.close()

    def ask(self, figures: Sequence[Figure]) -> Callable[[], list[str]]:
        """Have figures drawn; what is returned gives their SVG. Where the other process fails this one draws them."""
        if self._pipe is None:
            return lambda: drawn(figures)
        pipe = self._pipe
        pipe.send(figures)

        def wait() -> list[str]:
            try:
                found: list[str] = pipe.recv()
            except EOFError:
                return drawn(figures)
            return found

        return wait


def _serve(pipe: Connection) -> None:
    import suite.figures.draw  # noqa: F401 (imported before anything is asked: it takes most of a second)

    pipe.send(drawn(pipe.recv()))
