"""Motion and pictures of single videos: equal to pick_frames, measured once, bounded, and stopped when unwanted."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali import MotionGuided, TimeRange, Video, VideoDecodeError, pick_frames
from mgdali.explore import frames as frames_module
from mgdali.explore import measuring, video_data
from mgdali.explore.video_data import Progress, VideoData, VideoMotion
from mgdali.index.measure import measure_video
from mgdali.samplers import Motion, Representation
from mgdali.video.frames import read_frames
from mgdali.video.measured_part import measure_part
from mgdali.video.media import Media
from mgdali.video.record import VideoRecord
from tests.support.damaged_videos import write_damaged
from tests.support.sample_videos import FORMATS
from tests.support.videos import moving_square, rotate_by_metadata, write_video


@dataclass(frozen=True, eq=False)
class AnEntry:
    id: int
    name: str
    class_name: str | None
    video: Video
    record: VideoRecord | None = None


def entry(path: Path, id: int = 0, part: TimeRange | None = None, record: VideoRecord | None = None) -> Any:
    return AnEntry(id, path.name, None, Video(str(path), None, None, part), record)


@pytest.fixture
def data() -> Iterator[VideoData]:
    data = VideoData()
    yield data
    data.close()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", moving_square(40, 48, 64))


def measured(data: VideoData, wanted: Any, level: Motion = "image") -> VideoMotion:
    found = data.motion(wanted, level, wait=60)
    assert isinstance(found, VideoMotion)
    return found


def record_of(path: Path, *levels: Motion) -> VideoRecord:
    return measure_video(Media(str(path)), str(path), tuple(Representation(motion=level) for level in levels))


def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a video was decoded")

    monkeypatch.setattr(measuring, "measure_part", fail)
    monkeypatch.setattr(frames_module, "read_frames", fail)


def rgb(path: Path) -> NDArray[np.uint8]:
    return np.stack([np.rot90(f.to_ndarray(format="rgb24"), k=round(f.rotation / 90)) for f in read_frames(path)])


def decoded(picture: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR))[:, :, ::-1]


def assert_shows(pictures: dict[int, bytes], frames: NDArray[np.uint8]) -> None:
    """Check that each picture shows its frame, and is nearer to it than to any frame that differs."""
    for t, picture in pictures.items():
        shown = decoded(picture).astype(int)
        assert shown.shape == frames.shape[1:]
        distances = np.abs(frames.astype(int) - shown).mean(axis=(1, 2, 3))
        assert distances[t] <= distances.min() + 0.01
        assert distances[t] < 8


# --- Motion -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("level", ["image", "feature"])
def test_motion_has_the_bits_of_pick_frames(data: VideoData, video: Path, level: Motion) -> None:
    clip = pick_frames(video, sampler=MotionGuided(4, motion=level))
    found = measured(data, entry(video), level)
    assert found.motion.dtype == np.float64
    assert found.motion.tobytes() == clip.motion.tobytes()
    assert found.seconds is not None
    assert found.seconds[clip.indices].tobytes() == clip.seconds.tobytes()
    assert (found.first_frame, found.frame_rate, found.width, found.height) == (0, clip.frame_rate, 64, 48)


@pytest.mark.parametrize("part", [TimeRange(0.4, 1.0), TimeRange(12, 30, "frames")])
@pytest.mark.parametrize("indexed", [False, True])
def test_a_segment_has_its_own_motion_and_times_of_the_file(
    data: VideoData, video: Path, part: TimeRange, indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = pick_frames(Video(str(video), None, None, part), 4)
    record = record_of(video, "image") if indexed else None
    if indexed:
        no_decoding(monkeypatch)
    wanted = entry(video, part=part, record=record)
    found = measured(data, wanted)
    assert found.first_frame == clip.first_frame == 12
    assert found.motion.tobytes() == clip.motion.tobytes()
    assert found.seconds is not None
    assert found.seconds[clip.indices - 12].tobytes() == clip.seconds.tobytes()
    assert_shows(data.pictures(wanted, [12, 29], 48), rgb(video))
    with pytest.raises(ValueError, match="frames 12 to 29, but frame 11"):
        data.pictures(wanted, [11], 48)


def test_with_a_record_nothing_is_decoded_for_the_motion(
    data: VideoData, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pick_frames(video, 2).motion
    record = record_of(video, "image")
    no_decoding(monkeypatch)
    assert measured(data, entry(video, record=record)).motion.tobytes() == expected.tobytes()
    with pytest.raises(AssertionError, match="was decoded"):
        data.motion(entry(video, record=record), "feature", wait=60)


def test_a_video_without_times_has_no_seconds(data: VideoData, tmp_path: Path) -> None:
    path = write_video(tmp_path / "one.mp4", moving_square(3, 48, 64))
    record = record_of(path, "image")
    object.__setattr__(record, "times", None)
    assert measured(data, entry(path, record=record)).seconds is None


def test_many_threads_start_one_decoding(data: VideoData, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    measure = measure_part

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        time.sleep(0.1)
        return measure(*args, **kwargs)

    monkeypatch.setattr(measuring, "measure_part", counted)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: measured(data, entry(video)), range(16)))
    assert len(calls) == 1
    assert len({each.motion.tobytes() for each in found}) == 1


class Held:
    """Measurements that wait until they are let go, and the largest number at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.now = self.most = 0
        self._lock = threading.Lock()
        measure = measure_part

        def held(*args: Any, log: Any, **kwargs: Any) -> Any:
            with self._lock:
                self.now += 1
                self.most = max(self.most, self.now)
            try:
                while not self.go.wait(0.01):
                    log._check()
                return measure(*args, log=log, **kwargs)
            finally:
                with self._lock:
                    self.now -= 1

        monkeypatch.setattr(measuring, "measure_part", held)

    def wait_for(self, running: int) -> None:
        end = time.monotonic() + 10
        while self.now != running:
            assert time.monotonic() < end
            time.sleep(0.005)


