"""Reading the packets that picks need, so that they can be decoded as one stream."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

from mgdali import VideoDecodeError
from mgdali.video.joinable import NeededPackets, read_needed
from mgdali.video.media import Media
from mgdali.video.packets import packet_decoder
from mgdali.video.picked_frames import frames_needed, needed_packets
from mgdali.video.record import VideoRecord
from tests.support.coded_videos import CODED, Coded
from tests.video.test_packet_bytes import without_container

_GROUPS = "keyint=8:min-keyint=8:scenecut=0:b-adapt=0"
KINDS = {
    "h264-closed": Coded("libx264", "a.mp4", {"x264-params": f"{_GROUPS}:open-gop=0:bframes=6:b-pyramid=none"}),
    "h264-pyramid": Coded("libx264", "b.mp4", {"x264-params": f"{_GROUPS}:open-gop=0:bframes=3:b-pyramid=normal"}),
    "hevc-closed": Coded(
        "libx265", "c.mp4", {"x265-params": f"{_GROUPS}:open-gop=0:bframes=6:b-pyramid=0:log-level=none"}
    ),
    "h264-open": CODED["h264-mp4"],
    "hevc-open": CODED["hevc-mp4"],
    "vp9": CODED["vp9"],
    "av1": CODED["av1"],
}
CLOSED = ["h264-closed", "h264-pyramid", "hevc-closed", "vp9"]
OPEN = ["h264-open", "hevc-open"]

Made = Callable[[str], tuple[Media, VideoRecord]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A function that returns a file with the packets of a video of :data:`KINDS`, and its record."""
    folder = tmp_path_factory.mktemp("joinable")

    def make(kind: str) -> tuple[Media, VideoRecord]:
        target = folder / f"{kind}.packets"
        return Media(str(target)), without_container(KINDS[kind].write(folder), target)

    return cache(make)


def decoded(record: VideoRecord, packets: list[bytes]) -> list[bytes]:
    """Decode packets as one stream, and return the samples of the frames."""
    context = packet_decoder(record.codec, record.extradata)
    frames = [frame for content in packets for frame in context.decode(av.Packet(content))]
    return [frame.to_ndarray().tobytes() for frame in [*frames, *context.decode(None)]]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[int, int]]]:
    """The parts that each call has read since the test began."""
    calls: list[list[tuple[int, int]]] = []
    read = Media.read_parts

    def noted(media: Media, parts: list[tuple[int, int]]) -> list[bytes]:
        calls.append(list(parts))
        return read(media, parts)

    monkeypatch.setattr(Media, "read_parts", noted)
    monkeypatch.setattr(Media, "read", None)
    return calls


@pytest.mark.parametrize("kind", KINDS)
def test_the_packets_joined_in_order_give_the_picked_frames_of_the_whole_stream(kind: str, made: Made) -> None:
    media, record = made(kind)
    everything = read_needed(media, record, list(range(record.num_frames)))
    whole = decoded(record, everything.decoded)
    assert len(whole) == record.num_frames
    rng = random.Random(5)
    for count in (1, 1, 2, 4, 8):
        picks = [rng.randrange(record.num_frames) for _ in range(count)]
        needed = read_needed(media, record, picks)
        frames = decoded(record, needed.decoded)
        assert len(frames) == len(needed.frames)
        assert needed.picks.tolist() == picks
        assert [frames[place] for place in np.searchsorted(needed.frames, picks)] == [whole[pick] for pick in picks]


@pytest.mark.parametrize("kind", CLOSED)
def test_in_closed_groups_only_the_runs_that_picks_need_are_read_at_once(
    kind: str, made: Made, spans: list[list[tuple[int, int]]]
) -> None:
    media, record = made(kind)
    assert record.packet_sizes is not None
    picks = [2, 21, 45]
    needed = read_needed(media, record, picks)
    runs = needed_packets(record, picks)
    assert list(needed.contents) == [number for first, last in runs for number in range(first, last + 1)]
    assert len(needed.frames) == frames_needed(record, picks)
    assert len(spans) == 1
    between = sum(last - first for first, last in runs) + len(runs) - len(spans[0])
    assert sum(length for _, length in spans[0]) <= sum(map(len, needed.contents.values())) + 1024 * between
    assert len(needed.contents) < record.num_frames


@pytest.mark.parametrize("kind", OPEN)
def test_in_open_groups_all_packets_up_to_the_last_pick_are_read(
    kind: str, made: Made, spans: list[list[tuple[int, int]]]
) -> None:
    media, record = made(kind)
    assert record.packets is not None
    needed = read_needed(media, record, [40, 30])
    last = int(record.packets[[30, 40]].max())
    assert list(needed.contents) == list(range(last + 1))
    assert len(spans) == 2
    wanted = record.referenced & (record.packets <= last)
    wanted[[30, 40]] = True
    assert needed.frames.tolist() == np.flatnonzero(wanted).tolist()


def test_a_pick_in_the_first_open_group_needs_one_read(made: Made, spans: list[list[tuple[int, int]]]) -> None:
    media, record = made("h264-open")
    assert record.packets is not None
    needed = read_needed(media, record, [3])
    assert len(spans) == 1
    assert max(needed.contents) == record.packets[3]


def test_in_groups_of_a_key_frame_a_p_frame_and_b_frames_a_pick_needs_at_most_three_frames(made: Made) -> None:
    for kind in ("h264-closed", "hevc-closed"):
        media, record = made(kind)
        counts = [len(read_needed(media, record, [t]).frames) for t in range(48)]
        assert sorted(counts[:8]) == [1, 2, 3, 3, 3, 3, 3, 3]
        assert counts == counts[:8] * 6


@pytest.mark.parametrize("picks", [[], [-1], [3, 50]])
def test_picks_outside_the_video_are_refused(picks: list[int], made: Made) -> None:
    media, record = made("h264-closed")
    with pytest.raises(ValueError, match="picks must be frames from 0 to 49"):
        read_needed(media, record, picks)


def test_a_record_without_the_order_of_its_packets_is_refused(made: Made) -> None:
    media, record = made("h264-closed")
    with pytest.raises(ValueError, match="not one to one"):
        read_needed(media, replace(record, packets=None), [3])


def test_a_file_that_ends_before_a_packet_is_an_error(made: Made, tmp_path: Path) -> None:
    media, record = made("h264-closed")
    cut = tmp_path / "cut"
    cut.write_bytes(Path(media.path).read_bytes()[:-100])
    assert isinstance(read_needed(Media(str(cut)), record, [3]), NeededPackets)
    with pytest.raises(VideoDecodeError, match="before the end of the part"):
        read_needed(Media(str(cut)), record, [49])
