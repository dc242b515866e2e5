"""Addressed randomness: every use of chance has a seed derived from where it happens, never from a shared stream."""

from __future__ import annotations

import hashlib
import json


def derive(seed: int, *address: object) -> int:
    """Return the 63-bit seed of one place in a run, from the run's seed and an address such as (task, phase, epoch)."""
    digest = hashlib.sha256(json.dumps([seed, *map(str, address)]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
