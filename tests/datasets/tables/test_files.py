from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mgdali.datasets.video_dataset import VideoDataset
from mgdali.errors import DatasetError

CSV = 'path,label,id,seconds,note\na b.mp4,run,007,1.5,"x, ""y""\nz"\n\n"c,d.mp4", sit ,8,,é\n'
ROWS: list[dict[str, Any]] = [
    {"path": "a.mp4", "label": "run", "id": 7, "when": "2020-01-01", "tags": ["x"]},
    {"path": "b.mp4", "label": None, "id": None},
]


def check_rows(dataset: VideoDataset) -> None:
    assert dataset.paths == ["a.mp4", "b.mp4"]
    assert (dataset.labels.tolist(), dataset.classes) == ([0, -1], ["run"])
    assert dataset.columns == {"id": [7, None], "when": ["2020-01-01", None], "tags": [["x"], None]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", CSV.encode()),
        ("t.CSV", b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode()),
        # Without the time, which would be part of the test's name.
        ("t.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("t.tsv", b"path\tlabel\tid\tseconds\tnote\na b.mp4\trun\t007\t1.5\tx\nc,d.mp4\tsit\t8\t\t\xc3\xa9\n"),
    ],
)
def test_a_csv_file_has_text_integers_and_floats(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    dataset = VideoDataset.from_table(tmp_path / name)
    assert dataset.paths == ["a b.mp4", "c,d.mp4"]
    assert (dataset.labels.tolist(), dataset.classes) == ([0, 1], ["run", "sit"])
    assert dataset.columns["id"] == ["007", "8"]
    assert dataset.columns["seconds"][0] == 1.5
    assert dataset.columns["seconds"][1] != dataset.columns["seconds"][1]
    assert dataset.columns["note"][1] == "é"


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-2", "0"], [1, -2, 0]),
        (["1", "", "3"], [1, None, 3]),
        (["1", "2.5", "1e3"], [1.0, 2.5, 1000.0]),
        (["1", "x", ""], ["1", "x", ""]),
        (["01", "2", "3"], ["01", "2", "3"]),
        (["12345678901234567890", "1", "2"], ["12345678901234567890", "1", "2"]),
        (["true", "false", "true"], ["true", "false", "true"]),
        (["2020-01-01", "2020-01-02", "00:01:02"], ["2020-01-01", "2020-01-02", "00:01:02"]),
    ],
)
def test_the_cells_of_a_column_decide_its_type(tmp_path: Path, cells: list[str], values: list[Any]) -> None:
    (tmp_path / "t.csv").write_text("path,x\n" + "".join(f"{i}.mp4,{cell}\n" for i, cell in enumerate(cells)))
    column = VideoDataset.from_table(tmp_path / "t.csv", label=None).columns["x"]
    assert column == values
    assert [type(value) for value in column] == [type(value) for value in values]


def test_blank_lines_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\npath\n\n  \na.mp4\n\nb.mp4\n\n")
    assert VideoDataset.from_table(tmp_path / "t.csv", label=None).paths == ["a.mp4", "b.mp4"]
    (tmp_path / "t.csv").write_text("\npath,label\n\n  \na.mp4,0\n\nb.mp4,x y\n\n")
    with pytest.raises(DatasetError, match=r"t\.csv, line 7, column 'label'"):
        VideoDataset.from_table(tmp_path / "t.csv", classes=["run"])


