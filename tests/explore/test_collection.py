"""Collections of real files: each kind of source, records, segments and repeated videos."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from mgdali.errors import DatasetError
from mgdali.explore.collection import Collection, open_collection
from mgdali.explore.table import Query, Row, VideoTable
from mgdali.index.build import build_index
from mgdali.index.still import still_videos
from mgdali.index.writer import IndexWriter
from tests.datasets.test_shards import write_shard
from tests.support.index_records import make_record
from tests.support.packed import write_originals, write_pack
from tests.support.videos import moving_square, write_video


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with videos in ``v``, and their index."""
    folder = tmp_path_factory.mktemp("explore")
    for number, name in enumerate(["run/a", "run/b", "jump/c", "d"]):
        path = folder / "v" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, moving_square(10 + number, 32, 48, seed=number))
    (folder / "v" / "bad.mp4").write_bytes(b"no video")
    build_index(str(folder / "v"), folder / "index.parquet")
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copy"))


def rows(collection: Collection, **query: object) -> list[Row]:
    end = time.monotonic() + 30
    while not (page := collection.query(Query(**query))).complete:  # type: ignore[arg-type]
        assert time.monotonic() < end
        time.sleep(0.01)
    return page.rows


def names(collection: Collection, **query: object) -> list[tuple[str, str | None]]:
    return [(row.name, row.class_name) for row in rows(collection, **query)]


VIDEOS = [("bad.mp4", None), ("d.mp4", None), ("jump/c.mp4", "jump"), ("run/a.mp4", "run"), ("run/b.mp4", "run")]


def test_a_folder_and_an_index_have_names_below_the_folder_and_its_subfolders_as_classes(folder: Path) -> None:
    for source in ("v", "index.parquet"):
        collection = open_collection([str(folder / source)])
        assert names(collection) == VIDEOS
        assert collection.classes == ["jump", "run"]
        entry = collection.entry(rows(collection)[3].id)
        assert (entry.name, entry.class_name) == ("run/a.mp4", "run")
        assert entry.video.path == str(folder / "v/run/a.mp4")
        assert (entry.record is not None) == (source == "index.parquet")
        with pytest.raises(IndexError, match="video 5 is outside"):
            collection.entry(5)
        collection.close()


def test_motion_is_that_of_index_show_and_failed_videos_have_their_error(folder: Path) -> None:
    index = str(folder / "index.parquet")
    expected = [
        (os.path.relpath(v.path, folder / "v"), v.motion, v.unchanged, v.num_frames) for v in still_videos(index, 9)
    ]
    for collection in (open_collection([index]), open_collection([str(folder / "v")], index=index)):
        found = rows(collection, sort="motion")
        assert [(row.name, row.motion, row.still, row.frames) for row in found[:-1]] == expected
        assert found[-1].name == "bad.mp4"
        assert found[-1].motion is found[-1].frames is None
        assert "Invalid data" in (found[-1].error or "")
        assert collection.entry(found[-1].id).record is None


def test_a_record_of_an_earlier_content_is_not_used(folder: Path) -> None:
    collection = open_collection([str(folder / "index.parquet")])
    number = next(row.id for row in rows(collection) if row.name == "run/a.mp4")
    record = collection.entry(number).record
    assert record is not None
    assert record.num_frames == 10
    write_video(folder / "v/run/a.mp4", moving_square(7, 32, 48))
    assert collection.entry(number).record is None
    (folder / "v/run/a.mp4").unlink()
    assert collection.entry(number).record is None


def test_a_video_that_is_named_twice_appears_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    video = os.path.join("v", "run", "a.mp4")
    collection = open_collection(["index.parquet", video, "v", str(folder / video)])
    assert len(collection) == 5
    assert {row.motion is None for row in rows(collection) if row.error is None} == {False}
    assert open_collection([video]).entry(0).name == "a.mp4"
    # The records of an index count although its videos are named by another source first.
    assert len(rows(open_collection(["v", "index.parquet"]))) == 5


