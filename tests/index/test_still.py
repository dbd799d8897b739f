"""Videos with little motion, with numbers that follow from the frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mgdali.errors import DatasetError
from mgdali.index.still import StillVideo, still_videos
from mgdali.index.writer import IndexWriter
from mgdali.video.record import VideoRecord
from tests.support.index_records import make_record


def write(path: Path, motions: dict[str, list[float]]) -> None:
    writer = IndexWriter(path, root="/v")
    for name, values in motions.items():
        motion = {"image": np.array(values, np.float32)}
        writer.add(make_record(f"/v/{name}", len(values), motion=motion, width=10, height=20))
    writer.add(VideoRecord(path="/v/broken", error="broken"), make_record("/v/feature", motion={"feature": [0.0, 0.0]}))
    writer.commit()


def test_the_stillest_videos_come_first_with_motion_per_frame_and_pixel(tmp_path: Path) -> None:
    motions = {"b": [0, 0, 400, 0], "a": [0, 0, 400, 0], "still": [0, 0], "much": [0, 2000, 2000], "one": [0]}
    write(tmp_path / "i", {name: list(map(float, values)) for name, values in motions.items()})
    # The first frame, whose S is 0 in every video, does not count: 400 / 3 differences / 200 pixels.
    expected = [
        StillVideo("/v/still", 0.0, 1.0, 2),
        StillVideo("/v/a", 400 / 3 / 200, 2 / 3, 4),
        StillVideo("/v/b", 400 / 3 / 200, 2 / 3, 4),
        StillVideo("/v/much", 10.0, 0.0, 3),
    ]
    found = still_videos(tmp_path / "i", 10)
    assert [(each.path, each.num_frames) for each in found] == [(each.path, each.num_frames) for each in expected]
    np.testing.assert_allclose(
        [(each.motion, each.unchanged) for each in found], [(each.motion, each.unchanged) for each in expected]
    )
    assert still_videos(tmp_path / "i", 2) == found[:2]


def test_an_index_without_motion_at_the_image_level_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "i", {})
    with pytest.raises(DatasetError, match="contains no S at the image level"):
        still_videos(tmp_path / "i", 3)
    with pytest.raises(ValueError, match="count must be an integer >= 1, got 0"):
        still_videos(tmp_path / "i", 0)
