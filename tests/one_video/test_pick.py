"""Picking frames of one video: equal to the reference, whatever the video is given as and however it is decoded."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mgdali
from mgdali import MotionGuided, PickedClip, Segment, Stride, TimeRange, TopMotion, Video, VideoDecodeError, pick_frames
from mgdali.choices import draw
from mgdali.index.build import build_index
from mgdali.one_video import pick
from mgdali.sampling import sample_motion_guided, sample_segment
from mgdali.video import part_files
from mgdali.video.decoder import DecodedVideo, Decoder
from mgdali.video.frames import read_frames
from mgdali.video.meters import luma_plane
from tests.support.coded_videos import CODED
from tests.support.damaged_videos import write_damaged
from tests.support.faulty_server import FaultyServer
from tests.support.videos import moving_square, rotate_by_metadata, write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An H.264 video with B-frames and open groups, 50 frames, 30 per second."""
    return CODED["h264-mp4"].write(tmp_path_factory.mktemp("pick"))


@pytest.fixture(scope="module")
def clip(video: Path) -> PickedClip:
    return pick_frames(video, 4)


@pytest.fixture
def two_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no decoded frame be kept until the picks are known."""
    monkeypatch.setattr(pick, "_MEMORY_BUDGET", 0)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[DecodedVideo]:
    """A list to which each result of a decoder is appended."""
    results: list[DecodedVideo] = []
    decode = Decoder.decode

    def noted(self: Decoder, *args: Any, **kwargs: Any) -> DecodedVideo:
        results.append(decode(self, *args, **kwargs))
        return results[-1]

    monkeypatch.setattr(Decoder, "decode", noted)
    return results


def rgb(path: Path) -> NDArray[np.uint8]:
    return np.stack([frame.to_ndarray(format="rgb24") for frame in read_frames(path)])


def assert_equal(one: PickedClip, other: PickedClip) -> None:
    for name in ("frames", "indices", "seconds", "motion"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs, name)
    assert (one.first_frame, one.frame_rate, one.sampler) == (other.first_frame, other.frame_rate, other.sampler)


# --- The result -------------------------------------------------------------------------------------------------------


def test_picks_are_those_of_the_reference(video: Path, clip: PickedClip) -> None:
    planes = np.stack([luma_plane(frame) for frame in read_frames(video)])
    motion = mgdali.motion.image_difference(planes)
    np.testing.assert_array_equal(clip.motion, motion)
    assert clip.indices.tolist() == sample_motion_guided(motion, 4).tolist()
    np.testing.assert_array_equal(clip.frames, rgb(video)[clip.indices])
    np.testing.assert_allclose(clip.seconds, clip.indices / 30)
    assert (clip.frames.dtype, clip.indices.dtype, clip.seconds.dtype) == (np.uint8, np.int64, np.float64)
    assert (clip.first_frame, clip.frame_rate, clip.name, clip.sampler) == (0, 30.0, str(video), MotionGuided(4))


def test_a_strategy_of_the_caller_picks_and_motion_is_measured_in_any_case(video: Path, clip: PickedClip) -> None:
    segment = pick_frames(video, sampler=Segment(5))
    assert segment.indices.tolist() == sample_segment(50, 5).tolist()
    assert segment.motion.tolist() == clip.motion.tolist()
    assert segment.sampler == Segment(5)
    top = pick_frames(video, 3, sampler=TopMotion(3))
    assert top.indices.tolist() == sorted(np.argsort(-clip.motion, kind="stable")[:3].tolist())
    assert len(pick_frames(video)) == 8


def test_random_offsets_are_a_function_of_the_seed(video: Path, clip: PickedClip) -> None:
    offsets = draw(3, 0, 0, 4, training=True).offsets
    random = pick_frames(video, 4, seed=3)
    assert random.indices.tolist() == sample_motion_guided(clip.motion, 4, offsets=offsets).tolist()
    assert_equal(random, pick_frames(video, 4, seed=3))


@pytest.mark.parametrize("sampler", [Segment(8), Stride(4, stride=2, past_end="loop")])
def test_frames_are_in_the_order_of_the_picks(tmp_path: Path, sampler: Segment | Stride) -> None:
    path = write_video(tmp_path / "short.mp4", moving_square(3, 32, 48))
    short = pick_frames(path, sampler=sampler)
    assert short.indices.tolist() == sampler.pick(None, 3, np.full(sampler.num_frames, 0.5)).tolist()
    np.testing.assert_array_equal(short.frames, rgb(path)[short.indices])


@pytest.mark.parametrize("quarter_turns", [1, 2])
def test_frames_are_upright(tmp_path: Path, quarter_turns: int) -> None:
    path = write_video(tmp_path / "turned.mp4", moving_square(6, 32, 48))
    stored = pick_frames(path, 2).frames
    rotate_by_metadata(path, quarter_turns)
    upright = np.rot90(stored, k=-quarter_turns, axes=(1, 2))
    np.testing.assert_array_equal(pick_frames(path, 2).frames, upright)
    small = pick_frames(path, 2, size=16).frames
    assert small.shape == ((2, 24, 16, 3) if quarter_turns % 2 else (2, 16, 24, 3))
    averages = upright.reshape(2, small.shape[1], 2, small.shape[2], 2, 3).mean(axis=(2, 4))
    assert np.abs(small - averages).mean() < 8


@pytest.mark.parametrize(("size", "shape"), [(64, (64, 96)), (33, (33, 49)), (128, (128, 192))])
def test_size_is_the_shorter_side(video: Path, clip: PickedClip, size: int, shape: tuple[int, int]) -> None:
    sized = pick_frames(video, 4, size=size)
    assert sized.frames.shape == (4, *shape, 3)
    assert sized.indices.tolist() == clip.indices.tolist()
    # The brightness stays that of the video.
    assert np.abs(sized.frames.mean(axis=(1, 2)) - clip.frames.mean(axis=(1, 2))).max() < 2


# --- Where the video comes from ---------------------------------------------------------------------------------------


class Pipe(io.RawIOBase):
    """A file that cannot seek."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)


