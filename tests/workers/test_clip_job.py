"""The job of a worker: preparing one video for the graph."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali import MotionGuided, Segment, VideoDataset
from mgdali.choices import draw
from mgdali.errors import VideoDecodeError
from mgdali.gpu.driver import DecoderCaps
from mgdali.index.measure import measure_video
from mgdali.samplers import Representation
from mgdali.transforms import SpatialTransform
from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from mgdali.video.picked_frames import frames_needed
from mgdali.workers.clip_job import (
    GRAPH_FAILED,
    ClipConfig,
    ClipJob,
    ClipLoader,
    ClipResult,
    EncodedLoader,
    EncodedResult,
)
from tests.support.damaged_videos import write_damaged
from tests.support.videos import moving_square, write_video


def test_a_clip_is_the_window_of_each_picked_frame(dataset: VideoDataset) -> None:
    for index, video in enumerate(dataset):
        frames = [frame.to_ndarray(format="rgb24") for frame in read_frames(video.path)]
        # The windows have the size of the clip, 16 pixels, so nothing is resized.
        transform = SpatialTransform(crop_size=16, resize=min(frames[0].shape[:2]))
        loader = ClipLoader(ClipConfig(sampler=MotionGuided(num_frames=5), transform=transform, memory_budget=1 << 30))
        choices = draw(0, 0, index, 5, training=False)
        clips: list[NDArray[np.uint8]] = []

        def allocate(shape: tuple[int, ...], clips: list[NDArray[np.uint8]] = clips) -> NDArray[np.uint8]:
            clips.append(np.full(shape, 77, np.uint8))
            return clips[0]

        result = loader.load(ClipJob(video.media, choices), allocate)
        assert clips[0].shape == result.shape == (5, 3, 16, 16)
        top, left, bottom, right = transform.window(*frames[0].shape[:2], choices)
        assert (bottom - top, right - left) == (16, 16)
        for picture, t in zip(clips[0], result.picks.tolist(), strict=True):
            assert (picture.transpose(1, 2, 0) == frames[t][top:bottom, left:right]).all()


TRANSFORM = SpatialTransform(crop_size=16, resize=20)
NVDEC = {"h264": DecoderCaps("h264", "4:2:0", 8, 7, 16, 16, 4096, 4096, 65536)}


def numpy_memory(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.zeros(shape, np.uint8)


@pytest.mark.parametrize("sampler", [MotionGuided(num_frames=5), Segment(num_frames=5)])
def test_with_a_record_the_graph_gets_the_picks_and_decodes_only_these(dataset: VideoDataset, sampler: Any) -> None:
    config = ClipConfig(sampler=sampler, transform=TRANSFORM, memory_budget=1 << 30, nvdec=NVDEC)
    for index, video in enumerate(dataset):
        choices = draw(0, 0, index, 5, training=True)
        record = measure_video(video.media, video.path, (Representation(),))
        clip = ClipLoader(config).load(ClipJob(video.media, choices), numpy_memory)
        known = EncodedLoader(config, NVDEC).load(ClipJob(video.media, choices, record), numpy_memory)
        whole = EncodedLoader(config, NVDEC).load(ClipJob(video.media, choices), numpy_memory)
        assert isinstance(known, EncodedResult)
        assert isinstance(whole, EncodedResult)
        assert known.picks is not None
        assert whole.picks is None
        assert known.picks.tolist() == clip.picks.tolist()
        assert (known.num_frames, known.window, known.flip) == (clip.num_frames, whole.window, whole.flip)
        assert known.decoded_bytes == known.frames_decoded * known.frame_bytes
        assert whole.frames_decoded == clip.num_frames
        needed = frames_needed(record, sorted(set(known.picks.tolist())))
        assert known.frames_decoded == needed
        assert known.unindexed is None


def test_for_a_growing_index_the_gpus_videos_are_measured_once_by_pyav(dataset: VideoDataset) -> None:
    sampler = MotionGuided(num_frames=5)
    config = ClipConfig(sampler=sampler, transform=TRANSFORM, memory_budget=1 << 30, nvdec=NVDEC, make_records=True)
    loader = EncodedLoader(config, NVDEC)
    video, choices = dataset[3], draw(0, 0, 3, 5, training=True)
    first = loader.load(ClipJob(video.media, choices), numpy_memory)
    assert isinstance(first, ClipResult)
    assert first.record is not None
    later = loader.load(ClipJob(video.media, choices, first.record), numpy_memory)
    assert isinstance(later, EncodedResult)
    assert later.picks is not None
    assert later.picks.tolist() == first.picks.tolist()


def test_pyav_uses_the_record_of_a_video_that_the_gpu_cannot_decode(tmp_path: Path) -> None:
    path = write_video(tmp_path / "444.mp4", moving_square(20, 48, 64), pixel_format="yuv444p")
    media, choices = Media(str(path)), draw(0, 0, 0, 5, training=False)
    config = ClipConfig(sampler=Segment(num_frames=5), transform=TRANSFORM, memory_budget=1 << 30, nvdec=NVDEC)
    result = EncodedLoader(config, NVDEC).load(
        ClipJob(media, choices, measure_video(media, str(path), ())), numpy_memory
    )
    assert isinstance(result, ClipResult)
    assert result.frames_decoded < 20


def test_a_file_that_falls_back_to_pyav_is_read_and_probed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "444.mp4", moving_square(9, 48, 64), pixel_format="yuv444p")
    config = ClipConfig(sampler=MotionGuided(num_frames=5), transform=TRANSFORM, memory_budget=1 << 30, nvdec=NVDEC)
    job = ClipJob(Media(str(path)), draw(0, 0, 0, 5, training=True))
    memory: list[NDArray[np.uint8]] = []

    def allocate(shape: tuple[int, ...]) -> NDArray[np.uint8]:
        memory.append(numpy_memory(shape))
        return memory[-1]

    expected = ClipLoader(config).load(job, allocate)
    read = Media.read

    def read_and_remove(media: Media) -> bytes:
        content = read(media)
        path.unlink(missing_ok=True)
        return content

    # A second read of the file would fail.
    monkeypatch.setattr(Media, "read", read_and_remove)
    result = EncodedLoader(config, NVDEC).load(job, allocate)
    assert isinstance(result, ClipResult)
    assert not path.exists()
    assert result.picks.tolist() == expected.picks.tolist()
    assert (memory[0] == memory[1]).all()


# With make_records, PyAV makes the clip on the GPU route too.
@pytest.mark.parametrize(("make_records", "nvdec"), [(False, None), (True, None), (True, NVDEC)])
def test_a_kept_damaged_video_gives_the_same_clip_with_and_without_its_record(
    tmp_path: Path, make_records: bool, nvdec: Any
) -> None:
    damaged, intact = write_damaged(tmp_path, "cut")
    config = ClipConfig(
        sampler=MotionGuided(num_frames=5),
        transform=TRANSFORM,
        memory_budget=1 << 30,
        nvdec=nvdec,
        make_records=make_records,
        keep_damaged=True,
    )
    choices, media = draw(0, 0, 0, 5, training=True), Media(str(damaged))
    record = measure_video(media, str(damaged), (Representation(),))
    assert record.error is not None
    memory: list[NDArray[np.uint8]] = []

    def allocate(shape: tuple[int, ...]) -> NDArray[np.uint8]:
        memory.append(numpy_memory(shape))
        return memory[-1]

    expected = ClipLoader(config).load(ClipJob(Media(str(intact)), choices), allocate)
    for known in (None, record):
        result = config.make_loader().load(ClipJob(media, choices, known), allocate)
        assert isinstance(result, ClipResult)
        assert (memory[-1] == memory[0]).all()
        assert (result.picks.tolist(), result.num_frames) == (expected.picks.tolist(), 25)
        assert result.record is None
        assert result.unindexed == (None if known is None else "could not be decoded when it was measured")
        assert result.damage is not None
        damage = pickle.loads(pickle.dumps(result)).damage
        assert (damage.path, damage.frame) == (str(damaged), 25)
    assert expected.damage is None


def test_a_damaged_video_is_an_error_unless_it_is_kept(tmp_path: Path) -> None:
    damaged, _ = write_damaged(tmp_path, "cut")
    config = ClipConfig(sampler=MotionGuided(num_frames=5), transform=TRANSFORM, memory_budget=1 << 30)
    job = ClipJob(Media(str(damaged)), draw(0, 0, 0, 5, training=True))
    with pytest.raises(VideoDecodeError, match="after 25 frames"):
        ClipLoader(config).load(job, numpy_memory)


def test_pyav_makes_the_clip_of_a_video_that_the_graph_failed_on(dataset: VideoDataset) -> None:
    config = ClipConfig(sampler=Segment(num_frames=3), transform=TRANSFORM, memory_budget=1 << 30, nvdec=NVDEC)
    video = dataset[0]
    choices = draw(0, 0, 0, 3, training=False)
    again = EncodedLoader(config, NVDEC).load(ClipJob(video.media, choices, on_gpu=False), numpy_memory)
    clip = ClipLoader(config).load(ClipJob(video.media, choices), numpy_memory)
    assert isinstance(again, ClipResult)
    assert again.not_on_gpu == GRAPH_FAILED
    assert clip.not_on_gpu is None
    assert (again.picks.tolist(), again.num_frames) == (clip.picks.tolist(), clip.num_frames)
