"""Packs at URLs: staged in a local folder, uploaded shard by shard, and resumed on another machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mgdali import VideoDataset, pack
from mgdali.datasets.pack_format import INDEX, MANIFEST, TABLE, read_manifest
from mgdali.errors import DatasetError
from mgdali.packing import destination
from mgdali.packing.destination import open_destination
from mgdali.packing.pack import DEFAULT_SHARD_SIZE, PackReport, PackStart
from mgdali.packing.verify import check_pack
from mgdali.video.record import VideoRecord
from tests.support.packs import contents, encode_once

fsspec = pytest.importorskip("fsspec")

URL = "memory://bucket/pack"


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(destination, "_FIRST_WAIT", 0.0)
    encode_once(monkeypatch)
    monkeypatch.setattr(sys.modules["mgdali.packing.pack"], "_SMALLEST_SHARD", 1)
    yield
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def data(class_folders: Path) -> VideoDataset:
    return VideoDataset.from_folder(class_folders)


def run(data: Any, out: str | Path, **options: Any) -> PackReport:
    options.setdefault("shard_size", 9000)
    return pack(data, out, num_workers=0, **options)


def stored() -> dict[str, bytes]:
    """The files of the pack in memory, by relative path."""
    files = fsspec.filesystem("memory").store
    prefix = "/bucket/pack/"
    return {name[len(prefix) :]: file.getvalue() for name, file in files.items() if name.startswith(prefix)}


def interrupted(data: VideoDataset, out: str, work_dir: Path, frames: int) -> None:
    """Begin a pack and end it after the video with a number of frames."""

    def interrupt(record: VideoRecord) -> None:
        if record.num_frames == frames:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, out, work_dir=work_dir, on_record=interrupt)


def test_a_pack_at_a_url_has_the_bytes_of_a_local_one(data: VideoDataset, tmp_path: Path) -> None:
    run(data, tmp_path / "local")
    started: list[PackStart] = []
    report = run(data, f"{URL}/", work_dir=tmp_path / "work", on_start=started.append)
    assert stored() == contents(tmp_path / "local")
    assert (report.videos, started[0].free_bytes) == (7, None)
    assert os.listdir(tmp_path / "work") == []
    assert read_manifest(URL).videos == 7
    assert check_pack(URL).complete
    # Nothing new: nothing is written.
    assert run(data, URL, work_dir=tmp_path / "work").packed == 0
    assert stored() == contents(tmp_path / "local")


def test_the_staging_folder_is_in_the_users_cache(
    data: VideoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = open_destination(URL)
    assert place.staging.parent == tmp_path / "mgdali" / "packing"
    place.close()


def test_another_machine_resumes_with_the_shards_that_are_uploaded(data: VideoDataset, tmp_path: Path) -> None:
    run(data, tmp_path / "local")
    interrupted(data, URL, tmp_path / "one", 11)
    assert MANIFEST not in stored()
    assert "shard-000000.tar" in stored()
    report = run(data, URL, work_dir=tmp_path / "two")
    assert 1 <= report.kept < 5
    assert stored() == contents(tmp_path / "local")
    # What the first machine has kept belongs to shards that are complete now.
    assert run(data, URL, work_dir=tmp_path / "one").packed == 0
    assert stored() == contents(tmp_path / "local")


def test_what_is_left_of_a_run_that_another_machine_has_completed_is_removed(
    data: VideoDataset, tmp_path: Path
) -> None:
    interrupted(data, URL, tmp_path / "one", 11)
    # Fewer shards than the first machine has begun.
    run(data, URL, work_dir=tmp_path / "two", shard_size=9000)
    before = stored()
    other = data.subset([4, 0, 1, 2, 3, 5, 6])
    assert run(other, URL, work_dir=tmp_path / "one", shard_size=DEFAULT_SHARD_SIZE).packed == 0
    assert check_pack(URL).complete
    assert stored() == before


def test_this_machine_resumes_with_the_last_video(data: VideoDataset, tmp_path: Path) -> None:
    run(data, tmp_path / "local")
    interrupted(data, URL, tmp_path / "work", 11)
    assert run(data, URL, work_dir=tmp_path / "work").kept == 5
    assert stored() == contents(tmp_path / "local")


def test_videos_are_added_at_a_url(class_folders: Path, data: VideoDataset, tmp_path: Path) -> None:
    run(data.subset(range(4)), URL, work_dir=tmp_path / "work", shard_size=DEFAULT_SHARD_SIZE)
    report = run(data, URL, work_dir=tmp_path / "work", shard_size=DEFAULT_SHARD_SIZE)
    assert (report.packed, report.kept, report.shards) == (3, 4, 2)
    assert sorted(stored()) == [INDEX, MANIFEST, "shard-000000.tar", "shard-000001.tar", TABLE]
    assert check_pack(URL).complete


def test_object_stores_get_each_file_under_its_name(
    data: VideoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filesystem = type(fsspec.filesystem("memory"))
    monkeypatch.setattr(destination, "_OBJECT_STORES", frozenset(["memory"]))
    monkeypatch.setattr(filesystem, "mv", None)
    run(data, URL, work_dir=tmp_path)
    assert check_pack(URL).complete


@pytest.mark.parametrize("failures", [1, 100])
def test_a_failed_upload_is_repeated_and_then_reported(
    failures: int, data: VideoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filesystem = type(fsspec.filesystem("memory"))
    put = filesystem.put_file
    left = failures

    def failing(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise OSError("connection lost")
        return put(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(filesystem, "put_file", failing)
        if failures == 1:
            assert run(data, URL, work_dir=tmp_path).videos == 7
            return
        with pytest.raises(DatasetError, match=r"cannot write memory://bucket/pack: OSError: connection lost"):
            run(data, URL, work_dir=tmp_path)
    assert run(data, URL, work_dir=tmp_path).videos == 7
    assert check_pack(URL).complete


def test_a_url_that_cannot_be_written_says_why(data: VideoDataset, tmp_path: Path) -> None:
    with pytest.raises((DatasetError, ImportError), match="cannot write nothing://bucket/pack"):
        run(data, "nothing://bucket/pack", work_dir=tmp_path)


def test_a_destination_that_is_removed_while_it_is_locked_is_locked_again(tmp_path: Path) -> None:
    first = open_destination(tmp_path)
    first.discard()
    second = open_destination(tmp_path)
    first.close()
    with pytest.raises(DatasetError, match="another process"):
        open_destination(tmp_path)
    second.close()
