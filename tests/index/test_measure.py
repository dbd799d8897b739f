"""Measuring one video for the index."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np

from mgdali.index.measure import MeasureConfig, MeasureJob, measure_video
from mgdali.motion import image_difference
from mgdali.samplers import Representation
from mgdali.video.media import Media
from mgdali.video.meters import measure_motion
from mgdali.video.record import VideoRecord
from tests.support.videos import moving_square, rotate_by_metadata, write_video

EVERY = (Representation(), Representation(channels="rgb"), Representation(motion="feature"))


def test_every_representation_is_measured_in_one_pass_as_the_loader_measures_it(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "a.mp4", moving_square(9, 48, 64)))
    record = measure_video(Media(path), "name", EVERY)
    assert (record.path, record.num_frames, record.error) == ("name", 9, None)
    for representation in EVERY:
        motion = record.motion_of(representation)
        assert motion is not None
        np.testing.assert_array_equal(motion, np.float32(measure_motion(path, representation)))


def test_motion_is_the_references(tmp_path: Path) -> None:
    # Lossless and without colour, so that the reference can be asked about the frames as they were written.
    gray = np.repeat(moving_square(7, 48, 64)[..., :1], 3, axis=-1)
    path = write_video(tmp_path / "a.mkv", gray, codec="ffv1", pixel_format="gray")
    motion = measure_video(Media(str(path)), "a", (Representation(),)).motion["image"]
    np.testing.assert_array_equal(motion, image_difference(gray[..., 0]))


def test_the_streams_facts_are_in_the_record(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(6, 48, 64))
    rotate_by_metadata(path, 2)
    media = Media(str(path))
    record = measure_video(media, "a", ())
    assert record.fingerprint == media.fingerprint()
    facts = (record.width, record.height, abs(record.rotation), record.rate, record.codec, record.pixel_format)
    assert facts == (64, 48, 180, 30.0, "h264", "yuv420p")
    assert record.times is not None
    assert record.packets is not None
    assert record.time_base == (1, 15360)
    assert record.times.tolist() == [512 * t for t in range(6)]
    assert sorted(record.packets.tolist()) == list(range(6))
    assert (record.motion, record.filters) == ({}, None)


def test_a_video_that_cannot_be_decoded_gives_a_record_that_says_why(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video")
    record = measure_video(Media(str(path)), "a", EVERY)
    assert record.error is not None
    assert record.error.startswith("Invalid data found when processing input")
    assert record.fingerprint == Media(str(path)).fingerprint()
    assert (record.num_frames, record.motion) == (0, {})


def test_a_video_that_fails_midway_keeps_nothing_but_the_reason(sample_videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    shutil.copytree(sample_videos / "frames" / "00001", folder)
    media = Media(str(folder))
    files = media.frame_files()
    assert files is not None
    Path(files[5]).write_bytes(b"no image")
    record = measure_video(media, "a", EVERY)
    assert record.error is not None
    assert record.error.endswith("(after 5 frames)")
    assert record.fingerprint == media.fingerprint()
    assert (record.num_frames, record.motion, record.times) == (0, {}, None)


def test_a_missing_video_gives_a_record_without_a_fingerprint(tmp_path: Path) -> None:
    record = measure_video(Media(str(tmp_path / "none.mp4")), "none", EVERY)
    assert record.fingerprint is None
    assert record.error == "No such file or directory (before its first frame)"


def test_jobs_travel_to_workers_and_what_comes_of_them_back(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(4, 48, 64))
    job = pickle.loads(pickle.dumps(MeasureJob(Media(str(path)), "name", EVERY)))
    assert job.path == str(path)
    record = pickle.loads(pickle.dumps(MeasureConfig().make_loader().load(job, lambda shape: None)))
    assert isinstance(record, VideoRecord)
    assert (record.path, record.num_frames) == ("name", 4)