def test_lists_have_the_classes_of_their_labels(folder: Path) -> None:
    (folder / "list.txt").write_text("v/run/a.mp4 running\nv/jump/c.mp4 jumping\nv/run/a.mp4 running\n")
    assert names(open_collection([str(folder / "list.txt")], index=str(folder / "index.parquet"))) == [
        (str(folder / "v/jump/c.mp4"), "jumping"),
        (str(folder / "v/run/a.mp4"), "running"),
    ]


def test_segments_of_a_table_are_entries_with_their_own_motion(folder: Path) -> None:
    table = folder / "table.csv"
    table.write_text("path,label,start,end\nv/run/a.mp4,x,0,0.1\nv/run/a.mp4,y,0.1,\nv/run/a.mp4,z,0.1,\n")
    collection = open_collection([str(table)], index=str(folder / "index.parquet"))
    assert [row.frames for row in rows(collection)] == [3, 7]
    assert [row.name for row in rows(collection)] == [
        f"{folder}/v/run/a.mp4 (seconds 0 to 0.1)",
        f"{folder}/v/run/a.mp4 (seconds 0.1 to the end)",
    ]
    entry = collection.entry(1)
    assert entry.video.time_range is not None
    assert entry.video.time_range.start == 0.1
    assert entry.class_name == "y"
    assert entry.record is not None
    assert entry.record.num_frames == 10
    motion = entry.record.motion["image"][3:]
    assert rows(collection)[1].motion == pytest.approx(float(motion[1:].mean(dtype=np.float64)) / (32 * 48), rel=1e-12)


def test_a_table_without_labels_has_no_classes(folder: Path) -> None:
    (folder / "t.jsonl").write_text('{"path": "v/run/a.mp4"}\n')
    assert names(open_collection([str(folder / "t.jsonl")])) == [(str(folder / "v/run/a.mp4"), None)]


def test_members_of_tars_are_shown_with_and_without_labels(folder: Path) -> None:
    content = (folder / "v/run/a.mp4").read_bytes()
    labelled = write_shard(folder / "one.tar", {"x.mp4": content, "x.cls": b"hop"})
    plain = write_shard(folder / "two.tar", {"y.mp4": content})
    assert names(open_collection([labelled])) == [(f"{labelled}::x.mp4", "hop")]
    collection = open_collection([f"{plain}::y.mp4", plain])
    assert names(collection) == [(f"{plain}::y.mp4", None)]
    assert collection.entry(0).video.media.read() == content


def test_frames_in_a_folder_are_one_video(folder: Path) -> None:
    (folder / "frames").mkdir()
    for number in (1, 2):
        (folder / "frames" / f"img_{number:05}.jpg").write_bytes(b"jpeg")
    assert names(open_collection([str(folder / "frames")])) == [("frames", None)]
    assert len(open_collection([str(folder / "frames" / "img_%05d.jpg")])) == 1


@pytest.mark.parametrize(
    ("path", "class_name"),
    [
        ("/d/run/a.mp4", "run"),
        ("/a.mp4", None),
        ("/d/50%off/a.mp4", "50%off"),
        ("https://host/x/jump/a.mp4", "jump"),
        # Members of tars: folders within the tar come first, then that of the tar.
        ("/d/x.tar::run/fast/a.mp4", "fast"),
        ("/d/x.tar::run/a.mp4", "run"),
        ("/d/x.tar::a.mp4", "d"),
        # The folder of the frames is the video.
        ("/d/run/clip/img_%05d.jpg", "run"),
        ("/d/x.tar::run/clip/%d.jpg", "run"),
        ("/clip/%d.jpg", None),
    ],
)
def test_the_class_of_a_row_of_an_index_is_the_folder_that_contains_the_video(
    tmp_path: Path, path: str, class_name: str | None
) -> None:
    writer = IndexWriter(tmp_path / "index.parquet")
    writer.add(make_record(path), make_record("/other/b.mp4"))
    writer.commit()
    collection = open_collection([str(tmp_path / "index.parquet")])
    assert {row.id: row.class_name for row in rows(collection)}[0] == class_name


