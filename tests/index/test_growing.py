"""The path and the root of an index that is created while training."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mgdali.errors import DatasetError
from mgdali.index.growing import GrowingIndex, automatic_path, automatic_root
from tests.support.index_records import make_record


@pytest.mark.parametrize("kind", [str, Path])
def test_a_cache_folder_at_a_url_is_refused(
    kind: type[str] | type[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=r"s3:/{1,2}bucket/cache: give a local folder as cache_dir"):
        automatic_path([str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")], kind("s3://bucket/cache"))
    assert os.listdir(tmp_path) == []


def test_an_index_next_to_the_videos_is_valid_after_both_were_moved(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "videos").mkdir(parents=True)
    for folder, name in ((old, "a.mp4"), (new, "b.mp4")):
        if folder is new:
            old.rename(new)
        paths = [str(folder / "videos" / "a.mp4"), str(folder / "videos" / "b.mp4")]
        index = GrowingIndex(automatic_path(paths, None), root=automatic_root(paths))
        index.add(make_record(str(folder / "videos" / name)))
        index.refresh()
        assert index.find(str(folder / "videos" / "a.mp4")) is not None
        index.close()
    assert sorted(os.listdir(new)) == ["videos", "videos.index.parquet", "videos.index.parquet.map"]
    assert sorted(pq.read_table(new / "videos.index.parquet")["path"].to_pylist()) == ["a.mp4", "b.mp4"]


def test_an_index_without_a_root_stays_without_one(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        index = GrowingIndex(tmp_path / "i.parquet", root=str(tmp_path) if name == "b.mp4" else None)
        index.add(make_record(str(tmp_path / name)))
        index.refresh()
        index.close()
    assert sorted(pq.read_table(tmp_path / "i.parquet")["path"].to_pylist()) == [
        f"{tmp_path}/a.mp4",
        f"{tmp_path}/b.mp4",
    ]
