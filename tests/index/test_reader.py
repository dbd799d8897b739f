"""Looking up videos in an index."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mgdali.cache import cache_folder
from mgdali.errors import DatasetError
from mgdali.index import reader
from mgdali.index.reader import MotionIndex
from mgdali.index.writer import IndexWriter
from mgdali.video.record import VideoRecord
from tests.support.index_records import contents, make_record


def write(path: Path, *records: VideoRecord) -> None:
    writer = IndexWriter(path)
    for record in records:
        writer.add(record)
    writer.commit()


def path_of(index: MotionIndex, video: str | Path) -> str | None:
    record = index.find(os.fspath(video))
    return None if record is None else record.path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mgdali"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An index of three videos in a separate folder."""
    path = tmp_path / "index" / "videos.parquet"
    failed = VideoRecord(path=str(tmp_path / "c.mp4"), error="broken")
    write(path, make_record(str(tmp_path / "a.mp4"), 20, 1), make_record(str(tmp_path / "b.mp4"), 30, 2), failed)
    return path


def test_a_record_is_all_that_was_written(path: Path, tmp_path: Path) -> None:
    index = MotionIndex(path)
    record = index.find(str(tmp_path / "b.mp4"))
    assert record is not None
    assert contents(record) == contents(make_record(record.path, 30, 2))
    failed = index.find(str(tmp_path / "c.mp4"))
    assert failed is not None
    assert failed.error == "broken"


