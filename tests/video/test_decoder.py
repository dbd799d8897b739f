"""Decoding videos for the picks of a sampler: the right frames, upright, within any memory budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError
from mgdali.samplers import MotionGuided, Representation, Segment, TopMotion
from mgdali.sampling import sample_motion_guided
from mgdali.video import picked_frames
from mgdali.video.decoder import Decoder
from mgdali.video.frames import read_frames
from mgdali.video.meters import measure_motion
from mgdali.video.packets import StreamLog
from mgdali.video.time_range import TimeRange
from tests.support.coded_videos import CODED
from tests.support.damaged_videos import Damage, write_damaged
from tests.support.videos import moving_square, rotate_by_metadata, write_video

BIG = 1 << 30


def decode_all(path: Path) -> NDArray[np.uint8]:
    return np.stack([frame.to_ndarray(format="rgb24") for frame in read_frames(path)])


def middle(num_frames: int) -> NDArray[np.float64]:
    return np.full(num_frames, 0.5)


@pytest.mark.slow
def test_picks_of_real_files_equal_the_golden_values(golden_motion: list[tuple[Path, dict[str, Any]]]) -> None:
    for path, case in golden_motion:
        for num_frames, picks in case["picks"].items():
            count = int(num_frames)
            decoded = Decoder(MotionGuided(num_frames=count), memory_budget=BIG).decode(str(path), middle(count))
            assert decoded.picks.tolist() == picks, path
            assert decoded.num_frames == len(case["luma"])


def test_every_real_format_gives_frames_of_its_size(real_videos: Path) -> None:
    for path in sorted((real_videos / "formats").iterdir()):
        decoded = Decoder(MotionGuided(num_frames=8), memory_budget=BIG).decode(str(path), middle(8))
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            upright = (stream.height, stream.width)
        expected = (*(upright[::-1] if "rotated" in path.name else upright), 3)
        assert {frame.shape for frame in decoded.frames.values()} == {expected}, path


def test_a_video_stored_as_rgb_gives_its_frames(tmp_path: Path) -> None:
    frames = moving_square(7, 40, 48)
    path = write_video(tmp_path / "rgb.mov", frames, codec="png", pixel_format="rgb24")
    decoded = Decoder(Segment(num_frames=3), memory_budget=BIG).decode(str(path), middle(3))
    assert all((decoded.frames[t] == frames[t]).all() for t in decoded.picks.tolist())


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv422p", "yuv420p10le", "yuvj420p"])
def test_pixel_formats_beyond_8_bit_420_load(tmp_path: Path, pixel_format: str) -> None:
    frames = moving_square(10, 48, 64)
    path = write_video(tmp_path / "clip.mp4", frames, pixel_format=pixel_format)
    decoded = Decoder(MotionGuided(num_frames=4), memory_budget=BIG).decode(str(path), middle(4))
    for t, rgb in decoded.frames.items():
        assert np.abs(rgb.astype(int) - frames[t]).mean() < 12


@pytest.mark.parametrize("budget", [0, 20_000, BIG])
def test_picked_frames_are_the_same_within_any_memory_budget(video: Path, budget: int) -> None:
    frames = decode_all(video)
    sampler = MotionGuided(num_frames=5)
    decoded = Decoder(sampler, memory_budget=budget).decode(str(video), middle(5))
    assert decoded.picks.tolist() == sample_motion_guided(measure_motion(video, Representation()), 5).tolist()
    assert sorted(decoded.frames) == np.unique(decoded.picks).tolist()
    assert all((rgb == frames[t]).all() for t, rgb in decoded.frames.items())
    second_pass = 0 if budget == BIG else decoded.picks[-1] + 1
    assert decoded.frames_decoded == len(frames) + second_pass


@pytest.mark.parametrize("time_range", [None, TimeRange(12, 33, "frames")])
def test_with_notes_the_second_pass_decodes_only_what_the_picks_need(
    tmp_path: Path, time_range: TimeRange | None
) -> None:
    path = CODED["h264-mp4"].write(tmp_path)
    frames = decode_all(path)
    # The notes of a log that the caller wants, and the decoder's own.
    for log, own in ((StreamLog(), False), (None, True)):
        decoder = Decoder(Segment(num_frames=2), memory_budget=0, note_times=own)
        decoded = decoder.decode(path, middle(2), time_range=time_range, log=log)
        assert sorted(decoded.frames) == decoded.picks.tolist() == ([12, 37] if time_range is None else [17, 27])
        assert all((rgb == frames[t]).all() for t, rgb in decoded.frames.items())
        first_pass = 50 if time_range is None or log is not None else decoded.first + decoded.num_frames + 1
        assert decoded.frames_decoded < first_pass + decoded.picks[-1]
        assert decoded.log_is_complete == (log is not None)


def test_frames_that_differ_when_decoded_in_part_are_decoded_as_a_whole(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = decode_all(video)

    def others(*_: Any) -> Any:
        return ((t, frame) for t, frame in enumerate(read_frames(video), 1))

    monkeypatch.setattr(picked_frames, "read_picked", others)
    decoded = Decoder(MotionGuided(num_frames=3), memory_budget=0, note_times=True).decode(video, middle(3))
    assert decoded.frames_decoded == len(frames) + decoded.picks[-1] + 1
    assert sorted(decoded.frames) == decoded.picks.tolist()
    assert all((rgb == frames[t]).all() for t, rgb in decoded.frames.items())


@pytest.mark.parametrize("budget", [BIG, 0])
def test_pictures_are_made_of_the_picked_frames_only(video: Path, budget: int) -> None:
    made: list[int] = []

    def corner(frame: av.VideoFrame) -> NDArray[np.uint8]:
        made.append(1)
        return frame.to_ndarray(format="rgb24")[:5, :7]

    decoded = Decoder(MotionGuided(num_frames=3), memory_budget=budget).decode(str(video), middle(3), picture=corner)
    assert len(made) == len(set(decoded.picks.tolist()))
    frames = decode_all(video)
    assert all((picture == frames[t][:5, :7]).all() for t, picture in decoded.frames.items())


def test_a_one_frame_video_is_repeated(tmp_path: Path) -> None:
    path = write_video(tmp_path / "one.mp4", moving_square(1, 32, 32))
    for sampler in (MotionGuided(num_frames=4), TopMotion(num_frames=4), Segment(num_frames=4)):
        decoded = Decoder(sampler, memory_budget=BIG).decode(str(path), middle(4))
        assert decoded.picks.tolist() == [0, 0, 0, 0]
        assert decoded.num_frames == 1


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_rotation_metadata_turns_the_frames_upright(video: Path, tmp_path: Path, quarter_turns: int) -> None:
    path = tmp_path / "turned.mp4"
    path.write_bytes(video.read_bytes())
    rotate_by_metadata(path, quarter_turns)
    decoded = Decoder(MotionGuided(num_frames=4), memory_budget=BIG).decode(str(path), middle(4))
    stored = decode_all(video)
    for t, rgb in decoded.frames.items():
        # numpy's rot90 turns counterclockwise, the metadata clockwise.
        assert (rgb == np.rot90(stored[t], k=-quarter_turns)).all()
    assert measure_motion(path, Representation()).tolist() == measure_motion(video, Representation()).tolist()


def test_variable_frame_rate_is_indexed_by_frame(tmp_path: Path) -> None:
    frames = moving_square(12, 32, 48)
    times = [0, 10, 20, 30, 400, 410, 420, 2000, 2010, 5000, 5010, 5020]
    path = write_video(tmp_path / "vfr.mkv", frames, times=times)
    shown = [round(frame.pts * frame.time_base * 1000) for frame in read_frames(path)]  # type: ignore[operator]
    assert shown == times
    decoded = Decoder(Segment(num_frames=4), memory_budget=BIG).decode(str(path), middle(4))
    assert decoded.picks.tolist() == [1, 4, 7, 10]
    stored = decode_all(path)
    assert all((rgb == stored[t]).all() for t, rgb in decoded.frames.items())


def test_frames_after_a_change_of_size_are_converted_to_the_first_size(tmp_path: Path) -> None:
    small = write_video(tmp_path / "small.h264", moving_square(6, 32, 48))
    large = write_video(tmp_path / "large.h264", moving_square(5, 64, 96))
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    decoded = Decoder(MotionGuided(num_frames=11), memory_budget=BIG).decode(str(path), middle(11))
    assert decoded.num_frames == 11
    assert {rgb.shape for rgb in decoded.frames.values()} == {(32, 48, 3)}


@pytest.mark.parametrize("budget", [BIG, 0])
@pytest.mark.parametrize("damage", ["cut", "zeros"])
@pytest.mark.parametrize("sampler", [MotionGuided(num_frames=5), Segment(num_frames=25)])
def test_a_kept_damaged_video_is_as_if_it_ended_before_the_damage(
    tmp_path: Path, sampler: Any, damage: Damage, budget: int
) -> None:
    damaged, intact = write_damaged(tmp_path, damage)
    offsets = np.random.default_rng(0).random(sampler.num_frames)
    kept = Decoder(sampler, memory_budget=budget, keep_damaged=True).decode(damaged, offsets)
    short = Decoder(sampler, memory_budget=BIG).decode(intact, offsets)
    assert kept.num_frames == short.num_frames == 25
    assert kept.picks.tolist() == short.picks.tolist()
    assert kept.frames.keys() == short.frames.keys()
    assert all((kept.frames[t] == short.frames[t]).all() for t in short.frames)
    if sampler.representation is not None:
        assert kept.motion is not None
        assert short.motion is not None
        assert kept.motion.tolist() == short.motion.tolist()
    assert short.damage is None
    assert kept.damage is not None
    assert (kept.damage.path, kept.damage.frame) == (str(damaged), 25)
    # A traceback would keep all decoded frames in memory.
    assert kept.damage.__traceback__ is kept.damage.__cause__ is kept.damage.__context__ is None


def test_a_damaged_video_is_an_error_unless_it_is_kept_and_has_enough_frames(tmp_path: Path) -> None:
    damaged, _ = write_damaged(tmp_path, "cut")
    for num_frames, keep_damaged in ((5, False), (26, True)):
        decoder = Decoder(Segment(num_frames=num_frames), memory_budget=BIG, keep_damaged=keep_damaged)
        with pytest.raises(VideoDecodeError, match="after 25 frames"):
            decoder.decode(damaged, middle(num_frames))


class OutOfRange(Segment):
    def pick(self, motion: Any, total: int, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.full(self.num_frames, total)


class WrongCount(Segment):
    def pick(self, motion: Any, total: int, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.zeros(self.num_frames + 1, np.int64)


@pytest.mark.parametrize("sampler", [OutOfRange(num_frames=2), WrongCount(num_frames=2)])
def test_wrong_picks_of_a_sampler_are_an_error(video: Path, sampler: Segment) -> None:
    with pytest.raises(ValueError, match=r"pick\(\) must return"):
        Decoder(sampler, memory_budget=BIG).decode(str(video), middle(2))
