from __future__ import annotations

import json
import pickle

import numpy as np
import pyarrow as pa
import pytest

from mgdali.datasets.tables.column import TableColumn
from mgdali.datasets.video_dataset import VideoDataset


def test_a_column_is_a_sequence_of_python_values() -> None:
    column = TableColumn(pa.array(["a", None, "c"]))
    assert (len(column), column[0], column[-1], column[np.int64(1)]) == (3, "a", "c", None)
    assert column == ["a", None, "c"] == column.tolist()
    assert column != ["a", None, "d"]
    assert column[::-2] == ["c", "a"]
    assert column.index("c") == 2
    assert json.dumps(list(TableColumn(pa.array([1, 2])))) == "[1, 2]"
    assert repr(TableColumn(pa.array(range(9)))) == "[0, 1, 2, 3, 4, …]"
    with pytest.raises(IndexError):
        _ = column[3]


def test_a_column_can_be_sent_to_another_process_and_converted() -> None:
    column = TableColumn(pa.array([1, 2, 3]))
    assert pickle.loads(pickle.dumps(column)) == column
    assert np.array(column, np.float32).dtype == np.float32
    assert np.array_equal(np.asarray(column), [1, 2, 3])


def test_a_column_may_be_given_to_another_data_set() -> None:
    table = VideoDataset.from_table([{"path": "a", "label": 0, "id": 7}])
    assert VideoDataset(["b"], [0], columns=table.columns).columns == {"id": [7]}
