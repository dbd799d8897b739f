"""Fixtures for tests of packing: a small data set, and its pack."""

from __future__ import annotations

from pathlib import Path

import pytest

from mgdali import VideoDataset
from mgdali.packing.pack import pack
from tests.support.videos import moving_square, write_video


@pytest.fixture(scope="session")
def class_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven short videos in three class folders; not to be changed."""
    folder = tmp_path_factory.mktemp("packing") / "videos"
    for i in range(7):
        path = folder / ("jump", "run", "sit")[i % 3] / f"clip{i}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, moving_square(3 + 2 * i, 48, 64, seed=i))
    return folder


@pytest.fixture(scope="session")
def packed(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of these videos in one shard, made at once; not to be changed."""
    folder = tmp_path_factory.mktemp("packing") / "pack"
    pack(VideoDataset.from_folder(class_folders), folder, num_workers=0)
    return folder
