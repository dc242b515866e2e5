"""What a user may say of a table."""

from __future__ import annotations

from typing import NamedTuple


class Options(NamedTuple):
    """Digits of percentages, ids of columns in place of the usual ones, the method that memory saved is against."""

    digits: int = 1
    columns: tuple[str, ...] = ()
    against: str = ""