@pytest.mark.parametrize("part", [{}, {"start": 0.5, "end": 1.2}])
def test_bytes_and_files_give_the_same_as_the_path(video: Path, tmp_path: Path, part: dict[str, float]) -> None:
    expected = pick_frames(str(video), 4, **part)
    content = video.read_bytes()
    from_bytes = pick_frames(content, 4, **part)
    assert_equal(from_bytes, expected)
    assert from_bytes.name == "<bytes>"
    assert_equal(pick_frames(Pipe(content), 4, **part), expected)  # type: ignore[arg-type]
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,), daemon=True).start()
    assert_equal(pick_frames(tmp_path / "pipe", 4, **part), expected)
    with video.open("rb") as file:
        file.seek(7)
        assert_equal(pick_frames(file, 4, **part), expected)
        assert (file.tell(), file.closed) == (7, False)
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(video, "videos/a.mp4")
    assert_equal(pick_frames(f"{tmp_path}/shard.tar::videos/a.mp4", 4, **part), expected)


def test_a_video_of_a_data_set_is_picked_from_in_its_segment(video: Path) -> None:
    segment = Video(str(video), 0, time_range=TimeRange(10, 30, "frames"))
    clip = pick_frames(segment, 4)
    assert (clip.first_frame, len(clip.motion)) == (10, 20)
    with pytest.raises(ValueError, match=r"end=0\.5 are not possible for the segment frames 10 to 30"):
        pick_frames(segment, 4, end=0.5)


@pytest.mark.parametrize(("ranges", "announced"), [(True, True), (False, True), (False, False)])
def test_a_url_gives_the_same_as_the_path(
    tmp_path: Path, video: Path, clip: PickedClip, monkeypatch: pytest.MonkeyPatch, ranges: bool, announced: bool
) -> None:
    pytest.importorskip("aiohttp")
    server = FaultyServer(video.parent, ranges=ranges, announced=announced)
    try:
        from_url = pick_frames(f"{server.url}/{video.name}", 4)
        assert_equal(from_url, clip)
        assert from_url.name == f"{server.url}/{video.name}"
    finally:
        server.close()


def parts_requested(server: FaultyServer) -> list[tuple[int, int]]:
    spans = [span.removeprefix("bytes=").split("-") for method, span in server.requests if method == "GET" and span]
    server.requests.clear()
    return [(int(first), int(last) + 1 - int(first)) for first, last in spans]


def test_a_url_is_read_in_parts_and_failed_requests_are_repeated(
    tmp_path: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, two_passes: None
) -> None:
    monkeypatch.setattr(part_files, "_FIRST_BLOCK", 1 << 10)
    monkeypatch.setattr(part_files, "_LARGEST_BLOCK", 4 << 10)
    frames = np.random.default_rng(0).integers(0, 256, (600, 16, 16, 3), np.uint8)
    path = write_video(tmp_path / "noise.mp4", frames, options={"preset": "ultrafast", "g": "10"})
    expected = pick_frames(path, 2)
    parts_requested(server)
    server.faults = [None, None, "503", "cut", "drop"]
    assert_equal(pick_frames(f"{server.url}/noise.mp4", 2), expected)
    parts = parts_requested(server)
    assert max(length for _, length in parts) <= 4 << 10
    # The first pass reads the file once. The second one reads less than half of it.
    assert sum(length for _, length in parts) < 1.5 * path.stat().st_size


