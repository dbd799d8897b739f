"""The job of a worker: making the clip of one video with PyAV."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali import MotionGuided, Segment, VideoDataset
from mgdali.choices import draw
from mgdali.errors import VideoDecodeError, VideoSizeError
from mgdali.gpu.driver import DecoderCaps
from mgdali.index.measure import measure_video
from mgdali.samplers import Representation
from mgdali.transforms import SpatialTransform
from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from mgdali.workers.clip_job import ClipConfig, ClipJob, ClipLoader, ClipResult
from mgdali.workers.encoded_job import EncodedConfig
from tests.support.damaged_videos import Damage, write_damaged
from tests.support.index_records import make_record
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


# PyAV makes the clip where a GPU decodes too: of every damaged video, and with make_records.
@pytest.mark.parametrize(("make_records", "nvdec"), [(False, None), (True, None), (True, NVDEC), (False, NVDEC)])
@pytest.mark.parametrize("kind", ["cut", "zeros"])
def test_a_kept_damaged_video_gives_the_same_clip_with_and_without_its_record(
    tmp_path: Path, kind: Damage, make_records: bool, nvdec: Any
) -> None:
    damaged, intact = write_damaged(tmp_path, kind)
    shared: dict[str, Any] = {
        "sampler": MotionGuided(num_frames=5),
        "transform": TRANSFORM,
        "memory_budget": 1 << 30,
        "make_records": make_records,
        "keep_damaged": True,
    }
    config = ClipConfig(**shared) if nvdec is None else EncodedConfig(nvdec=nvdec, **shared)
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


def test_jobs_and_results_arrive_as_they_were_sent() -> None:
    record = make_record("/x.tar::a.mp4", 9)
    job = ClipJob(Media("/x.tar::a.mp4", (512, 99), b"read before"), draw(0, 0, 3, 4, training=True), record, False)
    found = pickle.loads(pickle.dumps(job))
    assert (found.path, found.media.span, found.media.content, found.on_gpu) == (
        job.path,
        (512, 99),
        b"read before",
        False,
    )
    assert found.choices.offsets.tolist() == job.choices.offsets.tolist()
    assert found.record.packets.tolist() == record.packets.tolist()
    damage = VideoDecodeError("a.mp4", 5, "broken")
    result = ClipResult((4, 3, 8, 8), True, np.array([0, 2, 2, 5]), 6, 7, 0.1, "changed", record, damage, "codec", 0.2)
    back = pickle.loads(pickle.dumps(result))
    assert back.picks.dtype == np.int64
    assert back.picks.tolist() == [0, 2, 2, 5]
    assert back.record.path == record.path
    assert str(back.damage) == str(damage)
    for name in ("shape", "flip", "num_frames", "frames_decoded", "seconds", "unindexed", "not_on_gpu", "wall_seconds"):
        assert getattr(back, name) == getattr(result, name)


@pytest.mark.parametrize("nvdec", [None, NVDEC])
def test_without_resizing_frames_that_are_too_small_are_an_error_that_names_the_video(
    tmp_path: Path, nvdec: Any
) -> None:
    path = write_video(tmp_path / "small.mp4", moving_square(8, 48, 64))
    choices = draw(0, 0, 0, 5, training=False)
    memory: list[NDArray[np.uint8]] = []

    def allocate(shape: tuple[int, ...]) -> NDArray[np.uint8]:
        memory.append(numpy_memory(shape))
        return memory[-1]

    def result_for(crop_size: tuple[int, int]) -> Any:
        transform = SpatialTransform(crop_size=crop_size, resize=None)
        shared: dict[str, Any] = {"sampler": Segment(num_frames=5), "transform": transform, "memory_budget": 1 << 30}
        config = ClipConfig(**shared) if nvdec is None else EncodedConfig(nvdec=nvdec, **shared)
        return config.make_loader().load(ClipJob(Media(str(path)), choices), allocate)

    with pytest.raises(VideoSizeError, match=r"small\.mp4: its frames of 48 by 64 pixels .* 64 by 48\. Pass resize="):
        result_for((64, 48))
    result = result_for((40, 62))
    if nvdec is None:
        frames = [frame.to_ndarray(format="rgb24") for frame in read_frames(path)]
        expected = np.stack([frames[t][4:44, :62] for t in result.picks.tolist()])
        assert (memory[-1].transpose(0, 2, 3, 1) == expected).all()
    else:
        assert result.window == (4, 0, 44, 62)
