"""Parts of videos: the frames that belong to them, by a record and while decoding."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mgdali.errors import VideoDecodeError
from mgdali.index.measure import measure_video
from mgdali.samplers import MotionGuided, Representation
from mgdali.video.decoder import Decoder
from mgdali.video.media import Media
from mgdali.video.packets import StreamLog
from mgdali.video.record import VideoRecord
from mgdali.video.time_range import FrameClock, TimeRange, frame_seconds
from tests.support.videos import moving_square, write_video

OFFSETS = np.full(4, 0.5)


def record_of(path: Path) -> VideoRecord:
    return measure_video(Media(str(path)), str(path), (Representation(),))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("ranges")
    frames = moving_square(30, 48, 64)
    uneven = np.cumsum([500, *[20, 90, 33] * 9, 20, 90]).tolist()
    return {
        "even": write_video(folder / "even.mp4", frames, options={"g": "8", "bf": "2"}),
        "uneven": write_video(folder / "uneven.mkv", frames, options={"g": "8", "bf": "2"}, times=uneven),
        "avi": write_video(folder / "old.avi", frames, codec="mpeg4"),
    }


@pytest.mark.parametrize("name", ["even", "uneven", "avi"])
@pytest.mark.parametrize("unit", ["seconds", "frames"])
def test_a_part_is_the_same_with_a_record_and_without(videos: dict[str, Path], name: str, unit: str) -> None:
    record = record_of(videos[name])
    seconds = frame_seconds(record)
    assert seconds is not None
    # The end does not belong to the part, the start does.
    part = TimeRange(5, 22, "frames") if unit == "frames" else TimeRange(seconds[5], seconds[22])
    assert part.frames(record) == (5, 22)
    decoder = Decoder(MotionGuided(4), memory_budget=1 << 30)
    decoded = decoder.decode(videos[name], OFFSETS, time_range=part)
    known = decoder.decode(videos[name], OFFSETS, time_range=part, part=(5, 22), record=record)
    assert (decoded.first, decoded.num_frames) == (known.first, known.num_frames) == (5, 17)
    assert decoded.picks.tolist() == known.picks.tolist()
    for t, picture in decoded.frames.items():
        np.testing.assert_array_equal(known.frames[t], picture)


def test_motion_of_a_part_is_that_of_the_video_with_zero_for_its_first_frame(videos: dict[str, Path]) -> None:
    whole = record_of(videos["even"]).motion_of(Representation())
    assert whole is not None
    first = int(np.argmax(whole))
    found = Decoder(MotionGuided(4), memory_budget=1 << 30).decode(
        videos["even"], OFFSETS, time_range=TimeRange(first, first + 8, "frames")
    )
    assert found.motion is not None
    assert found.motion.tolist() == [0.0, *whole[first + 1 : first + 8]]
    assert found.picks.tolist() == (MotionGuided(4).pick(found.motion, 8, OFFSETS) + first).tolist()


def test_time_begins_with_the_first_frame(videos: dict[str, Path]) -> None:
    record = record_of(videos["uneven"])
    assert record.times is not None
    assert record.times[0] > 0
    seconds = frame_seconds(record)
    assert seconds is not None
    np.testing.assert_allclose(seconds[:4], [0, 0.020, 0.110, 0.143])
    assert TimeRange(0.0, 0.11).frames(record) == (0, 2)


def test_frames_of_avi_files_are_spaced_by_the_average_rate(videos: dict[str, Path]) -> None:
    seconds = frame_seconds(record_of(videos["avi"]))
    assert seconds is not None
    np.testing.assert_allclose(seconds, np.arange(30) / 30)


def test_times_never_go_back() -> None:
    log = StreamLog()
    log.container, log.time_base, log.rate = "matroska,webm", Fraction(1, 1000), 20.0
    clock = FrameClock(log, "a.mkv")
    found = []
    for pts in (500, None, None, 510, 800, 700):
        frame = av.VideoFrame(16, 16)
        frame.pts = pts
        found.append(clock.tick(frame))
    np.testing.assert_allclose(found, [0, 0.05, 0.1, 0.15, 0.3, 0.35])


def test_decoding_stops_at_the_end_of_the_part(videos: dict[str, Path]) -> None:
    found = Decoder(MotionGuided(4), memory_budget=1 << 30).decode(
        videos["even"], OFFSETS, time_range=TimeRange(2, 10, "frames")
    )
    assert found.frames_decoded < 15


@pytest.mark.parametrize("memory_budget", [1 << 30, 0])
def test_a_part_without_frames_is_an_error_that_names_it(videos: dict[str, Path], memory_budget: int) -> None:
    decoder = Decoder(MotionGuided(4), memory_budget=memory_budget)
    record = record_of(videos["even"])
    for part in (TimeRange(50.0, 60.0), TimeRange(0.001, 0.002), TimeRange(30, None, "frames")):
        frames = part.frames(record)
        for arguments in ({}, {"record": record, "part": frames}):
            with pytest.raises(VideoDecodeError, match=f"even.mp4.* no frame in the part {part}"):
                decoder.decode(videos["even"], OFFSETS, time_range=part, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments",
    [
        (-1.0, 2.0),
        (3.0, 3.0),
        (float("nan"), 2.0),
        (0.0, float("inf")),
        ("0", 2.0),
        (1.5, 3.0, "frames"),
        (0, 1, "minutes"),
    ],
)
def test_invalid_parts_are_refused_with_their_value(arguments: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        TimeRange(*arguments)  # type: ignore[arg-type]
