"""Columns of Arrow as NumPy arrays. Arrow's own conversions import pandas, which takes longer than a table does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def column(values: Any, missing: int = -1) -> NDArray[Any]:
    """Return a column of whole numbers, a pyarrow Array or ChunkedArray [n], as an array of its type [n].

    `missing` stands where the column has no value.
    """
    array = values.combine_chunks() if hasattr(values, "chunks") else values
    validity, data = array.buffers()
    kind = np.dtype(str(array.type))
    found = np.frombuffer(data, kind, len(array), array.offset * kind.itemsize) if len(array) else np.empty(0, kind)
    if not array.null_count:
        return found
    bits = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")
    return np.where(bits[array.offset : array.offset + len(array)], found, missing).astype(kind)