def test_a_url_that_cannot_be_read_to_its_end_is_an_error(
    tmp_path: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_files, "_FIRST_BLOCK", 4 << 10)
    monkeypatch.setattr(part_files, "_LARGEST_BLOCK", 4 << 10)
    CODED["mpeg2-ts"].write(tmp_path)
    server.faults, server.always = [None] * 4, "503"
    # FFmpeg takes the error for the end of the stream.
    with pytest.raises(VideoDecodeError, match=r"mpeg2\.ts.*503"):
        pick_frames(f"{server.url}/mpeg2.ts", 4)


class Failing(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > len(self.getvalue()) // 2:
            raise RuntimeError("the tape is torn")
        return super().read(size)


class FailingPipe(Failing):
    def seekable(self) -> bool:
        return False

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size and 1000)


@pytest.mark.parametrize("kind", [Failing, FailingPipe])
def test_an_error_of_the_callers_file_is_named(tmp_path: Path, kind: type[Failing]) -> None:
    content = CODED["mpeg2-ts"].write(tmp_path).read_bytes()
    with pytest.raises(VideoDecodeError, match="cannot decode <file>: .*RuntimeError: the tape is torn"):
        pick_frames(kind(content), 4)


# --- Parts ------------------------------------------------------------------------------------------------------------


def test_a_part_has_the_motion_of_the_video_but_begins_with_0(video: Path, clip: PickedClip) -> None:
    part = pick_frames(video, 4, start=0.5, end=1.2)
    assert part.first_frame == 15
    assert part.motion.tolist() == [0, *clip.motion[16:36]]
    assert part.indices.tolist() == (15 + sample_motion_guided(part.motion, 4)).tolist()
    np.testing.assert_array_equal(part.frames, rgb(video)[part.indices])
    np.testing.assert_allclose(part.seconds, part.indices / 30)
    assert pick_frames(video, 4, start=1).first_frame == 30
    assert len(pick_frames(video, 4, end=1).motion) == 30


KINDS = [kind if kind == "h264-mp4" else pytest.param(kind, marks=pytest.mark.slow) for kind in CODED]