def test_a_video_is_found_by_absolute_and_relative_path(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = MotionIndex(path)
    monkeypatch.chdir(tmp_path)
    for name in (str(tmp_path / "a.mp4"), "a.mp4", "./a.mp4", "index/../a.mp4"):
        assert path_of(index, name) == str(tmp_path / "a.mp4")


def test_a_video_that_is_not_in_the_index_is_none(path: Path, tmp_path: Path) -> None:
    index = MotionIndex(path)
    assert index.find(str(tmp_path / "d.mp4")) is None
    assert index.find("a.mp4") is None


def test_urls_and_members_of_tars_are_found_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["s3://bucket/a.mp4", "https://host/x.tar::a/b.mp4", str(tmp_path / "x.tar::a/b.mp4")]
    write(tmp_path / "i.parquet", *map(make_record, names))
    index = MotionIndex("i.parquet")
    assert [path_of(index, name) for name in (*names[:2], "x.tar::a/b.mp4")] == names


def test_a_data_set_that_was_moved_is_found_by_its_new_place(path: Path, tmp_path: Path) -> None:
    now = tmp_path / "elsewhere"
    index = MotionIndex(path, moved=(tmp_path, now))
    assert path_of(index, now / "a.mp4") == str(tmp_path / "a.mp4")
    # A folder whose name only begins alike is another.
    assert index.find(f"{now}2/a.mp4") is None
    # A video that was not moved is found by its old path.
    assert path_of(index, tmp_path / "b.mp4") == str(tmp_path / "b.mp4")


def test_a_whole_disk_may_have_been_moved(tmp_path: Path) -> None:
    write(tmp_path / "i.parquet", make_record("/data/a.mp4"))
    assert path_of(MotionIndex(tmp_path / "i.parquet", moved=("/data", "/")), "/a.mp4") == "/data/a.mp4"
    assert path_of(MotionIndex(tmp_path / "i.parquet", moved=("/", "/mnt/")), "/mnt/data/a.mp4") == "/data/a.mp4"


def test_rows_are_those_of_the_file_and_beyond_is_an_error(path: Path) -> None:
    index = MotionIndex(path)
    assert len(index) == 3
    assert len({index[i].path for i in range(3)}) == 3
    for row in (3, -1):
        with pytest.raises(IndexError, match=r"outside \[0, 3\)"):
            index[row]


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    write(tmp_path / "i.parquet")
    index = MotionIndex(tmp_path / "i.parquet")
    assert len(index) == 0
    assert index.find("a.mp4") is None


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 9000])
def test_videos_with_the_same_key_are_told_apart(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "name_key", lambda name: 7)
    path = tmp_path / "i.parquet"
    # With thousands of them the equal keys go on over several batches.
    write_many(path, count)
    index = MotionIndex(path)
    for number in {0, 1, count // 2, count - 1}:
        assert path_of(index, f"/videos/{number}.mp4") == f"/videos/{number}.mp4"
    assert index.find("/videos/none.mp4") is None


def write_many(path: Path, count: int) -> None:
    write(path, *(VideoRecord(path=f"/videos/{i}.mp4", error=str(i)) for i in range(count)))


@pytest.mark.slow
def test_every_one_of_many_rows_is_found(tmp_path: Path) -> None:
    count = 10_000
    write_many(tmp_path / "i.parquet", count)
    index = MotionIndex(tmp_path / "i.parquet")
    assert len(index._batches) >= 3
    for number in range(count):
        record = index.find(f"/videos/{number}.mp4")
        assert record is not None
        assert record.error == str(number)
    assert not any(index.find(f"/videos/{number}.mp4") for number in range(count, count + 1000))


def test_the_copy_is_made_once(path: Path) -> None:
    MotionIndex(path)
    copy = Path(f"{path}.map")
    before = copy.stat()
    MotionIndex(path)
    assert copy.stat() == before
    assert sorted(os.listdir(path.parent)) == [path.name, copy.name]


def test_the_copy_is_made_anew_when_the_file_changes_and_open_indices_stay_as_they_are(
    path: Path, tmp_path: Path
) -> None:
    before = MotionIndex(path)
    write(path, make_record(str(tmp_path / "a.mp4"), 99, 3), make_record("/new.mp4"))
    after = MotionIndex(path)
    assert (len(before), len(after)) == (3, 4)
    for index, num_frames in ((before, 20), (after, 99)):
        record = index.find(str(tmp_path / "a.mp4"))
        assert record is not None
        assert record.num_frames == num_frames
    assert before.find("/new.mp4") is None


@pytest.mark.parametrize("content", [b"", b"torn", None])
def test_a_copy_that_is_not_whole_is_made_anew(path: Path, content: bytes | None, tmp_path: Path) -> None:
    MotionIndex(path)
    copy = Path(f"{path}.map")
    copy.write_bytes(copy.read_bytes()[:-100] if content is None else content)
    assert path_of(MotionIndex(path), tmp_path / "a.mp4") == str(tmp_path / "a.mp4")


def test_unfinished_copies_of_killed_processes_are_removed(path: Path) -> None:
    left = [path.with_name(f"{path.name}.map.{digit * 32}") for digit in "abc"]
    for each in left:
        each.touch()
    for old in left[:2]:
        os.utime(old, (0, 0))
    with open(left[1], "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        MotionIndex(path)
    assert [each.exists() for each in left] == [False, True, True], "neither a locked copy nor a new one is removed"


def test_where_the_copy_cannot_lie_beside_the_file_the_cache_folder_takes_it(
    path: Path, cache: Path, tmp_path: Path
) -> None:
    # A folder in its place: what keeps others than root from a read-only folder keeps nobody from this.
    Path(f"{path}.map").mkdir()
    assert path_of(MotionIndex(path), tmp_path / "a.mp4") == str(tmp_path / "a.mp4")
    (copy,) = (cache / "index").iterdir()
    assert cache_folder() == cache
    made = copy.stat().st_mtime_ns
    MotionIndex(path)
    assert copy.stat().st_mtime_ns == made
    assert sorted(os.listdir(path.parent)) == [path.name, f"{path.name}.map"]


def test_where_no_copy_can_be_made_both_places_are_named(path: Path, cache: Path) -> None:
    Path(f"{path}.map").mkdir()
    cache.parent.write_text("in the way")
    with pytest.raises(DatasetError) as caught:
        MotionIndex(path)
    assert f"{path}.map" in str(caught.value)
    assert str(cache) in str(caught.value)


def test_two_indices_of_one_name_share_no_copy_in_the_cache(tmp_path: Path, cache: Path) -> None:
    for folder in ("one", "two"):
        file = tmp_path / folder / "i.parquet"
        write(file, make_record(f"/{folder}.mp4"))
        Path(f"{file}.map").mkdir()
    one, two = (MotionIndex(tmp_path / folder / "i.parquet") for folder in ("one", "two"))
    assert path_of(one, "/one.mp4") == "/one.mp4"
    assert path_of(two, "/two.mp4") == "/two.mp4"


def test_a_missing_index_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="mgdali index build DATA --out"):
        MotionIndex(tmp_path / "none.parquet")


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("no parquet")
    with pytest.raises(DatasetError, match="not a motion index"):
        MotionIndex(tmp_path / "a.parquet")


@pytest.mark.slow
def test_opening_and_looking_up_copy_little_of_a_large_index(tmp_path: Path) -> None:
    path = tmp_path / "i.parquet"
    motion = np.ones(20_000, np.float32)
    write(path, *(make_record(f"/{i}.mp4", 20_000, motion={"image": motion}) for i in range(200)))
    MotionIndex(path)
    assert Path(f"{path}.map").stat().st_size > 30 << 20
    before = pa.total_allocated_bytes()
    index = MotionIndex(path)
    record = index.find("/77.mp4")
    assert record is not None
    assert record.motion["image"].sum() == 20_000
    assert pa.total_allocated_bytes() - before < 1 << 20


def test_it_says_what_it_is(path: Path) -> None:
    assert repr(MotionIndex(path)) == f"MotionIndex({str(path)!r}, 3 videos)"