def test_a_large_index_shows_names_before_its_motion_is_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mgdali.explore.collection._FEW_VIDEOS", 4)
    may_compute = Event()
    sort_names = VideoTable.sort_names

    def later(table: VideoTable) -> None:
        assert may_compute.wait(30)
        sort_names(table)

    monkeypatch.setattr(VideoTable, "sort_names", later)
    collection = open_collection([str(folder / "index.parquet")])
    page = collection.query(Query(count=3))
    assert ([row.name for row in page.rows], page.complete) == ([name for name, _ in VIDEOS[:3]], False)
    may_compute.set()
    assert [row.frames for row in rows(collection)] == [None, 13, 12, 10, 11]


def test_what_is_measured_later_appears_in_the_list(folder: Path) -> None:
    collection = open_collection([str(folder / "v")])
    assert {row.motion for row in rows(collection)} == {None}
    collection.measured(2, np.array([0.0, 0.0, 600.0]), width=10, height=10)
    collection.failed(0, "is damaged")
    found = {row.id: row for row in rows(collection, sort="motion")}
    assert next(iter(found)) == 2
    assert (found[2].frames, found[2].motion, found[2].still) == (3, 3.0, 0.5)
    assert found[0].error == "is damaged"


def test_sixteen_threads_can_read_entries_and_pages(folder: Path) -> None:
    collection = open_collection([str(folder / "index.parquet")])

    def read(number: int) -> tuple[str, int]:
        return collection.entry(number % 5).name, collection.query(Query(search="mp4", sort="still")).total

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(read, range(100))) == {(row.name, 5) for row in rows(collection)}


def test_an_index_of_other_videos_gives_a_warning(folder: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "other.mp4", moving_square(3, 32, 48))
    index = str(folder / "index.parquet")
    assert "contains none of the videos" in (open_collection([str(tmp_path / "other.mp4")], index=index).warning or "")
    assert open_collection([str(folder / "v")], index=index).warning is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.mp4", None, "missing.mp4 does not exist"),
        ("missing.csv", None, "missing.csv does not exist"),
        ("empty", "folder", "empty and its subfolders contain no videos"),
        ("broken.parquet", b"PAR1 no index", "broken.parquet is not a motion index"),
        ("list.txt", b"nowhere.mp4 0\n", r"none of the 1 videos in .*list.txt exists"),
        ("table.csv", b"path\nnowhere.mp4\n", r"none of the 1 videos in .*table.csv exists"),
        ("a.tar", b"no tar", r"a.tar is not a tar"),
    ],
)
def test_a_source_without_videos_is_an_error_that_names_it(
    tmp_path: Path, name: str, content: bytes | str | None, message: str
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.mkdir()
    with pytest.raises(DatasetError, match=message):
        open_collection([str(path)])
    with pytest.raises(DatasetError, match="nothing to explore"):
        open_collection([])


@pytest.mark.slow
def test_a_pack_and_its_index_have_the_labels_of_the_pack(tmp_path: Path) -> None:
    dataset = write_originals(tmp_path / "originals")
    pack = tmp_path / "pack"
    write_pack(dataset, pack)
    for source in (pack, pack / "index.parquet"):
        collection = open_collection([str(source)])
        assert len(collection) == len(dataset)
        assert collection.classes == sorted({dataset.classes[label] for label in dataset.labels})
        found = rows(collection)
        assert all(row.name.startswith("shard-") for row in found)
        # One of the videos has a single frame and therefore no motion.
        assert sorted((row.frames, row.motion is None) for row in found)[:2] == [(1, True), (3, False)]
        record = collection.entry(0).record
        assert record is not None
        assert record.origin is not None
