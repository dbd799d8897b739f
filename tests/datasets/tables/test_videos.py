"""The columns of a table that become paths, labels, segments and further columns."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mgdali.datasets.video_dataset import Video, VideoDataset
from mgdali.errors import DatasetError
from mgdali.video.time_range import TimeRange

ROWS = [
    {"person": "p1", "id": 7, "second": "3", "path": "x/a.mp4"},
    {"person": "p2", "id": 12, "second": "10", "path": "b"},
]


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        ({}, ["x/a.mp4", "b"]),
        ({"root": "/v"}, ["/v/x/a.mp4", "/v/b"]),
        ({"root": Path("v")}, ["v/x/a.mp4", "v/b"]),
        ({"root": "https://server/v/"}, ["https://server/v/x/a.mp4", "https://server/v/b"]),
        ({"path": "{person}/{id}.mp4"}, ["p1/7.mp4", "p2/12.mp4"]),
        ({"path": "{id:03d}_{second:06d}.mp4"}, ["007_000003.mp4", "012_000010.mp4"]),
        ({"path": "/{id}{{x}}", "root": "v"}, ["/7{x}", "/12{x}"]),
        ({"path": "{person}", "template": "img_{:05d}.jpg"}, ["p1/img_%05d.jpg", "p2/img_%05d.jpg"]),
    ],
)
def test_paths_are_a_column_or_a_pattern(arguments: dict[str, Any], paths: list[str]) -> None:
    assert VideoDataset.from_table(ROWS, label=None, **arguments).paths == paths


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "file",
            "the list has no column 'file', but it has person, id, second, path, limit: give the name of .* in path=",
        ),
        ("{file}.mp4", "the list has no column 'file'"),
        ("{id", "path '{id' is not a pattern"),
        ("{}.mp4", "path '{}.mp4' is not a pattern: write the name of a column in each pair of braces"),
        ("{limit:d}", r"row 0 .*, column 'limit': inf does not fit the format 'd'"),
        ("{person:03d}", r"row 0 .*, column 'person': 'p1' does not fit the format '03d'"),
    ],
)
def test_a_wrong_pattern_is_named(path: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        VideoDataset.from_table([{**row, "limit": float("inf")} for row in ROWS], path=path, label=None)


def test_a_path_may_not_be_made_of_floats_without_a_format() -> None:
    table = {"time": [1.5, 2.0], "label": [0, 1]}
    assert VideoDataset.from_table(table, path="{time:.2f}.mp4").paths == ["1.50.mp4", "2.00.mp4"]
    with pytest.raises(DatasetError, match="'time' contains double, but .* needs text or integers: .*{time:.1f}"):
        VideoDataset.from_table(table, path="{time}.mp4")


def test_columns_are_all_others_or_the_chosen_ones() -> None:
    table = [{**row, "label": "run", "start": 1, "end": 2} for row in ROWS]
    assert list(VideoDataset.from_table(table).columns) == ["person", "id", "second"]
    assert list(VideoDataset.from_table(table, path="{id}").columns) == ["person", "id", "second", "path"]
    dataset = VideoDataset.from_table(table, columns=["start", "id"])
    assert dataset.columns == {"start": [1, 1], "id": [7, 12]}
    with pytest.raises(DatasetError, match="the list has no column 'x', but it has .*: give .* in columns="):
        VideoDataset.from_table(table, columns=["x"])


@pytest.mark.parametrize("name", ["", "__index_level_0__"])
def test_the_numbers_of_rows_that_pandas_writes_are_no_column(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.csv").write_text(f"{name},path,label,id\n0,a,0,5\n1,b,1,6\n")
    assert VideoDataset.from_table(tmp_path / "t.csv").columns == {"id": [5, 6]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": "id"}, r"columns is one name, 'id': give a list, such as \['id'\]"),
        ({"columns": [3]}, r"columns is \[3\]: give names of columns"),
        ({"label": []}, "label is an empty list: give names of columns, or None for no labels"),
        ({"path": 3}, "path is 3: give the name of a column, or a pattern"),
        ({"names": "path"}, "names is one name, 'path': give the names of all columns in a list"),
    ],
)
def test_wrong_names_of_columns_are_an_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        VideoDataset.from_table(ROWS, **{"label": None, **arguments})


def test_a_missing_column_of_labels_is_an_error_but_labels_are_optional() -> None:
    with pytest.raises(DatasetError, match="no column 'label', .* in label=, or label=None for no labels"):
        VideoDataset.from_table(ROWS)
    dataset = VideoDataset.from_table(ROWS, label=None)
    assert (dataset.labels.tolist(), dataset.classes, dataset.num_classes) == ([-1, -1], [], 0)


def test_several_columns_are_a_vector(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,x,y,id\na,0,0.5,1\nb,1,,2\n")
    dataset = VideoDataset.from_table(tmp_path / "t.csv", label=["x", "y"])
    np.testing.assert_array_equal(dataset.labels, np.array([[0, 0.5], [1, np.nan]], np.float32))
    assert (dataset.classes, list(dataset.columns)) == (["x", "y"], ["id"])
    with pytest.raises(DatasetError, match=r"label is \['x', 'x'\]: give each column once"):
        VideoDataset.from_table(tmp_path / "t.csv", label=["x", "x"])
    (tmp_path / "t.csv").write_text("path,x,y\na,0,0.5\nb,1,high\n")
    with pytest.raises(
        DatasetError, match=r"t.csv, line 3, column 'y': 'high' is not a number: a vector needs numbers"
    ):
        VideoDataset.from_table(tmp_path / "t.csv", label=["x", "y"])


def test_names_of_classes_may_be_given(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\na,sit\nb,0\n")
    dataset = VideoDataset.from_table(tmp_path / "t.csv", classes=["run", "sit"])
    assert dataset.labels.tolist() == [1, 0]
    with pytest.raises(DatasetError, match=r"t.csv, line 2, column 'label': label 'sit' is unknown; write a number"):
        VideoDataset.from_table(tmp_path / "t.csv", classes=["run"])


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ([0.5, 0], [2, 1.25], [TimeRange(0.5, 2), TimeRange(0, 1.25)]),
        ([None, 1], [2, None], [TimeRange(0, 2), TimeRange(1)]),
        ([None, float("nan")], [None, 3], [None, TimeRange(0, 3)]),
        (["0.5", "00:00:01.25"], ["1:02:03.5", "02:03"], [TimeRange(0.5, 3723.5), TimeRange(1.25, 123)]),
        (["", "0"], ["", "00:02:03.54"], [None, TimeRange(0, 123.54)]),
        ([timedelta(seconds=1.5), None], [timedelta(minutes=1), None], [TimeRange(1.5, 60), None]),
    ],
)
def test_segments_are_numbers_of_seconds_or_timestamps(start: Any, end: Any, expected: Any) -> None:
    dataset = VideoDataset.from_table({"path": ["a", "b"], "label": [0, 1], "start": start, "end": end})
    assert [video.time_range for video in dataset] == expected
    assert dataset.columns == {}


def test_segments_may_be_given_in_frames() -> None:
    table = {"path": ["a", "b"], "label": [0, 1], "first": [1, 31], "stop": [31.0, None]}
    arguments: dict[str, Any] = {"start": "first", "end": "stop", "unit": "frames"}
    parts = [video.time_range for video in VideoDataset.from_table(table, **arguments)]
    assert parts == [TimeRange(1, 31, "frames"), TimeRange(31, None, "frames")]
    dataset = VideoDataset.from_table(table, **arguments, first_frame=1)
    assert list(dataset) == [
        Video("a", 0, None, TimeRange(0, 30, "frames")),
        Video("b", 1, None, TimeRange(30, None, "frames")),
    ]


def test_columns_of_segments_may_be_ignored() -> None:
    assert not VideoDataset.from_table({"path": ["a"], "label": [0], "start": [0], "end": [None]}).has_segments
    table = {"path": ["a"], "label": [0], "start": ["a word"], "end": [None]}
    dataset = VideoDataset.from_table(table, start=None, end=None)
    assert not dataset.has_segments
    assert dataset.columns == {"start": ["a word"], "end": [None]}
    with pytest.raises(DatasetError, match="no column 'begin', .* in start= or end="):
        VideoDataset.from_table(table, start="begin")


@pytest.mark.parametrize(
    ("row", "arguments", "message"),
    [
        ("a,0,5,4", {}, "line 2, column 'end': the end 4 is not after the start 5: correct the row or remove it"),
        ("a,0,-1,4", {}, "line 2, column 'start': '-1' is not a number of seconds: give a number >= 0"),
        ("a,0,soon,4", {}, "line 2, column 'start': 'soon' is not a time: give seconds, .* start=None and end=None"),
        ("a,0,00:61:00,4", {}, "line 2, column 'start': '00:61:00' is not a time"),
        (
            "a,0,1,4.5",
            {"unit": "frames"},
            "column 'end': '4.5' is not a number of frames: give an integer >= 0",
        ),
        ("a,0,0,4", {"unit": "frames", "first_frame": 1}, "column 'start': '0' is not .*: give an integer >= 1"),
        ("a,0,00:01,", {"unit": "frames"}, "column 'start': '00:01' is not a time: give a number of frames"),
    ],
)
def test_a_wrong_segment_is_named_with_its_line(
    tmp_path: Path, row: str, arguments: dict[str, Any], message: str
) -> None:
    (tmp_path / "t.csv").write_text(f"path,label,start,end\n{row}\n")
    with pytest.raises(DatasetError, match=rf"t\.csv, .*{message}"):
        VideoDataset.from_table(tmp_path / "t.csv", **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": "hours"}, r"unit must be one of \('seconds', 'frames'\), got 'hours'"),
        ({"unit": "frames", "first_frame": -1}, "first_frame must be an integer >= 0, got -1"),
        ({"first_frame": 1}, "first_frame=1 needs unit='frames', got unit='seconds'"),
    ],
)
def test_a_wrong_unit_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VideoDataset.from_table(ROWS, label=None, **arguments)
