"""Which frames DALI returns of a file, and in which order: its demuxing is replayed with its own FFmpeg."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import av
import pytest

from mgdali.errors import VideoDecodeError
from mgdali.gpu.nvdec import ANY_GPU, choose_way
from mgdali.index.measure import measure_video
from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from mgdali.video.packets import StreamLog
from mgdali.video.remux import remux_whole
from mgdali.video.stream_facts import probe
from tests.support.coded_videos import CODED, X264
from tests.support.copied_videos import Packet, copy_video, header_first
from tests.support.dali_demuxing import DaliError, libraries_missing, replay
from tests.support.videos import moving_square, write_video

# On busy cores, several threads of libvpx can wait for each other for minutes.
ONE_THREAD = {"threads": "1"}

pytestmark = pytest.mark.skipif(bool(libraries_missing()), reason=libraries_missing())


@cache
def frames_of_pyav(path: Path) -> list[int] | None:
    """Return the number of the packet of each frame that PyAV returns; None if they are not one to one."""
    log = StreamLog()
    for _ in read_frames(path, log=log):
        pass
    return None if log.packets is None else log.packets.tolist()


def check(path: Path, *, indexed: bool = False) -> tuple[str, list[str]]:
    """Return the way of a file, or ``"error"``, and what is wrong with its frames.

    Args:
        path: The file.
        indexed: Whether the file has a row in a motion index.
    """
    content = path.read_bytes()
    try:
        facts = probe(content, str(path))
    except VideoDecodeError:
        return "error", []
    record = measure_video(Media(str(path)), path.name, ()) if indexed else None
    if record is not None and record.error is not None:
        record = None
    way = choose_way(facts, ANY_GPU, record=record)
    if way.kind == "pyav":
        return way.kind, [] if way.reason else ["no reason"]
    try:
        expected = frames_of_pyav(path)
    except VideoDecodeError as error:
        # Only a decoder finds damage within a frame; NVDEC hides it.
        return way.kind, [f"it is left to DALI, but PyAV reports {error}"]
    width, height = facts.width, facts.height
    if way.kind == "remuxed":
        order = facts.order if record is None else record.packets
        width, height = facts.coded_width, facts.coded_height
        try:
            content = remux_whole(content, str(path), order=order, uncrop=facts.cropped)
        except VideoDecodeError as error:
            # Copying has more conditions; the loader then uses PyAV.
            return "pyav", [] if str(error) else ["no reason"]
    found = replay(content)
    errors = [] if list(found.frames) == expected else [f"frames {found.frames}, but PyAV's {expected}"]
    if (found.width, found.height) != (width, height):
        errors.append(f"{found.width}x{found.height} instead of {width}x{height} pixels")
    return way.kind, errors


def files_below(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".jpg")


@pytest.mark.parametrize("indexed", [False, True])
def test_dali_returns_the_frames_of_pyav_for_every_file_that_is_left_to_it(sample_videos: Path, indexed: bool) -> None:
    ways: dict[str, str] = {}
    failures = {}
    for path in files_below(sample_videos):
        ways[path.name], failures[path.name] = check(path, indexed=indexed)
    assert not any(failures.values()), {name: words for name, words in failures.items() if words}
    assert {"as is", "remuxed", "pyav"} <= set(ways.values())
    assert ("h264_160x120_16f.avi" in {name for name, kind in ways.items() if kind == "remuxed"}) == indexed


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["clips", "peers"])
def test_dali_returns_the_frames_of_pyav_for_all_shared_files(shared: Path, folder: str) -> None:
    if not (shared / folder).is_dir():
        pytest.skip(f"{shared / folder} is missing")
    failures: dict[str, list[str]] = {}
    for indexed in (False, True):
        kinds = set()
        for path in files_below(shared / folder):
            kind, failures[f"{path.name}, {indexed=}"] = check(path, indexed=indexed)
            kinds.add(kind)
        assert {"as is", "remuxed", "pyav"} <= kinds
    assert not any(failures.values()), {name: words for name, words in failures.items() if words}


@pytest.mark.parametrize("name", CODED)
def test_dali_returns_the_frames_of_pyav_for_each_kind_of_coding(tmp_path: Path, name: str) -> None:
    path = CODED[name].write(tmp_path)
    for indexed in (False, True):
        kind, errors = check(path, indexed=indexed)
        assert not errors
        # The sizes are multiples of 16, so only codec, container and hidden frames decide.
        if name.startswith(("mpeg2", "mjpeg", "av1")):
            assert kind == "pyav"
        elif path.suffix in (".mp4", ".mkv", ".webm"):
            assert kind == "as is"
        else:
            assert kind == ("remuxed" if indexed else "pyav")


def test_the_replay_puts_frames_of_avi_into_a_wrong_order(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", moving_square(30, 64, 96), options=X264)
    found = replay(path.read_bytes())
    assert all(packet.time is None for packet in found.packets)
    assert list(found.frames) == list(range(30)) != frames_of_pyav(path)


def test_the_replay_leaves_frames_unwritten_that_a_container_declares_but_lacks(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving_square(30, 64, 96), options=X264)
    content = header_first(path, tmp_path / "moved.mp4")
    with av.open(io.BytesIO(content)) as container:
        places = [packet.pos for packet in container.demux(container.streams.video[0]) if packet.size]
    assert None not in replay(content).frames
    cut = content[: places[20]]
    found = replay(cut)
    assert (len(found.packets), len(found.frames), found.frames.count(None)) == (20, 30, 10)
    assert choose_way(probe(cut, "cut.mp4"), ANY_GPU).reason == "its container declares 30 frames but has 20 packets"


def test_the_replay_sorts_in_a_buffer_of_eight(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", moving_square(30, 64, 96), codec="libvpx", options=ONE_THREAD)
    sorted_right = {}
    for late in (7, 8):
        # Frame 1 is stored after the next ones.
        order = [0, 1 + late, *range(1, 1 + late), *range(2 + late, 30)]
        content = _reordered(path, tmp_path / f"{late}.mkv", order)
        facts = probe(content, "clip.mkv")
        assert facts.reordering == late
        sorted_right[late] = list(replay(content).frames) == order
        assert (choose_way(facts, ANY_GPU).kind == "as is") == sorted_right[late]
    assert sorted_right == {7: True, 8: False}


def _reordered(path: Path, target: Path, order: list[int]) -> bytes:
    """Return the packets of a video with presentation times so that their numbers are displayed in the given order."""

    def place(number: int, packet: Packet) -> list[Packet]:
        packet.pts, packet.dts = 40 * order.index(number) + 400, 40 * number
        return [packet]

    return copy_video(path, target, change=place).read_bytes()


def test_the_replay_reports_files_that_dali_does_not_open() -> None:
    with pytest.raises(DaliError, match="cannot be opened"):
        replay(b"garbage" * 99)
