"""How many runs a GPU holds: which shares of it waste nothing, and which share finished runs leave room for."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30
MARGIN = 1.1  # what is allocated is less than what is reserved for it
CONTEXT = round(0.6 * GIB)  # bytes of a GPU that every process on it takes before its first tensor
MOST = 8  # runs on a GPU that are worth suggesting: more take turns at its cores and gain little


def on_each(share: float) -> int:
    """Return how many runs of a share in (0, 1] a GPU holds."""
    return int(1 / share + 1e-6)


def shared(runs: int) -> float:
    """Return the share of each of so many runs on a GPU, as it is written: rounded down to two digits."""
    return (100 // runs) / 100 if runs <= 100 else 1 / runs


def no_waste(share: float) -> float:
    """Return a run's share of a GPU, 0 for none; raises ValueError where a larger one would fit as many runs."""
    if not 0 <= share <= 1:
        raise ValueError(f"must lie between 0 and 1, not {share:g}; workers = 2 trains a run on two of them")
    if share == 0:
        return share
    runs = on_each(share)
    if share < shared(runs) - 1e-9:
        idle = 100 * (1 - share * runs)
        fits = f"{runs} run{'' if runs == 1 else 's'} of {share:g}"
        raise ValueError(
            f"{fits} would leave {idle:.0f} % of each GPU idle; use {shared(runs):g}, or {shared(runs + 1):g} for "
            f"{runs + 1} on each"
        )
    return share


@dataclass(frozen=True)
class Peak:
    """The most GPU memory that a finished run took, and the GPU that it was measured on."""

    size: int  # bytes allocated
    method: str
    protocol: str
    device: str
    total: int | None  # bytes of that GPU; None in records from before that was kept

    @property
    def runs(self) -> int | None:
        """How many such runs that GPU holds at once, MOST at the most; None is unknown."""
        if self.total is None:
            return None
        return min(MOST, int(self.total / (MARGIN * self.size + CONTEXT)))
