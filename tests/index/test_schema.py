"""Formats of index files: older ones are read, newer ones are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mgdali.errors import DatasetError
from mgdali.index.inspect import summarize_index
from mgdali.index.reader import MotionIndex
from mgdali.index.schema import FORMAT, REQUIRED, SCHEMA, to_batch
from mgdali.index.writer import IndexWriter
from tests.support.index_records import contents, make_record

NEW = ("origin", "extradata", "packet_offsets", "packet_sizes")
RECORD = make_record("/videos/a.mp4")


def of_format_1() -> pa.Table:
    """Return what version 0.1 wrote: without the columns of format 2, and without a number."""
    return pa.Table.from_batches([to_batch([RECORD])]).select(list(REQUIRED)).replace_schema_metadata(None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "videos.parquet"


@pytest.mark.parametrize(("root", "number"), [(None, b"2"), ("/videos", b"3")])
def test_only_a_file_with_relative_names_has_a_format_that_older_versions_refuse(
    path: Path, root: str | None, number: bytes
) -> None:
    writer = IndexWriter(path, root=root)
    writer.add(RECORD)
    writer.commit()
    assert pq.read_schema(path).metadata[b"mgdali.format"] == number
    assert pq.read_table(path)["path"].to_pylist() == [RECORD.path if root is None else "a.mp4"]


def test_a_file_of_version_0_1_is_read_and_columns_that_it_lacks_are_null(path: Path) -> None:
    pq.write_table(of_format_1(), path)
    record = MotionIndex(path).find(RECORD.path)
    assert record is not None
    assert all(getattr(record, name) is None for name in NEW)
    assert contents(record, without=NEW) == contents(RECORD, without=NEW)
    assert summarize_index(path).videos == 1


def test_rows_are_added_to_a_file_of_version_0_1(path: Path) -> None:
    pq.write_table(of_format_1(), path)
    writer = IndexWriter(path)
    writer.add(make_record("/videos/b.mp4", seed=1))
    assert writer.commit() == 2
    assert pq.read_schema(path).equals(SCHEMA, check_metadata=False)
    added = MotionIndex(path).find("/videos/b.mp4")
    assert added is not None
    assert added.packet_sizes is not None


def test_the_journal_of_an_interrupted_build_of_version_0_1_is_read(path: Path) -> None:
    parts = Path(f"{path}.parts")
    parts.mkdir()
    (batch,) = of_format_1().to_batches()
    with pa.OSFile(os.fspath(parts / "left.journal"), "wb") as file, pa.ipc.new_stream(file, batch.schema) as stream:
        stream.write_batch(batch)
    assert IndexWriter(path).commit() == 1
    assert MotionIndex(path).find(RECORD.path) is not None


@pytest.mark.parametrize("end", ["", " format 2"])
def test_a_mapped_copy_of_an_older_version_is_created_again(path: Path, end: str) -> None:
    pq.write_table(of_format_1(), path)
    stamp = f"{path.stat().st_size} {path.stat().st_mtime_ns}{end}"
    old = pa.schema([pa.field("path", pa.string())], {b"mgdali.source": stamp.encode()})
    with pa.OSFile(f"{path}.map", "wb") as file, pa.ipc.new_file(file, old):
        pass
    record = MotionIndex(path).find(RECORD.path)
    assert record is not None
    assert record.times is not None


def test_unknown_columns_are_ignored(path: Path) -> None:
    table = pa.Table.from_batches([to_batch([RECORD])])
    pq.write_table(table.append_column("mood", pa.array(["good"])), path)
    record = MotionIndex(path).find(RECORD.path)
    assert record is not None
    assert contents(record) == contents(RECORD)


@pytest.mark.parametrize("number", [str(FORMAT + 1), "2b"])
def test_a_newer_format_is_refused_with_advice(path: Path, number: str) -> None:
    table = pa.Table.from_batches([to_batch([RECORD])])
    pq.write_table(table.replace_schema_metadata({b"mgdali.format": number}), path)
    for opened in (MotionIndex, IndexWriter, summarize_index):
        with pytest.raises(DatasetError, match=f"has format {number}.*install a newer version of MGDali"):
            opened(path)


def test_names_of_an_index_may_be_relative_to_a_folder_or_url(path: Path, tmp_path: Path) -> None:
    writer = IndexWriter(path)
    writer.add(make_record("shard-0.tar::a.mp4"))
    writer.commit()
    for root in (tmp_path, "https://host/pack", "https://host/pack/"):
        index = MotionIndex(path, root=root)
        assert index.find(f"{str(root).rstrip('/')}/shard-0.tar::a.mp4") is not None
        assert index.find("/elsewhere/shard-0.tar::a.mp4") is None
