"""Names of videos relative to a root: written, looked up after moves, and under links."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mgdali.errors import DatasetError
from mgdali.index.names import VideoNames, common_root, normal_root
from mgdali.index.reader import MotionIndex
from mgdali.index.writer import IndexWriter
from tests.support.index_records import make_record


def write(path: Path, *videos: str | Path, **options: Any) -> None:
    writer = IndexWriter(path, **options)
    writer.add(*(make_record(os.fspath(video)) for video in videos))
    writer.commit()


def stored(path: Path) -> list[str]:
    return sorted(pq.read_table(path)["path"].to_pylist())


def metadata(path: Path) -> dict[str, str]:
    entries = pq.read_schema(path).metadata
    return {key.decode(): value.decode() for key, value in entries.items() if key.startswith(b"mgdali.root")}


def path_in(index: MotionIndex, video: str | Path) -> str | None:
    record = index.find(os.fspath(video))
    return None if record is None else record.path


@pytest.mark.parametrize(
    ("names", "root"),
    [
        (["/d/a.mp4"], "/d"),
        (["/d/a/x.mp4", "/d/ab/y.mp4"], "/d"),
        (["/d/a", "/d/a/x.mp4"], "/d"),
        (["/d/x.tar::q/a.mp4", "/d/y.tar::a.mp4"], "/d"),
        (["s3://b/v/a1.mp4", "s3://b/v/a2.mp4"], "s3://b/v"),
        (["s3://b/a.mp4", "s3://c/a.mp4"], None),
        (["http://h/a.mp4", "https://h/a.mp4"], None),
        (["/a/x.mp4", "s3://b/x.mp4"], None),
        (["/a/x.mp4", "/b/x.mp4"], None),
    ],
)
def test_the_common_root_is_the_deepest_folder_or_url_of_all_videos(names: list[str], root: str | None) -> None:
    assert common_root(names) == root


@pytest.mark.parametrize("root", ["/videos", "/videos/", "s3://bucket/videos/", "/", "memory://"])
def test_names_below_the_root_are_relative_and_all_names_come_back(root: str) -> None:
    names = VideoNames([normal_root(root)])
    base = root.rstrip("/") if root != "memory://" else "memory:/"
    below = [f"{base}/run/a.mp4", f"{base}/x.tar::m/a.mp4", f"{base}/img_%05d.jpg"]
    assert [names.stored(name) for name in below] == ["run/a.mp4", "x.tar::m/a.mp4", "img_%05d.jpg"]
    # The root itself may be a folder of frames. A second slash must not make a name absolute.
    others = [normal_root(root), f"{base}//a.mp4", "https://host/a.mp4"]
    for name in (*below, *others):
        assert names.full(names.stored(name)) == name


@pytest.mark.parametrize("root", ["videos", ".", "elsewhere", "s3://bucket/videos"])
def test_a_root_below_the_folder_of_the_file_is_stored_relative_to_it(root: str, tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "data" / "i.parquet", tmp_path / "elsewhere"
    place = {"elsewhere": str(elsewhere), "s3://bucket/videos": root}.get(root, os.path.join(path.parent, root))
    write(path, f"{normal_root(place)}/a.mp4", "/other/b.mp4", root=place)
    assert stored(path) == ["/other/b.mp4", "a.mp4"]
    assert metadata(path)["mgdali.root"] == (root if root in ("videos", ".") else place)
    assert MotionIndex(path).root == normal_root(place)


def test_index_and_videos_may_be_moved_together_or_one_without_the_other(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "videos").mkdir(parents=True)
    write(old / "i.parquet", old / "videos" / "a.mp4", root=old / "videos")
    old.rename(new)
    index = MotionIndex(new / "i.parquet")
    assert path_in(index, new / "videos" / "a.mp4") == str(new / "videos" / "a.mp4")
    # Only the file is moved: the videos are still found below the root that was written.
    write(new / "i.parquet", new / "videos" / "b.mp4")
    (new / "i.parquet").rename(tmp_path / "i.parquet")
    index = MotionIndex(tmp_path / "i.parquet")
    assert path_in(index, new / "videos" / "b.mp4") == str(new / "videos" / "b.mp4")
    # Only the videos are moved.
    index = MotionIndex(tmp_path / "i.parquet", root="/mnt/videos")
    assert path_in(index, "/mnt/videos/a.mp4") == "/mnt/videos/a.mp4"
    assert index.find("/mnt/videos2/a.mp4") is None


@pytest.mark.parametrize(
    ("measured", "now"),
    [
        ("/data/videos", "s3://bucket/videos"),
        ("s3://bucket/videos", "/data/videos/"),
        ("s3://bucket/videos", "https://host/v"),
        ("/data", "/"),
    ],
)
@pytest.mark.parametrize("rooted", [False, True])
def test_moved_videos_are_found_by_path_and_url(measured: str, now: str, rooted: bool, tmp_path: Path) -> None:
    path = tmp_path / "i.parquet"
    name = f"{measured}/run/a.mp4"
    # The root itself may be a video: a folder of frames.
    write(path, name, measured, root=measured if rooted else None)
    if now != "/":
        assert path_in(MotionIndex(path, moved=(measured, now)), now) == measured
    video = f"{now.rstrip('/')}/run/a.mp4"
    assert path_in(MotionIndex(path, moved=(measured, now)), video) == name
    assert path_in(MotionIndex(path, moved=(measured, now)), name) == name
    assert MotionIndex(path).find(video) is None
    if rooted:
        assert path_in(MotionIndex(path, root=now), video) == video


def test_links_lead_to_the_same_rows_in_both_directions(tmp_path: Path) -> None:
    real, link = tmp_path / "real" / "videos", tmp_path / "link"
    (real / "run").mkdir(parents=True)
    link.symlink_to(real)
    (real / "linked").symlink_to(tmp_path / "real")
    for root in (real, link):
        path = tmp_path / f"{root.name}.parquet"
        write(path, root / "run" / "a.mp4", tmp_path / "real" / "b.mp4", root=root)
        index = MotionIndex(path)
        for place in (real, link):
            assert path_in(index, place / "run" / "a.mp4") == str(root / "run" / "a.mp4")
            # The link is below the root, and leads out of it.
            assert path_in(index, place / "linked" / "b.mp4") == str(tmp_path / "real" / "b.mp4")
            assert path_in(index, place / "run" / "x.tar::b.mp4") is None


def test_a_video_that_is_found_as_given_costs_no_call_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "i.parquet", tmp_path / "a.mp4", root=tmp_path)
    index = MotionIndex(tmp_path / "i.parquet")
    asked: list[str] = []
    monkeypatch.setattr(os, "lstat", lambda path, **options: asked.append(path))
    monkeypatch.setattr(os, "readlink", lambda path, **options: asked.append(path))
    assert index.find(f"{tmp_path}/a.mp4") is not None
    assert asked == []


def test_another_root_renames_the_rows_of_a_file_and_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "i.parquet"
    write(path, "/data/x/a.mp4", "/data/y/b.mp4")
    assert (stored(path), metadata(path)) == (["/data/x/a.mp4", "/data/y/b.mp4"], {})
    write(path, root="/data")
    assert stored(path) == ["x/a.mp4", "y/b.mp4"]
    write(path, "/data/x/c.mp4", root="/data/x")
    assert stored(path) == ["/data/y/b.mp4", "a.mp4", "c.mp4"]
    before = path.stat()
    write(path, root="/data/x")
    assert path.stat() == before
    # The root of an existing file stays, and so does a file without one.
    write(path, "/data/x/a.mp4", new_root="/data")
    assert stored(path) == ["/data/y/b.mp4", "a.mp4", "c.mp4"]


@pytest.mark.parametrize("moved", ["/a", ("/a",), ("/a", "/b", "/c")])
def test_moved_must_be_a_pair(moved: Any, tmp_path: Path) -> None:
    write(tmp_path / "i.parquet", "/a/a.mp4")
    with pytest.raises(ValueError, match="moved must be a pair .*got "):
        MotionIndex(tmp_path / "i.parquet", moved=moved)


def test_a_root_at_a_url_that_lost_a_slash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="give it as a str"):
        IndexWriter(tmp_path / "i.parquet", root=Path("s3://bucket/videos"))
    assert os.listdir(tmp_path) == []
