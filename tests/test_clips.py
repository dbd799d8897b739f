"""A worker's job: from one video to the pixels that enter the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mgdali import MotionGuided, Segment, VideoDataset
from mgdali.clips import ClipConfig, ClipJob, ClipLoader, ClipResult, EncodedLoader, EncodedResult, _with_margin
from mgdali.decoder import Decoder
from mgdali.gpu import DecoderCaps
from mgdali.media import Media
from mgdali.order import draw
from mgdali.samplers import Representation
from mgdali.survey import survey_video
from mgdali.transforms import SpatialTransform, Window
from tests.videos import moving_square, write_video


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


TRANSFORM = SpatialTransform(crop_size=16, resize=20)
NVDEC = {"h264": DecoderCaps("h264", "4:2:0", 8, 7, 16, 16, 4096, 4096, 65536)}


def numpy_memory(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.zeros(shape, np.uint8)


@pytest.mark.parametrize("sampler", [MotionGuided(num_frames=5), Segment(num_frames=5)])
def test_with_a_record_the_graph_is_told_the_picks_and_decodes_no_more(dataset: VideoDataset, sampler: Any) -> None:
    config = ClipConfig(sampler, TRANSFORM, memory_budget=1 << 30, nvdec=NVDEC)
    for index, video in enumerate(dataset):
        choices = draw(0, 0, index, 5, training=True)
        record = survey_video(video.media, video.path, (Representation(),))
        clip = ClipLoader(config).load(ClipJob(video.media, choices), numpy_memory)
        known = EncodedLoader(config, NVDEC).load(ClipJob(video.media, choices, record), numpy_memory)
        whole = EncodedLoader(config, NVDEC).load(ClipJob(video.media, choices), numpy_memory)
        assert isinstance(known, EncodedResult)
        assert isinstance(whole, EncodedResult)
        assert known.picks is not None
        assert whole.picks is None
        assert known.picks.tolist() == clip.picks.tolist()
        assert (known.num_frames, known.window, known.flip) == (clip.num_frames, whole.window, whole.flip)
        assert known.decoded_bytes * clip.num_frames == whole.decoded_bytes * 5
        assert known.unindexed is None


def test_for_a_growing_index_the_gpus_videos_are_measured_once_by_pyav(dataset: VideoDataset) -> None:
    sampler = MotionGuided(num_frames=5)
    config = ClipConfig(sampler, TRANSFORM, memory_budget=1 << 30, nvdec=NVDEC, survey=True)
    loader = EncodedLoader(config, NVDEC)
    video, choices = dataset[3], draw(0, 0, 3, 5, training=True)
    first = loader.load(ClipJob(video.media, choices), numpy_memory)
    assert isinstance(first, ClipResult)
    assert first.record is not None
    later = loader.load(ClipJob(video.media, choices, first.record), numpy_memory)
    assert isinstance(later, EncodedResult)
    assert later.picks is not None
    assert later.picks.tolist() == first.picks.tolist()


def test_a_record_of_what_the_gpu_cannot_decode_serves_pyav(tmp_path: Path) -> None:
    path = write_video(tmp_path / "444.mp4", moving_square(20, 48, 64), pixel_format="yuv444p")
    media, choices = Media(str(path)), draw(0, 0, 0, 5, training=False)
    config = ClipConfig(Segment(num_frames=5), TRANSFORM, memory_budget=1 << 30, nvdec=NVDEC)
    result = EncodedLoader(config, NVDEC).load(
        ClipJob(media, choices, survey_video(media, str(path), ())), numpy_memory
    )
    assert isinstance(result, ClipResult)
    assert result.frames_decoded < 20
