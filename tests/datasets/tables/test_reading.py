from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from mgdali.datasets.video_dataset import VideoDataset
from mgdali.errors import DatasetError

COLUMNS: dict[str, list[Any]] = {
    "path": ["a.mp4", "b.mp4", "c.mp4"],
    "label": ["sit", None, "run"],
    "id": [3, 1, 2],
    "tags": [["x"], [], None],
}
ROWS = [dict(zip(COLUMNS, values, strict=True)) for values in zip(*COLUMNS.values(), strict=True)]


def pandas_frame() -> Any:
    return pytest.importorskip("pandas").DataFrame(COLUMNS)


def polars_frame() -> Any:
    return pytest.importorskip("polars").DataFrame(COLUMNS)


def hugging_face_dataset() -> Any:
    return pytest.importorskip("datasets").Dataset.from_dict(COLUMNS)


class Stream:
    """A table with Arrow's interface for other libraries."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.table(COLUMNS).__arrow_c_stream__(requested_schema)


class Dataset:
    """The part of a ``Dataset`` of Hugging Face that is used, with the columns' real metadata."""

    def __init__(self, table: pa.Table, asked: list[list[str]] | None = None) -> None:
        self._table = table
        self.column_names = table.column_names
        self.asked = [] if asked is None else asked
        self.features = self
        self.arrow_schema = table.schema

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: slice) -> pa.Table:
        return self._table[index]

    def select_columns(self, names: list[str]) -> Dataset:
        self.asked.append(names)
        return Dataset(self._table.select(names))

    def with_format(self, kind: str) -> Dataset:
        assert kind == "arrow"
        return self


@pytest.mark.parametrize(
    "make",
    [
        lambda: ROWS,
        lambda: COLUMNS,
        lambda: pa.table(COLUMNS),
        lambda: pa.table(COLUMNS).to_batches()[0],
        lambda: Dataset(pa.table(COLUMNS)),
        Stream,
        pandas_frame,
        polars_frame,
        hugging_face_dataset,
    ],
    ids=["dicts", "lists", "arrow", "batch", "like-hugging-face", "stream", "pandas", "polars", "hugging-face"],
)
def test_tables_of_every_kind_give_the_same_data_set(make: Any) -> None:
    dataset = VideoDataset.from_table(make(), root="/videos")
    assert dataset.paths == ["/videos/a.mp4", "/videos/b.mp4", "/videos/c.mp4"]
    assert (dataset.labels.tolist(), dataset.classes) == ([1, -1, 0], ["run", "sit"])
    assert dataset.columns == {"id": [3, 1, 2], "tags": [["x"], [], None]}


def test_paths_arrays_and_tensors_may_be_columns() -> None:
    table = {"path": [Path("a.mp4"), Path("b.mp4")], "label": torch.eye(2), "x": np.array([1, 2], np.uint8)}
    dataset = VideoDataset.from_table(table)
    assert (dataset.paths, dataset.labels.tolist()) == (["a.mp4", "b.mp4"], [[1, 0], [0, 1]])
    assert dataset.columns == {"x": [1, 2]}


def test_integers_that_pandas_has_made_floats_are_class_indices_if_there_are_classes() -> None:
    frame = pytest.importorskip("pandas").DataFrame({"path": ["a", "b"], "label": [1, None]})
    assert VideoDataset.from_table(frame, classes=["run", "sit"]).labels.tolist() == [1, -1]
    assert VideoDataset.from_table(frame).classes == []
    with pytest.raises(DatasetError, match=r"row 0 \(the first is row 0\), column 'label': label 0.5 \(float\) is not"):
        VideoDataset.from_table({"path": ["a"], "label": [0.5]}, classes=["run", "sit"])


def test_classes_are_those_that_hugging_face_stores() -> None:
    info = '{"info": {"features": {"label": {"names": ["u", "v", "w"], "_type": "ClassLabel"}, "path": {}}}}'
    asked: list[list[str]] = []
    files = [{"path": "a.mp4", "bytes": None}, {"path": "b.mp4", "bytes": None}]
    table = pa.table({"path": files, "label": [1, -1], "other": [2, 3]})
    dataset = VideoDataset.from_table(Dataset(table.replace_schema_metadata({"huggingface": info}), asked), columns=[])
    assert (dataset.paths, dataset.labels.tolist()) == (["a.mp4", "b.mp4"], [1, -1]), "-1 is a missing label"
    assert dataset.classes == ["u", "v", "w"]
    assert asked == [["path", "label"]], "columns that are not needed, such as the bytes of videos, are not read"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (3, "the table is a int: give the path of a file"),
        ([], "the list has no rows: give a table with one row per video"),
        ([{}], "the list has no column 'path', but it has no column"),
        (["a.mp4"], r"the list, row 0 \(the first is row 0\): 'a.mp4' is a str: give an object"),
        ({"path": "a.mp4", "label": [1]}, "column 'path' is 'a.mp4': give a list with one value per row"),
        ({"path": ["a"], "label": [1, 2]}, "columns of different lengths"),
        (
            {"path": ["a", "b"], "label": [1, "x"]},
            r"row 1 .*, column 'label': 'x' is a str, but the first .* a int",
        ),
        ({"path": [1, 2], "label": [1, 2]}, "column 'path' contains int64: give paths as text"),
        ({"path": ["a", None], "label": [1, 2]}, r"row 1 .*, column 'path': the value is missing"),
        ({"path": [{"path": None, "bytes": b"x"}], "label": [1]}, r"row 0 .*, column 'path': the value is missing"),
        ([{"path": "a", "label": 1, 3: 4}], r"the list has a column 3 \(int\): give it a name of type str"),
        ({"path": ["a"], "label": [0], "x": [1j]}, "column 'x' has values of type complex that a table cannot contain"),
        ({"path": ["a"], "label": [-1]}, "label -1 is outside .*: give None for a missing label"),
        ({"path": [{"bytes": b"x"}], "label": [1]}, "column 'path' contains dicts without the entry 'path'"),
        ({"path": ["a"], "label": [True]}, r"column 'label': label True \(bool\) is not a class index"),
    ],
)
def test_a_wrong_table_is_an_error_that_says_what_to_give(table: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        VideoDataset.from_table(table)


def test_splits_and_streams_of_hugging_face_are_named() -> None:
    class Splits(dict[str, Dataset]):
        with_format = None

    class Streamed:
        with_format = None

    with pytest.raises(DatasetError, match=r"the Splits contains several splits \(train\): give one.*table\['train'\]"):
        VideoDataset.from_table(Splits(train=Dataset(pa.table(COLUMNS))))
    with pytest.raises(DatasetError, match="the Streamed is read as a stream: load it without streaming=True"):
        VideoDataset.from_table(Streamed())
