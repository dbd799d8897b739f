"""One shard: its bytes, and its continuation after a process ended."""

from __future__ import annotations

import json
import os
import resource
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mgdali.errors import DatasetError
from mgdali.packing.rows import Identity, ShardRows, rows_of
from mgdali.packing.shard_writer import OpenShard, Sample, as_json, rows_path
from mgdali.video.media import Fingerprint
from tests.support.index_records import make_record


def sample(number: int, size: int = 700) -> Sample:
    content = bytes([number + 1]) * size
    return Sample(
        key=f"key{number}",
        content=np.frombuffer(content, np.uint8),
        record=make_record("", 5, number, fingerprint=Fingerprint(size, 0, "head")),
        label=number,
        class_name=f"class{number}",
        identity=Identity(f"/videos/{number}.mp4", None, 0),
        fingerprint=Fingerprint(1000 + number, 77, "of the original"),
        columns={"number": number},
    )


@contextmanager
def small_disk() -> Iterator[None]:
    """Limit the files that this process writes to 12,000 bytes.

    It is not a fixture: pytest writes its progress before it leaves a fixture, maybe to a larger file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_shard_is_a_tar_with_two_files_per_video(tmp_path: Path) -> None:
    shard = OpenShard(tmp_path, 3)
    record = shard.add(sample(1))
    assert (record.path, record.origin) == ("shard-000003.tar::key1.mp4", "/videos/1.mp4")
    shard.add_failure(Identity("/videos/bad.mp4", None, 0), "broken")
    shard.add(sample(2))
    shard.finish()
    with tarfile.open(tmp_path / "shard-000003.tar") as tar:
        entries = tar.getmembers()
        assert [entry.name for entry in entries] == ["key1.mp4", "key1.json", "key2.mp4", "key2.json"]
        assert {(entry.mtime, entry.uid, entry.gid, entry.uname, entry.mode) for entry in entries} == {
            (0, 0, 0, "", 0o644)
        }
        video, fields = tar.extractfile("key2.mp4"), tar.extractfile("key2.json")
        assert video is not None
        assert fields is not None
        assert video.read() == b"\3" * 700
        assert json.load(fields) == {"number": 2, "label": 2, "class": "class2", "path": "/videos/2.mp4"}
        row = ShardRows(rows_path(tmp_path, 3)).videos().to_pylist()[2]
        assert (row["offset"], row["length"]) == (entries[2].offset_data, 700)
    found = ShardRows(rows_path(tmp_path, 3))
    assert [row.error for row in found.rows()] == [None, "broken", None]
    assert found.rows()[0].fingerprint == Fingerprint(1001, 77, "of the original")
    assert (found.shard().videos, found.shard().bytes) == (2, os.path.getsize(tmp_path / "shard-000003.tar"))
    assert sorted(os.listdir(tmp_path)) == ["shard-000003.tar", "shard-000003.tar.rows.parquet"]


# The end mark of the journal's stream is not needed: eight bytes.
@pytest.mark.parametrize(
    ("shard_cut", "journal_cut", "kept"),
    [(0, 0, 3), (-9, 0, 3), (1, 0, 2), (1100, 0, 2), (10**6, 0, 0), (0, 8, 3), (0, 9, 2), (0, 10**6, 0)],
)
def test_a_shard_is_continued_after_its_last_whole_video(
    shard_cut: int, journal_cut: int, kept: int, tmp_path: Path
) -> None:
    shard = OpenShard(tmp_path, 0)
    for number in range(3):
        shard.add(sample(number))
    shard.close()
    path, journal = tmp_path / "shard-000000.tar", tmp_path / "shard-000000.tar.journal"
    whole = path.read_bytes()
    # A negative cut appends the beginning of a video that was not journalled.
    os.truncate(path, max(0, len(whole) - shard_cut))
    os.truncate(journal, max(0, journal.stat().st_size - journal_cut))
    continued = OpenShard(tmp_path, 0)
    assert (continued.videos, len(rows_of(continued.table))) == (kept, kept)
    for number in range(kept, 3):
        continued.add(sample(number))
    continued.close()
    assert path.read_bytes() == whole


def test_a_journalled_video_with_other_bytes_is_written_again(tmp_path: Path) -> None:
    shard = OpenShard(tmp_path, 0)
    shard.add(sample(0))
    shard.add(sample(1))
    shard.close()
    # As after a power failure: the journal is on the disk, and the video is not.
    with open(tmp_path / "shard-000000.tar", "rb+") as file:
        file.seek(600)
        file.write(bytes(50))
    assert OpenShard(tmp_path, 0).videos == 0


def test_the_size_limits_all_videos_but_the_first(tmp_path: Path) -> None:
    shard = OpenShard(tmp_path, 0)
    assert shard.fits(sample(0, 5000), 4096)
    shard.add(sample(0))
    # Two headers, 1,024 bytes of video, 512 of JSON, and the end of the tar.
    assert shard.fits(sample(1), shard.size + 2560 + 1024)
    assert not shard.fits(sample(1), shard.size + 2560 + 1023)
    shard.close()


def test_a_full_disk_loses_nothing_that_was_added(tmp_path: Path) -> None:
    shard = OpenShard(tmp_path, 0)

    def fill() -> None:
        for number in range(9):
            shard.add(sample(number, 100))

    with (
        small_disk(),
        pytest.raises(DatasetError, match=r"cannot write .*shard-000000\.tar.*run the same command again"),
    ):
        fill()
    kept = shard.videos
    shard.close()
    assert kept >= 1
    assert OpenShard(tmp_path, 0).videos == kept


def test_columns_become_plain_json() -> None:
    fields = {"a": np.int64(3), "b": np.array([1.5]), "c": float("nan"), "d": "ü", 5: None, "e": np.float32("inf")}
    fields["f"] = {1: float("nan")}
    plain = {"a": 3, "b": [1.5], "c": None, "d": "ü", "5": None, "e": None, "f": {"1": None}}
    assert json.loads(as_json(fields)) == plain
