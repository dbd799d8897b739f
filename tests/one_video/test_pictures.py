"""Pictures of picked frames in one array, also if decoding begins again."""

from __future__ import annotations

import av
import numpy as np
import pytest

from mgdali.one_video.pictures import ClipPictures
from tests.support.videos import moving_square

FRAMES = moving_square(6, 32, 48)


@pytest.mark.parametrize("picks", [[0, 2, 3, 5], [5, 0, 3, 2], [1, 1, 4, 4], [4, 4, 4, 4]])
@pytest.mark.parametrize("failed", [0, 1, 2])
def test_only_the_latest_pictures_count(picks: list[int], failed: int) -> None:
    pictures = ClipPictures(4, None)
    wanted = sorted(set(picks))
    # The first attempt fails after some pictures.
    for t in [*wanted[:failed], *wanted]:
        picture = pictures(av.VideoFrame.from_ndarray(FRAMES[t], format="rgb24"))
        assert (picture == FRAMES[t]).all()
    np.testing.assert_array_equal(pictures.of(np.array(picks)), FRAMES[picks])


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [(32, 48, 16, (16, 24)), (48, 32, 7, (10, 7)), (33, 100, 33, (33, 100)), (1, 90, 2, (2, 180)), (32, 32, 1, (1, 1))],
)
def test_the_shorter_side_gets_the_size(height: int, width: int, size: int, expected: tuple[int, int]) -> None:
    grey = np.full((height, width, 3), 100, np.uint8)
    picture = ClipPictures(1, size)(av.VideoFrame.from_ndarray(grey, format="rgb24"))
    assert picture.shape == (*expected, 3)
    assert np.abs(picture.astype(int) - 100).max() <= 1
