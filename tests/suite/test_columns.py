"""Columns against Arrow's own conversion."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suite.columns import column


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64", "uint8"])
def test_columns_are_what_arrow_says(kind: str) -> None:
    values = [*range(100), 7]
    assert column(pa.array(values, kind)).tolist() == values
    assert column(pa.array(values, kind)).dtype == kind
    assert column(pa.array(values, kind).slice(13, 40)).tolist() == values[13:53]
    assert column(pa.chunked_array([pa.array(values, kind), pa.array([5], kind)])).tolist() == [*values, 5]
    assert column(pa.array([], kind)).tolist() == []


def test_what_is_missing_is_marked() -> None:
    values = [3, None, 5, None, None, *range(20), None]
    marked = [-1 if v is None else v for v in values]
    array = pa.array(values, "int16")
    assert column(array).tolist() == marked == array.fill_null(-1).to_pylist()
    assert column(array.slice(3, 9)).tolist() == marked[3:12]
    assert column(array, missing=-9)[1] == -9


def test_reading_a_column_imports_no_pandas(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([1, None], "int16")}), tmp_path / "a.parquet")
    program = (
        "import sys, pyarrow.parquet as pq, suite.columns as c;"
        f"table = pq.ParquetFile({str(tmp_path / 'a.parquet')!r}).read(use_threads=False);"
        "assert c.column(table['a']).tolist() == [1, -1]; sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
