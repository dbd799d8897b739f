"""A worker's job: from one video to the pixels that enter the graph."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mgdali import MotionGuided, VideoDataset
from mgdali.clips import ClipConfig, ClipJob, ClipLoader, _with_margin
from mgdali.decoder import Decoder
from mgdali.order import draw
from mgdali.transforms import SpatialTransform, Window


def test_a_clip_holds_the_window_of_each_picked_frame(dataset: VideoDataset) -> None:
    transform = SpatialTransform(training=True, crop_size=16, resize=20)
    sampler = MotionGuided(num_frames=5)
    loader = ClipLoader(ClipConfig(sampler, transform, memory_budget=1 << 30))
    for index, video in enumerate(dataset):
        choices = draw(0, 0, index, 5, training=True)
        pixels: list[NDArray[np.uint8]] = []

        def allocate(shape: tuple[int, ...], pixels: list[NDArray[np.uint8]] = pixels) -> NDArray[np.uint8]:
            pixels.append(np.full(shape, 77, np.uint8))
            return pixels[0]

        result = loader.load(ClipJob(video.media, choices), allocate)
        decoded = Decoder(sampler, memory_budget=1 << 30).decode(video.path, choices.offsets)
        height, width, _ = decoded.frames[int(decoded.picks[0])].shape
        window = transform.window(height, width, choices)
        inner = result.window
        assert pixels[0].shape == result.shape
        assert (inner.bottom - inner.top, inner.right - inner.left) == (
            window.bottom - window.top,
            window.right - window.left,
        )
        for clip_frame, t in zip(pixels[0], result.picks.tolist(), strict=True):
            cut = clip_frame[int(inner.top) : int(inner.bottom), int(inner.left) : int(inner.right)]
            top, left, bottom, right = map(int, window)
            assert (cut == decoded.frames[t][top:bottom, left:right]).all()


@given(
    height=st.integers(1, 500),
    width=st.integers(1, 500),
    crop_size=st.integers(1, 300),
    edges=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_the_margin_stays_within_the_frame_and_around_the_window(
    height: int, width: int, crop_size: int, edges: tuple[float, float, float, float]
) -> None:
    (top, bottom), (left, right) = sorted(edges[:2]), sorted(edges[2:])
    window = Window(top * height, left * width, bottom * height, right * width)
    first_row, first_column, last_row, last_column = _with_margin(window, height, width, crop_size)
    assert 0 <= first_row <= window.top <= window.bottom <= last_row <= height
    assert 0 <= first_column <= window.left <= window.right <= last_column <= width
