"""Checks of values that a user chose; the message of a failed one is written for that user."""

from __future__ import annotations


class DataError(Exception):
    """Images that are missing, damaged or not what they should be; the message names the path and the fix."""


def require(condition: bool, message: str) -> None:
    """Raise ValueError(message) unless `condition` holds."""
    if not condition:
        raise ValueError(message)