@pytest.mark.parametrize("kind", KINDS)
def test_all_ways_of_decoding_give_the_same(
    kind: str, tmp_path: Path, decoded: list[DecodedVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = CODED[kind].write(tmp_path)
    index = tmp_path / "index.parquet"
    build_index([path], index, num_workers=0)
    parts: list[dict[str, float]] = [{}, {"end": 0.9}]
    if CODED[kind].num_frames > 1:
        parts += [{"start": 0.3}, {"start": 0.5, "end": 1.2}]
    frames = rgb(path)
    times = np.array(CODED[kind].times or np.arange(50) / 0.03)
    for part in parts:
        expected = pick_frames(path, 4, **part)
        np.testing.assert_array_equal(expected.frames, frames[expected.indices])
        np.testing.assert_allclose(expected.seconds, times[expected.indices] / 1000, atol=1e-3)
        with monkeypatch.context() as context:
            context.setattr(pick, "_MEMORY_BUDGET", 0)
            assert_equal(pick_frames(path, 4, **part), expected)
        once, twice = (each.frames_decoded for each in decoded[-2:])
        # The second pass begins at key frames.
        assert once < twice <= once + len(expected.motion) + expected.first_frame
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert_equal(pick_frames(path, 4, index=index, **part), expected)
        assert decoded[-1].frames_decoded <= min(expected.indices[-1] + 1, twice - once)


@pytest.mark.parametrize("damage", ["burst", "headers"])
def test_the_second_pass_of_a_difficult_video_gives_the_same(tmp_path: Path, two_passes: None, damage: str) -> None:
    if damage == "burst":
        content = bytearray(CODED["h264-ts"].write(tmp_path).read_bytes())
        content[9000:9100] = content[14000:14100] = bytes(100)
    else:
        # The container changes the codec's headers in the middle.
        first = write_video(tmp_path / "a.flv", moving_square(20, 64, 96, seed=1), options={"qp": "20", "g": "5"})
        second = write_video(tmp_path / "b.flv", moving_square(20, 64, 96, seed=2), options={"qp": "40", "bf": "0"})
        content = bytearray(first.read_bytes() + second.read_bytes()[13:])
    path = tmp_path / "difficult"
    path.write_bytes(content)
    frames = rgb(path)
    clip = pick_frames(path, 6)
    np.testing.assert_array_equal(clip.frames, frames[clip.indices])


def test_a_video_that_is_not_in_the_index_is_decoded_as_a_whole_with_a_warning(
    video: Path, clip: PickedClip, tmp_path: Path
) -> None:
    other = write_video(tmp_path / "other.mp4", moving_square(5, 32, 48))
    index = tmp_path / "index.parquet"
    build_index([other], index, num_workers=0)
    with pytest.warns(RuntimeWarning, match="is not in the index: decoding all of its frames"):
        assert_equal(pick_frames(video, 4, index=index), clip)
    other.write_bytes(video.read_bytes())
    with pytest.warns(RuntimeWarning, match="has changed since it was measured"):
        assert_equal(pick_frames(other, 4, index=index), clip)


def test_times_that_an_index_cannot_hold_are_found_by_decoding(tmp_path: Path) -> None:
    part = CODED["mpeg2-ts"].write(tmp_path).read_bytes()
    path = tmp_path / "joined.ts"
    # The times of the second half begin again.
    path.write_bytes(part + part)
    expected = pick_frames(path, 4)
    assert (np.diff(expected.seconds) > 0).all()
    index = tmp_path / "index.parquet"
    build_index([path], index, num_workers=0)
    with pytest.warns(RuntimeWarning, match="has frames whose times are not in the index"):
        assert_equal(pick_frames(path, 4, index=index), expected)


# --- Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_frames": 0}, "num_frames must be an integer >= 1, got 0"),
        ({"num_frames": 4, "sampler": Segment(5)}, r"num_frames=4 and sampler=Segment\(num_frames=5\)"),
        ({"sampler": Segment}, "sampler=Segment is a class"),
        ({"size": 0}, "size must be an integer >= 1, got 0"),
        ({"size": 2.5}, "size must be an integer >= 1, got 2.5"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"start": -1}, "start must be a number of seconds >= 0, got -1"),
        ({"start": 2, "end": 1}, "end must be greater than start, got start=2 and end=1"),
        ({"video": b"", "index": "a.parquet"}, "index='a.parquet' needs the path or URL of the video, got bytes"),
        ({"index": 5}, "index must be a path, a URL or a MotionIndex, got 5"),
        ({"size": 10**5}, "size=100000: FFmpeg cannot make frames of 150000 x 100000 pixels from 96 x 64"),
        ({"video": ""}, "video must be a path or a URL, got ''"),
        ({"video": "a\0b.mp4"}, r"video must be a path or a URL, got 'a\\x00b.mp4'"),
        ({"video": 5}, "video must be a path, a URL, bytes or a file that is open in binary mode, got int"),
        ({"video": io.StringIO("text")}, "<file> is not open in binary mode"),
    ],
)
def test_wrong_arguments_are_named_with_their_values(video: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pick_frames(**{"video": video, **given})


def test_errors_of_videos_name_the_file_and_what_to_do(video: Path, tmp_path: Path) -> None:
    with pytest.raises(VideoDecodeError, match=r"missing\.mp4: No such file.* Check that the file exists"):
        pick_frames(tmp_path / "missing.mp4")
    with pytest.raises(VideoDecodeError, match="cannot decode <bytes>: .*before its first frame.* whole content of"):
        pick_frames(b"no video")
    with pytest.raises(VideoDecodeError, match=r"missing\.tar::a\.mp4: cannot read the shard"):
        pick_frames(tmp_path / "missing.tar::a.mp4")
    with (tmp_path / "new").open("wb") as file, pytest.raises(ValueError, match=r'new is not open .* mode "rb"'):
        pick_frames(file)
    with pytest.raises(
        VideoDecodeError, match=r"no frame in the part seconds 9 to the end.*Check that start= and end="
    ):
        pick_frames(video, start=9)
    damaged, _ = write_damaged(tmp_path, "zeros")
    with pytest.raises(VideoDecodeError, match=r"zeros\.mp4: .*after 25 frames.*before the damage with end="):
        pick_frames(damaged)
    assert len(pick_frames(damaged, end=0.5).motion) == 15


def test_arguments_that_need_too_much_memory_are_named(video: Path) -> None:
    with pytest.raises(MemoryError, match="num_frames=1000000000000000 and size=None need more memory"):
        pick_frames(video, 10**15)


# --- Processes and threads --------------------------------------------------------------------------------------------


def test_calls_in_many_threads_give_the_same(video: Path, clip: PickedClip, two_passes: None, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(video.read_bytes()[:3000])
    content = video.read_bytes()

    def call(number: int) -> PickedClip | VideoDecodeError:
        try:
            return pick_frames([video, broken, content, io.BytesIO(content)][number % 4], 4)
        except VideoDecodeError as error:
            return error

    with ThreadPoolExecutor(32) as pool:
        for number, result in enumerate(pool.map(call, range(32))):
            if number % 4 == 1:
                assert isinstance(result, VideoDecodeError)
            else:
                assert isinstance(result, PickedClip)
                assert_equal(result, clip)


@pytest.mark.slow
def test_picking_imports_neither_torch_nor_dali(video: Path) -> None:
    program = (
        "import sys, json, mgdali; mgdali.pick_frames(sys.argv[1], 4, size=32).images(); "
        "print(json.dumps([name for name in ('torch', 'nvidia.dali', 'cupy', 'pyarrow', 'matplotlib', 'numba') "
        "if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(video)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
