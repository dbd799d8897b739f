"""Copies of parts of a video: their frames, times and S, whatever other parts are copied in the same pass."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mgdali import TimeRange, VideoDecodeError
from mgdali.packing.encode import EncodedVideo, encode_parts, encode_video
from mgdali.packing.encoding import Encoding
from mgdali.packing.parts import PartFinder, frames_of_part
from mgdali.samplers import Representation
from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from mgdali.video.meters import luma_plane, measure_motion
from mgdali.video.packets import StreamLog
from tests.support.damaged_videos import write_damaged
from tests.support.videos import moving_square, write_video

IMAGE = Representation()
LEVELS = (IMAGE, Representation(channels="rgb"))
# Times of frames in milliseconds, the first one not 0.
TIMES = [100 + 40 * t + 7 * (t % 3) for t in range(30)]
SECONDS = (TimeRange(0.0, 0.2), TimeRange(0.1, 0.5), TimeRange(0.4), TimeRange(0.9, 99.0))
FRAMES = tuple(TimeRange(*each, "frames") for each in ((0, 5), (25, 26), (3, 17), (12, None)))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Media:
    path = tmp_path_factory.mktemp("parts") / "a.mkv"
    options = {"crf": "18", "preset": "veryfast", "bf": "2", "g": "10"}
    return Media(str(write_video(path, moving_square(30, 48, 64), options=options, times=TIMES)))


def bounds(part: TimeRange) -> tuple[int, int]:
    """First frame and end of a part of the video."""
    if part.unit == "frames":
        return int(part.start), 30 if part.end is None else int(part.end)
    inside = [t for t in range(30) if part.start <= (TIMES[t] - 100) / 1000 < (part.end or 99)]
    return inside[0], inside[-1] + 1


@pytest.mark.parametrize("parts", [SECONDS, FRAMES], ids=["seconds", "frames"])
def test_copies_have_the_frames_times_and_motion_of_their_parts(video: Media, parts: tuple[TimeRange, ...]) -> None:
    planes = [luma_plane(frame).astype(float) for frame in read_frames(video)]
    motions = {name: measure_motion(video, level) for name, level in zip(("image", "image_rgb"), LEVELS, strict=True)}
    for part, copy in zip(parts, encode_parts(video, Encoding(quality=1), LEVELS, parts), strict=True):
        assert isinstance(copy, EncodedVideo)
        first, end = bounds(part)
        record = copy.record
        assert record.num_frames == end - first
        assert record.times is not None
        assert [time * Fraction(*record.time_base) for time in record.times.tolist()] == [
            Fraction(time - TIMES[first], 1000) for time in TIMES[first:end]
        ]
        for name, whole in motions.items():
            expected = whole[first:end].astype(np.float32)
            expected[0] = 0
            np.testing.assert_array_equal(record.motion[name], expected)
        media = Media("copy.mp4::copy.mp4", (0, len(copy.content)), content=copy.content)
        for t, frame in enumerate(read_frames(media)):
            assert np.abs(luma_plane(frame) - planes[first + t]).mean() < 2


def test_a_copy_does_not_depend_on_the_other_parts_of_the_pass(video: Media) -> None:
    together = encode_parts(video, Encoding(), (IMAGE,), FRAMES)
    for part, copy in zip(FRAMES, together, strict=True):
        assert isinstance(copy, EncodedVideo)
        alone = encode_video(video, Encoding(), (IMAGE,), part)
        assert alone.content == copy.content
        assert alone.record.motion["image"].tolist() == copy.record.motion["image"].tolist()


def test_the_part_with_all_frames_is_the_whole_video_but_for_the_time_of_the_first_frame(video: Media) -> None:
    part, whole = (encode_video(video, Encoding(), (IMAGE,), each) for each in (TimeRange(), None))
    assert part.record.num_frames == whole.record.num_frames == 30
    assert part.record.times is not None
    assert whole.record.times is not None
    assert (part.record.times[0], whole.record.times[0]) == (0, 100)
    assert part.record.motion["image"].tolist() == whole.record.motion["image"].tolist()


def test_a_part_without_a_frame_is_an_error_of_this_part_only(video: Media) -> None:
    parts = (TimeRange(0.001, 0.01), TimeRange(0.5, 0.7), TimeRange(50.0, 60.0))
    between, copy, after = encode_parts(video, Encoding(), (), parts)
    assert isinstance(copy, EncodedVideo)
    assert isinstance(between, VideoDecodeError)
    assert isinstance(after, VideoDecodeError)
    assert "it has no frame in the part seconds 0.001 to 0.01" in between.details
    assert "it has no frame in the part seconds 50 to 60" in after.details


def test_parts_before_damage_are_copied(tmp_path: Path) -> None:
    damaged, intact = write_damaged(tmp_path, "zeros")
    parts = (TimeRange(0, 10, "frames"), TimeRange(5, 40, "frames"), TimeRange(38, None, "frames"))
    good, *bad = encode_parts(Media(str(damaged)), Encoding(), (IMAGE,), parts)
    assert isinstance(good, EncodedVideo)
    assert good.content == encode_video(Media(str(intact)), Encoding(), (IMAGE,), parts[0]).content
    assert [isinstance(each, VideoDecodeError) and each.frame for each in bad] == [25, 25]


@pytest.mark.parametrize("part", [None, *SECONDS[:3], *FRAMES])
def test_the_frames_of_a_part_are_those_between_start_and_end(video: Media, part: Any) -> None:
    whole = [frame.pts for frame in read_frames(video)]
    first, end = (0, 30) if part is None else bounds(part)
    assert [frame.pts for frame in frames_of_part(video, part)] == whole[first:end]


def test_parts_of_different_units_are_refused() -> None:
    with pytest.raises(ValueError, match="the same unit, got .*'frames', 'seconds'"):
        PartFinder([TimeRange(1, 2, "frames"), TimeRange(1.0, 2.0)], StreamLog(), "a.mp4")
