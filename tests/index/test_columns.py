"""Values of single rows of Arrow columns are those of Arrow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mgdali.index.columns import value_reader

NUMBERS = [[1, 2, 3], [], None, [4], [5, 6, 7, 8, 9, 10, 11, 12, 13]]
COLUMNS = {
    "int64": pa.array([1, -(2**60), None, 3], pa.int64()),
    "int16": pa.array([90, 0, 270, 180], pa.int16()),
    "float64": pa.array([29.97, None, 0.0], pa.float64()),
    "string": pa.array(["a.mp4", None, "", "\u00e4\u6f22"], pa.string()),
    "binary": pa.array([b"\x00\xff", None, b""], pa.binary()),
    "int32 lists": pa.array(NUMBERS, pa.list_(pa.int32())),
    "float32 lists": pa.array(NUMBERS, pa.list_(pa.float32())),
    "bool lists": pa.array([None if n is None else [i % 3 > 0 for i in n] for n in NUMBERS], pa.list_(pa.bool_())),
    "nulls": pa.nulls(3, pa.list_(pa.int64())),
    "empty lists": pa.array([[], []], pa.list_(pa.bool_())),
}


@pytest.mark.parametrize("part", [slice(None), slice(1, None), slice(1, 3)])
@pytest.mark.parametrize("name", COLUMNS)
def test_every_value_is_arrows_also_of_a_part_of_a_column(name: str, part: slice) -> None:
    column = COLUMNS[name][part]
    read = value_reader(column)
    for row, expected in enumerate(column.to_pylist()):
        found: Any = read(row)
        if isinstance(expected, list):
            assert isinstance(found, np.ndarray)
            assert found.dtype == column.type.value_type.to_pandas_dtype()
            found = found.tolist()
        assert found == expected
        assert type(found) is type(expected)


def test_lists_of_numbers_are_views() -> None:
    column = COLUMNS["int32 lists"]
    view = value_reader(column)(4)
    assert np.shares_memory(view, column.values.to_numpy())