def test_a_csv_file_may_have_no_header_and_any_delimiter(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a.mp4|1\nb.mp4|0\n")
    dataset = VideoDataset.from_table(tmp_path / "t.txt", names=["path", "label"], delimiter="|")
    assert (dataset.paths, dataset.labels.tolist()) == (["a.mp4", "b.mp4"], [1, 0])


@pytest.mark.parametrize("name", ["t.jsonl", "t.ndjson", "t.json", "array.json", "t.jsonl.gz"])
def test_json_is_lines_or_an_array(tmp_path: Path, name: str) -> None:
    text = json.dumps(ROWS, indent=1) if name == "array.json" else "\n\n".join(map(json.dumps, ROWS)) + "\n"
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    check_rows(VideoDataset.from_table(str(tmp_path / name)))


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_a_table_may_be_at_a_url(tmp_path: Path, name: str) -> None:
    pytest.importorskip("fsspec")
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    pq.write_table(pa.Table.from_pylist([{**ROWS[0]}, {**dict.fromkeys(ROWS[0]), **ROWS[1]}]), tmp_path / "t.parquet")
    check_rows(VideoDataset.from_table(f"file://{tmp_path / name}"))


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([{**ROWS[0]}, {**dict.fromkeys(ROWS[0]), **ROWS[1]}]), tmp_path / "t.parquet")
    check_rows(VideoDataset.from_table(tmp_path / "t.parquet"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "path,label\na,0\n\nb\n", r"line 4: the row has 1 cells, but there are 2 columns \(path, label\)"),
        ("t.csv", 'path,label\n"a\nb",0\nc,x y\n,1\n', "line 5, column 'path': the value is missing"),
        ("t.csv", 'path,label\na,0\n"b,1\n', "t.csv, line 3: unexpected end of data; correct the quotation marks"),
        ("t.csv", "path,label\na,0\nb,1.5\nc,x\n", "line 3, column 'label': label '1.5' is not a class index"),
        ("t.csv", "path,label,label\na,0,1\n", "has two columns 'label': rename one"),
        ("t.csv", "path;label\na;0\n", "has no column 'path'.* no header, give names=; if other .*, delimiter="),
        ("t.csv", "", "t.csv is empty: give a table with a row of column names"),
        ("t.csv", "path,label\n", "t.csv has no rows: give a table with one row per video"),
        ("t.csv", b"path,label\na,0\n\xe9,1\n", r"t.csv, line 3: the text is not UTF-8"),
        ("t.csv.gz", "path,label\n", "cannot read the table .*t.csv.gz: .*gzip"),
        ("t.xlsx", "", "has the ending '.xlsx': give a table .csv, .tsv, .jsonl"),
        ("t.jsonl", '{"path": "a"}\n\n{"path":\n', "line 3: the line is not a JSON object"),
        ("t.jsonl", "\n", "t.jsonl has no rows"),
        ("t.jsonl", '{"path": "a"}\n[1]\n', r"line 2: '\[1\]' is a list: give an object"),
        ("t.jsonl", '{"path": "a", "label": 1}\n{"path": "b", "label": "x"}\n', "line 2, column 'label': 'x' is a str"),
        ("t.jsonl", '{"x": ' + "[" * 2000 + "]" * 2000 + "}\n", "has no column 'path'|nested too deeply"),
        ("t.json", "[" * 100_000, "t.json: its lists are nested too deeply"),
        (
            "t.json",
            '{"path": ["a"], "label": [1]}',
            "t.json: column 'path' contains list.*: give paths as text, one per",
        ),
        ("t.json", '[{"path": "a"},\n', "t.json, line 2: the text is not JSON"),
        ("t.parquet", "x", "cannot read the table .*t.parquet: .*give a Parquet file"),
    ],
)
def test_a_malformed_file_is_named_with_the_line(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DatasetError, match=message):
        VideoDataset.from_table(tmp_path / name)


@pytest.mark.parametrize("name", ["nowhere.csv", "nowhere.jsonl", "nowhere.parquet"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=rf"cannot read the table .*{name}: No such file"):
        VideoDataset.from_table(tmp_path / name)


def test_arguments_for_csv_files_are_rejected_for_others(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"path": "a"}\n')
    for table in (tmp_path / "t.jsonl", ROWS):
        with pytest.raises(DatasetError, match=r"delimiter= and names= are for CSV files"):
            VideoDataset.from_table(table, names=["path"])
    (tmp_path / "t.csv").write_text("path\n")
    with pytest.raises(DatasetError, match="delimiter must be one character, got ', '"):
        VideoDataset.from_table(tmp_path / "t.csv", delimiter=", ")
