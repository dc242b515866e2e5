"""Lists of seeds, as files and options have them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

LARGEST_SEED = 2**32 - 1  # NumPy's legacy generator takes no larger one
MOST_SEEDS = 10_000  # beyond it a range is a slip of the finger


def numbers(value: Any) -> Any:
    """Return the seeds in `"0,1,2"`, `"0-4"` or a list, each once, in order; raises ValueError for other spellings."""
    if isinstance(value, str):
        spans = [re.fullmatch(r"\s*(\d{1,10})(?:-(\d{1,10}))?\s*", part, re.ASCII) for part in value.split(",")]
        if not all(spans):
            raise ValueError(f'seeds are whole numbers from 0, such as 0,1,2 or 0-4, not "{value}"')
        ranges = [range(int(span[1]), int(span[2] or span[1]) + 1) for span in spans if span]
        if not all(ranges):
            raise ValueError(f'a range of seeds rises, as 0-4 does; "{value}" does not')
        if sum(map(len, ranges)) > MOST_SEEDS:
            raise ValueError(f'"{value}" is more than {MOST_SEEDS} seeds')
        value = [seed for each in ranges for seed in each]
    if isinstance(value, list) and all(type(seed) is int for seed in value):
        wrong = [seed for seed in value if not 0 <= seed <= LARGEST_SEED]
        if wrong:
            raise ValueError(f"seeds lie between 0 and {LARGEST_SEED}, {wrong[0]} does not")
        return list(dict.fromkeys(value))
    return value


Seeds = Annotated[list[int], BeforeValidator(numbers), Field(min_length=1)]
