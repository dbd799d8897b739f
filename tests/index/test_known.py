"""Videos that an index contains under another name: moved, renamed or copied ones are not measured."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mgdali import MotionIndex, VideoDataset
from mgdali.index import known
from mgdali.index.build import build_index
from mgdali.samplers import Representation
from mgdali.video.media import Media
from tests.support.faulty_server import FaultyServer
from tests.support.loading import digest, load
from tests.support.videos import moving_square, write_video


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three videos and their index, not to be changed."""
    folder = tmp_path_factory.mktemp("built")
    for i in range(3):
        path = folder / "videos" / str(i % 2) / f"{i}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, moving_square(8 + i, 48, 64, seed=i))
    build_index(folder / "videos", folder / "i.parquet", num_workers=0)
    return folder


@pytest.fixture
def data(built: Path, tmp_path: Path) -> Path:
    """A copy of the folder with the videos and the index."""
    return Path(shutil.copytree(built, tmp_path / "data"))


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Videos whose beginning was read for a comparison of contents."""
    read: list[str] = []

    def fingerprint(self: Media) -> Any:
        read.append(os.path.basename(self.path))
        return plain(self)

    plain = Media.fingerprint
    monkeypatch.setattr(Media, "fingerprint", fingerprint)
    return read


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Any frame that is decoded is an error."""

    def read_frames(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("a video is decoded")

    with monkeypatch.context() as patch:
        patch.setattr("mgdali.index.measure.read_frames", read_frames)
        yield


def names(path: Path) -> list[str]:
    return sorted(pq.read_table(path)["path"].to_pylist())


@pytest.mark.usefixtures("no_decoding")
def test_renamed_and_copied_videos_are_not_measured(data: Path) -> None:
    videos, path = data / "videos", data / "i.parquet"
    expected = MotionIndex(path).find(str(videos / "0" / "0.mp4"))
    assert expected is not None
    (videos / "0").rename(videos / "zero")
    shutil.copyfile(videos / "zero" / "0.mp4", videos / "again.mp4")
    report = build_index(videos, path, num_workers=0)
    assert (report.measured, report.kept, report.matched, report.rows) == (0, 1, 3, 6)
    for name in ("zero/0.mp4", "again.mp4"):
        record = MotionIndex(path).find(str(videos / name))
        assert record is not None
        assert record.motion["image"].tolist() == expected.motion["image"].tolist()
        assert record.fingerprint == Media(str(videos / name)).fingerprint()
    assert build_index(videos, path, num_workers=0, prune=True).rows == 4
    assert names(path) == ["1/1.mp4", "again.mp4", "zero/0.mp4", "zero/2.mp4"]


@pytest.mark.usefixtures("no_decoding")
def test_videos_and_index_that_were_moved_together_are_kept_and_other_roots_are_matched(
    data: Path, tmp_path: Path, server: FaultyServer
) -> None:
    moved = data.rename(tmp_path / "moved")
    assert build_index(moved / "videos", moved / "i.parquet", num_workers=0).kept == 3
    # The same files at a URL, in an index with names of a folder.
    shutil.copytree(moved / "videos", tmp_path / "elsewhere")
    urls = [f"{server.url}/elsewhere/{name}" for name in names(moved / "i.parquet")]
    report = build_index(urls, moved / "i.parquet", num_workers=0)
    assert (report.measured, report.matched, report.rows) == (0, 3, 6)
    assert build_index(urls, moved / "i.parquet", num_workers=0, root=server.url).kept == 3
    assert names(moved / "i.parquet")[-3:] == ["elsewhere/0/0.mp4", "elsewhere/0/2.mp4", "elsewhere/1/1.mp4"]


def test_other_content_of_the_same_size_is_measured_and_only_equal_sizes_are_read(
    data: Path, unread: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, path = data / "videos", data / "i.parquet"
    content = (videos / "0" / "0.mp4").read_bytes()
    (videos / "same_size.mp4").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (videos / "other_size.mp4").write_bytes(content + b"\0")
    seen: list[str] = []
    find = known.KnownContents.find

    def noted(self: known.KnownContents, media: Media) -> Any:
        before = len(unread)
        found = find(self, media)
        seen.extend(unread[before:])
        return found

    monkeypatch.setattr(known.KnownContents, "find", noted)
    report = build_index(videos, path, num_workers=0)
    assert (report.measured, report.matched, report.kept) == (2, 0, 3)
    # Threads look for videos at the same time, so a name may be noted by two of them.
    assert set(seen) == {"same_size.mp4"}


def test_a_row_without_the_motion_or_with_an_error_is_not_copied(data: Path) -> None:
    videos, path = data / "videos", data / "i.parquet"
    (videos / "bad.mp4").write_bytes(b"no video")
    build_index(videos, path, num_workers=0)
    (videos / "bad.mp4").rename(videos / "renamed.mp4")
    (videos / "1").rename(videos / "one")
    feature = [Representation(motion="feature")]
    report = build_index(videos, path, num_workers=0, representations=feature)
    assert (report.measured, report.matched) == (4, 0)
    assert list(report.failed) == [str(videos / "renamed.mp4")]
    # The motion of the old name is measured too, so that the index loses nothing if the old name is removed.
    record = MotionIndex(path).find(str(videos / "one" / "1.mp4"))
    assert record is not None
    assert record.motion.keys() == {"image", "feature"}


@pytest.mark.usefixtures("no_decoding")
def test_folders_that_links_lead_to_are_the_same_videos(data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data)
    for folder in (tmp_path / "link" / "videos", data / "videos"):
        report = build_index(folder, data / "i.parquet", num_workers=0)
        assert (report.kept, report.matched, report.rows) == (3, 0, 3)


@pytest.mark.usefixtures("no_decoding")
def test_a_build_after_only_the_index_was_moved_keeps_the_root_of_the_videos(data: Path, tmp_path: Path) -> None:
    # With the root ".", a folder of this name exists wherever the index is. Here it contains the videos too.
    build_index(data / "videos", data / "i.parquet", num_workers=0, root=data)
    (data / "i.parquet").rename(tmp_path / "i.parquet")
    shutil.copyfile(data / "videos" / "0" / "0.mp4", data / "videos" / "new.mp4")
    assert build_index(data / "videos", tmp_path / "i.parquet", num_workers=0).kept == 3
    index = MotionIndex(tmp_path / "i.parquet")
    assert index.root == str(data)
    assert all(index.find(str(data / "videos" / name)) for name in ("new.mp4", "0/0.mp4"))


@pytest.mark.parametrize("way", ["moved together", "root", "moved", "url"])
def test_a_loader_with_a_relocated_index_yields_the_same_batches(
    way: str, built: Path, data: Path, tmp_path: Path, server: FaultyServer
) -> None:
    new = data.rename(tmp_path / "new")
    options: dict[str, Any] = {
        "moved together": {},
        "root": {"root": new / "videos"},
        "moved": {"moved": (built / "videos", new / "videos")},
        "url": {"root": f"{server.url}/new/videos"},
    }[way]
    path = new / "i.parquet" if way == "moved together" else (new / "i.parquet").rename(tmp_path / "i.parquet")
    base = f"{server.url}/new/videos" if way == "url" else str(new / "videos")
    dataset = VideoDataset([f"{base}/{name}" for name in ("0/0.mp4", "1/1.mp4", "0/2.mp4")], [0, 1, 0])
    arguments: dict[str, Any] = {"batch_size": 2, "return_meta": True, "num_workers": 0}
    with load(dataset, **arguments) as loader:
        expected, frames = [digest(batch) for batch in loader], loader.frames_decoded
    with load(dataset, index=MotionIndex(path, **options), **arguments) as loader:
        assert [digest(batch) for batch in loader] == expected
        assert loader.unindexed == {}
        assert loader.frames_decoded < frames