def test_no_more_videos_than_decoders_are_decoded_at_a_time(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    data = VideoData(decoders=2)
    for id in range(6):
        assert data.motion(entry(video, id), "image", wait=0) == Progress(0)
    held.wait_for(2)
    held.go.set()
    assert all(len(measured(data, entry(video, id)).motion) == 40 for id in range(6))
    assert held.most == 2
    data.close()


def test_a_measurement_that_nobody_asks_for_is_stopped_and_can_start_again(
    data: VideoData, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    monkeypatch.setattr(video_data, "_UNWANTED_AFTER", 0.05)
    assert isinstance(data.motion(entry(video), "image", wait=0), Progress)
    held.wait_for(1)
    held.wait_for(0)
    held.go.set()
    assert len(measured(data, entry(video)).motion) == 40


def test_closing_stops_measurements_at_once(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    data = VideoData(decoders=1)
    for id in range(3):
        data.motion(entry(video, id), "image", wait=0)
    held.wait_for(1)
    start = time.monotonic()
    data.close()
    assert time.monotonic() - start < 2
    assert held.now == 0
    with pytest.raises(RuntimeError, match="closed"):
        data.motion(entry(video), "image")
    with pytest.raises(RuntimeError, match="closed"):
        data.pictures(entry(video), [0], 48)


# --- Errors -----------------------------------------------------------------------------------------------------------
def test_an_error_names_the_file_and_the_reason_and_is_kept(
    data: VideoData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video" * 100)
    with pytest.raises(VideoDecodeError, match=r"broken\.mp4: Invalid data .* is a video"):
        data.motion(entry(path), "image", wait=60)
    no_decoding(monkeypatch)
    with pytest.raises(VideoDecodeError, match=r"broken\.mp4: Invalid data"):
        data.motion(entry(path), "image", wait=60)
    with pytest.raises(VideoDecodeError, match=r"gone\.mp4"):
        data.motion(entry(tmp_path / "gone.mp4", 1), "image", wait=60)


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("change", ["deleted", "cut"])
def test_a_file_that_changed_gives_no_frames(data: VideoData, video: Path, indexed: bool, change: str) -> None:
    wanted = entry(video, record=record_of(video, "image") if indexed else None)
    measured(data, wanted)
    data.pictures(wanted, [3], 48)
    if change == "deleted":
        video.unlink()
    else:
        video.write_bytes(video.read_bytes()[:-100])
    for frame in (3, 5):
        with pytest.raises(VideoDecodeError, match="clip.mp4"):
            data.pictures(wanted, [frame], 48)
    if indexed or change == "deleted":
        with pytest.raises(VideoDecodeError, match="clip.mp4"):
            data.motion(wanted, "image", wait=60)


def test_a_file_with_other_content_is_measured_again(data: VideoData, video: Path) -> None:
    measured(data, entry(video))
    write_video(video, moving_square(12, 48, 64, seed=3))
    assert measured(data, entry(video)).motion.tobytes() == pick_frames(video, 2).motion.tobytes()
    assert_shows(data.pictures(entry(video), [3, 11], 48), rgb(video))


def test_a_pipe_is_refused(data: VideoData, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoDecodeError, match="pipe, which can be read only once"):
        data.motion(entry(tmp_path / "pipe.mp4"), "image")


# --- Pictures ---------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_pictures_show_the_frames_of_the_whole_decoding(data: VideoData, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    FORMATS[name](path)
    frames = rgb(path)
    picks = sorted({0, len(frames) // 2, len(frames) - 2, len(frames) - 1})
    # Without knowledge of the frames, with that of the measurement, and with a record.
    assert_shows(data.pictures(entry(path), picks, 720), frames)
    measured(data, entry(path, 1))
    assert_shows(data.pictures(entry(path, 1), picks, 720), frames)
    assert_shows(data.pictures(entry(path, 2, record=record_of(path, "image")), picks, 720), frames)


def test_a_damaged_video_gives_the_frames_of_the_whole_decoding(data: VideoData, tmp_path: Path) -> None:
    path, intact = write_damaged(tmp_path, "cut")
    frames = rgb(intact)
    assert_shows(data.pictures(entry(path), [0, 7, 20], 48), frames)
    with pytest.raises(VideoDecodeError, match=r"cut\.mp4"):
        data.motion(entry(path), "image", wait=60)
    part = entry(path, 1, TimeRange(4, 15, "frames"))
    assert len(measured(data, part).motion) == 11
    assert_shows(data.pictures(part, [4, 14], 48), frames)


def test_frames_that_differ_when_decoded_in_part_come_from_the_whole_decoding(
    data: VideoData, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(media: Media, record: VideoRecord, picks: list[int]) -> Any:
        return ((t, frame) for t, frame in enumerate(read_frames(media), 1) if t in picks)

    measured(data, entry(video))
    monkeypatch.setattr("mgdali.video.picked_frames.read_picked", wrong)
    assert_shows(data.pictures(entry(video), [2, 30], 48), rgb(video))


def test_pictures_are_upright_and_have_the_height(data: VideoData, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving_square(3, 120, 160))
    rotate_by_metadata(path, 1)
    found = measured(data, entry(path))
    assert (found.width, found.height) == (120, 160)
    assert decoded(data.pictures(entry(path), [1], 40)[1]).shape == (40, 30, 3)
    assert decoded(data.pictures(entry(path), [1], 720)[1]).shape == (160, 120, 3)


def test_a_picture_is_made_once(data: VideoData, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = data.pictures(entry(video), [3, 5, 3], 32)
    assert list(made) == [3, 5]
    monkeypatch.setattr(video_data, "read_pictures", None)
    assert data.pictures(entry(video), [5], 32) == {5: made[5]}


def test_with_a_record_only_the_needed_frames_are_decoded(
    data: VideoData, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(data, entry(video))
    no_decoding(monkeypatch)
    assert len(data.pictures(entry(video), [0, 39], 32)) == 2


@pytest.mark.parametrize("known", [False, True])
def test_a_frame_outside_the_video_is_an_error_with_the_range(data: VideoData, video: Path, known: bool) -> None:
    if known:
        measured(data, entry(video))
    with pytest.raises(ValueError, match="frames 0 to 39, but frame 40"):
        data.pictures(entry(video), [39, 40], 32)


@pytest.mark.parametrize(
    ("frames", "height", "message"),
    [([-1], 32, "frame must be"), ([0], 15, "height"), ([0], 721, "16 to 720"), (list(range(65)), 32, "at most 64")],
)
def test_arguments_are_checked(data: VideoData, video: Path, frames: list[int], height: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.pictures(entry(video), frames, height)


# --- Memory -----------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_many_threads_and_videos_stay_within_the_memory(tmp_path: Path) -> None:
    paths = [write_video(tmp_path / f"{seed}.mp4", moving_square(40, 48, 64, seed)) for seed in range(6)]
    expected = [pick_frames(path, 2).motion.tobytes() for path in paths]
    data = VideoData(memory=60_000)

    def client(number: int) -> None:
        for id in np.random.default_rng(number).integers(0, 60, 40).tolist():
            wanted = entry(paths[id % 6], id)
            assert measured(data, wanted).motion.tobytes() == expected[id % 6]
            assert len(data.pictures(wanted, [0, 20, 39], 48)) == 3
            assert data._cache.size <= 60_000

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(client, range(16)))
    data.close()
