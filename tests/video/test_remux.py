"""Copies of videos in Matroska, compared with the originals by decoding both with PyAV."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from nvidia.dali import fn, pipeline_def

from mgdali import VideoDecodeError
from mgdali.index.measure import measure_video
from mgdali.samplers import Representation
from mgdali.video.bare_stream import BARE_CODECS
from mgdali.video.bitstream.packet_headers import CODECS, PacketHeaders
from mgdali.video.frames import read_frames
from mgdali.video.joinable import read_needed
from mgdali.video.media import Media
from mgdali.video.picked_frames import frames_needed
from mgdali.video.record import VideoRecord
from mgdali.video.remux import FRAME_STEP_MS, Remuxed, remux_needed, remux_picked, remux_whole
from mgdali.video.stream_facts import facts_of_packets
from tests.support.coded_videos import CODED, Coded
from tests.support.copied_videos import copy_video
from tests.support.damaged_videos import write_damaged
from tests.support.sample_videos import FORMATS, PACKED, shared_folder
from tests.support.videos import moving_square, write_video
from tests.video.test_packet_bytes import without_container

_CLOSED = "keyint=12:min-keyint=12:scenecut=0:open-gop=0:b-adapt=0"
X264_CLOSED = {"x264-params": f"{_CLOSED}:bframes=3:b-pyramid=normal"}
X265_CLOSED = {"x265-params": f"{_CLOSED}:bframes=4:b-pyramid=1:log-level=none"}

WAYS = {
    **CODED,
    "h264-closed": Coded("libx264", "closed.mp4", X264_CLOSED),
    "h264-avi": Coded("libx264", "closed.avi", X264_CLOSED),
    "h264-flv": Coded("libx264", "closed.flv", X264_CLOSED),
    "h264-raw": Coded("libx264", "closed.h264", X264_CLOSED),
    "h264-fields": Coded("libx264", "fields.mp4", {"x264-params": f"{_CLOSED}:bframes=3:interlaced=1"}),
    "hevc-closed": Coded("libx265", "closed265.mp4", X265_CLOSED),
    # Frames that are stored after an IDR frame and displayed before it.
    "hevc-leading": Coded("libx265", "leading.mkv", {"x265-params": X265_CLOSED["x265-params"] + ":radl=2"}),
    "hevc-raw": Coded("libx265", "closed.hevc", X265_CLOSED),
    "mpeg4-mp4": Coded("mpeg4", "mpeg4.mp4", {"bf": "2", "g": "12"}),
    "mpeg4-closed": Coded(
        "mpeg4", "closed4.avi", {"bf": "2", "g": "12", "flags": "+cgop", "sc_threshold": "1000000000"}
    ),
}
# Sizes that the headers of H.264 and HEVC can only tell by cropping.
WAYS |= {
    kind: replace(coded, height=52, width=90) for kind, coded in WAYS.items() if coded.codec in ("libx264", "libx265")
}
REFUSED = {kind for kind, coded in WAYS.items() if coded.codec in ("mpeg2video", "mjpeg")}
OPEN = {kind for kind, coded in WAYS.items() if "open-gop=1" in str(coded.options)}
COPIED = [kind for kind in WAYS if kind not in REFUSED]
# All codecs but MPEG-4.
JOINED = [kind for kind in COPIED if not kind.startswith("mpeg4")]
UNCROPPED = [kind for kind in COPIED if WAYS[kind].codec in ("libx264", "libx265")]


class Original:
    """A video with its record and all of its frames."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.content = path.read_bytes()
        media = Media(self.path, content=self.content)
        self.record = measure_video(media, self.path, (Representation(),))
        self.frames = [picture(frame) for frame in read_frames(media)]

    def copy(self, picks: list[int], *, uncrop: bool = False) -> Remuxed:
        return remux_picked(self.content, self.path, self.record, picks, uncrop=uncrop)

    @cached_property
    def apart(self) -> tuple[Media, VideoRecord]:
        """The packets of the video without a container, and its record."""
        with TemporaryDirectory() as folder:
            target = Path(folder) / "packets"
            record = without_container(Path(self.path), target)
            return Media(self.path, content=target.read_bytes()), record

    def join(self, picks: list[int], *, uncrop: bool = False) -> Remuxed:
        media, record = self.apart
        return remux_needed(read_needed(media, record, picks), media.path, record, uncrop=uncrop)

    def copy_whole(self, *, times: bool = False, uncrop: bool = False) -> bytes:
        order = None if times else self.record.packets
        return remux_whole(self.content, self.path, order=order, uncrop=uncrop)

    def frames_of(self, copy: bytes, *, left: int = 0, top: int = 0) -> list[bytes]:
        """Return the frames of a copy, cut to the size of the original."""
        box = (left, top, self.record.width, self.record.height)
        return [picture(frame, box) for frame in decoded(copy)]

    def assert_picks(self, picks: list[int], copy: Remuxed, *, left: int = 0, top: int = 0) -> None:
        """Compare the picked frames of a copy with those of the original, and count its frames and packets."""
        frames = self.frames_of(copy.content, left=left, top=top)
        assert len(frames) == copy.num_frames == len(assert_times(copy.content))
        assert copy.picks.dtype == np.int64
        assert [frames[t] for t in copy.picks] == [self.frames[t] for t in picks]


def picture(frame: av.VideoFrame, box: tuple[int, int, int, int] | None = None) -> bytes:
    """Return the samples of a frame's planes within a box: left, top, width, height."""
    left, top, width, height = box or (0, 0, frame.width, frame.height)
    rows = []
    for plane in frame.planes:
        across, down = -(-frame.width // plane.width), -(-frame.height // plane.height)
        samples = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        size = 2 if frame.format.components[0].bits > 8 else 1
        columns = slice(left // across * size, -(-(left + width) // across) * size)
        rows.append(samples[top // down : -(-(top + height) // down), columns].tobytes())
    return b"".join(rows)


def decoded(copy: bytes) -> Iterator[av.VideoFrame]:
    return read_frames(Media("copy.mkv", content=copy))


def packets_of(content: bytes) -> list[bytes]:
    with av.open(io.BytesIO(content)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def assert_times(copy: bytes) -> list[int]:
    """Return the places of a copy's packets in display order, after a check that they are 0, 1, 2, … in some order."""
    with av.open(io.BytesIO(copy)) as container:
        assert container.format.name == "matroska,webm"
        assert container.streams.video[0].time_base == Fraction(1, 1000)
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert packets[0].is_keyframe
    times = [packet.pts for packet in packets]
    assert sorted(times) == list(range(0, FRAME_STEP_MS * len(times), FRAME_STEP_MS))
    return [time // FRAME_STEP_MS for time in times]


def random_picks(num_frames: int, sets: int) -> list[list[int]]:
    """Return sets of picks, unordered and with repetitions, the same ones each time."""
    rng = random.Random(7)
    return [[rng.randrange(num_frames) for _ in range(rng.choice([1, 2, 4, 8, 16]))] for _ in range(sets)]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Original]:
    """A function that returns a video of :data:`WAYS`."""
    folder = tmp_path_factory.mktemp("originals")
    return cache(lambda kind: Original(WAYS[kind].write(folder)))


Originals = Callable[[str], Original]


@pytest.mark.parametrize("kind", COPIED)
def test_picked_frames_of_a_copy_are_those_of_the_original(kind: str, original: Originals) -> None:
    video = original(kind)
    for picks in random_picks(video.record.num_frames, 8):
        video.assert_picks(picks, video.copy(picks))


@pytest.mark.slow
@pytest.mark.parametrize("kind", JOINED)
def test_packets_that_were_read_without_the_container_give_the_same_copy(kind: str, original: Originals) -> None:
    video = original(kind)
    assert video.record.codec in BARE_CODECS
    for picks in random_picks(video.record.num_frames, 4):
        for uncrop in (False, True)[: 1 + (kind in UNCROPPED)]:
            copy, joined = video.copy(picks, uncrop=uncrop), video.join(picks, uncrop=uncrop)
            video.assert_picks(picks, joined)
            assert packets_of(joined.content) == packets_of(copy.content)
            assert (joined.num_frames, joined.picks.tolist()) == (copy.num_frames, copy.picks.tolist())


@pytest.mark.parametrize("kind", UNCROPPED)
def test_picked_frames_of_a_copy_without_cropping_are_those_of_the_original(kind: str, original: Originals) -> None:
    video = original(kind)
    for picks in random_picks(video.record.num_frames, 4):
        video.assert_picks(picks, video.copy(picks, uncrop=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", COPIED)
def test_each_frame_can_be_picked_alone(kind: str, original: Originals) -> None:
    video = original(kind)
    for t in range(video.record.num_frames):
        video.assert_picks([t], video.copy([t]))


@pytest.mark.parametrize("kind", COPIED)
def test_a_whole_copy_has_all_frames_in_order(kind: str, original: Originals) -> None:
    video = original(kind)
    for uncrop in (False, True)[: 1 + (kind in UNCROPPED)]:
        copy = video.copy_whole(uncrop=uncrop)
        assert video.frames_of(copy) == video.frames
        assert video.record.packets is not None
        assert assert_times(copy) == np.argsort(video.record.packets).tolist()


@pytest.mark.parametrize("kind", ["h264-mp4", "h264-ts", "h264-uneven-times", "hevc-ts", "vp8", "av1"])
def test_times_of_packets_give_the_same_copy_as_the_order_of_a_record(kind: str, original: Originals) -> None:
    video = original(kind)
    assert video.copy_whole(times=True) == video.copy_whole()


def test_packets_are_copied_unchanged(original: Originals) -> None:
    for kind in ("h264-mp4", "hevc-mp4", "vp9-hidden-frames", "mpeg4-avi"):
        assert packets_of(original(kind).copy_whole()) == packets_of(original(kind).content)


@pytest.mark.parametrize("kind", sorted(set(COPIED) - OPEN))
def test_in_closed_groups_no_packet_is_copied_that_is_not_needed(kind: str, original: Originals) -> None:
    video = original(kind)
    for picks in random_picks(video.record.num_frames, 12):
        assert video.copy(picks).num_frames == frames_needed(video.record, sorted(set(picks)))


@pytest.mark.parametrize("kind", sorted(OPEN))
def test_in_open_groups_all_referenced_packets_since_the_idr_frame_are_copied(kind: str, original: Originals) -> None:
    video = original(kind)
    record = video.record
    # The encoder writes one IDR frame, the first.
    assert len(record.key_frames) == 5
    assert record.packets is not None
    for picks in random_picks(record.num_frames, 12):
        needed = record.referenced & (record.packets <= record.packets[picks].max())
        needed[picks] = True
        assert video.copy(picks).num_frames == needed.sum()


@pytest.mark.parametrize("kind", ["h264-mp4", "h264-ts", "hevc-layers"])
def test_frames_are_wrong_if_a_copy_begins_at_the_key_frame_of_an_open_group(
    kind: str, original: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = original(kind)
    assert video.record.key_frames[2] == 24
    picks = [5, 30]
    video.assert_picks(picks, video.copy(picks))
    monkeypatch.setattr(PacketHeaders, "decoding_can_begin", lambda self, packet: True)
    with pytest.raises(AssertionError):
        video.assert_picks(picks, video.copy(picks))


def test_leading_frames_of_mpeg4_get_the_frames_before_the_key_frame(original: Originals) -> None:
    video = original("mpeg4-mp4")
    packets = video.record.packets
    assert packets is not None
    key = int(video.record.key_frames[2])
    # Stored after the key frame and displayed before it.
    leading = key - 1
    assert packets[leading] > packets[key]
    earlier = int(video.record.key_frames[1])
    assert video.copy([key]).num_frames == 1
    assert video.copy([leading]).num_frames == 2 + video.record.referenced[earlier:key].sum()
    video.assert_picks([key + 1, leading], video.copy([key + 1, leading]))


@pytest.mark.parametrize("kind", ["h264-closed", "h264-raw", "hevc-closed", "hevc-raw"])
@pytest.mark.parametrize("uncrop", [False, True])
def test_dalis_filter_separates_idr_frames_that_follow_each_other(kind: str, uncrop: bool, original: Originals) -> None:
    video = original(kind)
    # Every second IDR frame of x264 has the same identification. Without parameter sets between them, a decoder may
    # take two of them for one frame.
    keys = video.record.key_frames.tolist()
    copy = video.copy([keys[0], keys[2], keys[4]], uncrop=uncrop)
    codec = video.record.codec
    with av.open(io.BytesIO(copy.content)) as container:
        stream = container.streams.video[0]
        to_annex_b = BitStreamFilterContext(f"{codec}_mp4toannexb", stream)
        packets = [bytes(p) for packet in container.demux(stream) if packet.size for p in to_annex_b.filter(packet)]
    assert len(packets) == 3
    for packet in packets:
        units = [unit[0] & 31 if codec == "h264" else unit[0] >> 1 & 63 for unit in packet.split(b"\0\0\1")[1:]]
        sets, slices = ({7, 8}, {5}) if codec == "h264" else ({32, 33, 34}, {19, 20})
        first_slice = next(i for i, unit in enumerate(units) if unit in slices)
        assert sets <= set(units[:first_slice])


SIZES = [(340, 256), (640, 360), (250, 250), pytest.param((1920, 1080), marks=pytest.mark.slow)]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_frames_without_cropping_have_the_coded_size(codec: str, size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {"preset": "ultrafast"}
    frames = moving_square(5, height, width, seed=4)
    video = Original(write_video(tmp_path / "a.mp4", frames, codec=codec, options=options))
    # The coding block of H.264 has 16 samples; the smallest one of HEVC in these files has 8.
    block = 16 if codec == "libx264" else 8
    coded = (-(-width // block) * block, -(-height // block) * block)
    copies = [video.copy_whole(uncrop=True), video.copy_whole(times=True, uncrop=True)]
    copies.append(video.copy([4, 1, 3, 0, 2], uncrop=True).content)
    for copy in copies:
        assert {(frame.width, frame.height) for frame in decoded(copy)} == {coded}
        with av.open(io.BytesIO(copy), container_options={"codec_whitelist": "none"}) as container:
            # Read from the container's header, as DALI does.
            stream = container.streams.video[0]
            assert (stream.codec_context.width, stream.codec_context.height) == coded
        assert video.frames_of(copy) == video.frames
    assert {(frame.width, frame.height) for frame in decoded(video.copy_whole())} == {size}


def write_cropped(folder: Path, codec: str, container: str, left: int) -> tuple[Path, Path]:
    """Write a video of 160 by 64 samples without cropping, and a copy with offsets in its headers."""
    uncropped = folder / "uncropped.mp4"
    encoder, options = ("libx264", {}) if codec == "h264" else ("libx265", {"x265-params": "log-level=none"})
    write_video(uncropped, moving_square(8, 64, 160), codec=encoder, options=options)
    crop = f"crop_left={left}:crop_top=8:crop_right=2:crop_bottom=4"
    return uncropped, copy_video(uncropped, folder / f"a.{container}", bitstream_filter=f"{codec}_metadata={crop}")


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("container", ["mp4", "ts"])
def test_the_visible_part_begins_at_the_original_crop_offsets(codec: str, container: str, tmp_path: Path) -> None:
    uncropped, path = write_cropped(tmp_path, codec, container, 64)
    video = Original(path)
    assert (video.record.width, video.record.height) == (94, 52)
    picks = [7, 2, 2]
    video.assert_picks(picks, video.copy(picks))
    video.assert_picks(picks, video.copy(picks, uncrop=True), left=64, top=8)
    whole = video.copy_whole(uncrop=True)
    assert video.frames_of(whole, left=64, top=8) == video.frames
    assert list(map(picture, decoded(whole))) == Original(uncropped).frames


def test_a_left_offset_that_ffmpeg_rounds_down_is_refused(tmp_path: Path) -> None:
    video = Original(write_cropped(tmp_path, "h264", "mp4", 16)[1])
    assert video.record.width == 158
    with pytest.raises(VideoDecodeError, match=r"size \(158, 52\), but its headers say \(142, 52\)"):
        video.copy([0])


@pytest.mark.parametrize("kind", ["mpeg4-avi", "vp8", "vp9", "av1"])
def test_the_cropping_of_other_codecs_is_not_changed(kind: str, original: Originals) -> None:
    with pytest.raises(VideoDecodeError, match="cropping"):
        original(kind).copy([0], uncrop=True)
    with pytest.raises(VideoDecodeError, match="cropping"):
        original(kind).copy_whole(uncrop=True)


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_codecs_that_dali_does_not_decode_on_a_gpu_are_refused(kind: str, original: Originals) -> None:
    video = original(kind)
    assert video.record.codec not in CODECS
    for copy in (lambda: video.copy([0]), video.copy_whole):
        with pytest.raises(VideoDecodeError, match=f"packets of {video.record.codec}"):
            copy()


def test_a_packed_stream_is_refused(tmp_path: Path) -> None:
    FORMATS[PACKED](tmp_path / PACKED)
    video = Original(tmp_path / PACKED)
    with pytest.raises(ValueError, match="not one to one"):
        video.copy([0])


@pytest.mark.parametrize("picks", [[], [-1], [50], [3, 50]])
def test_picks_outside_the_video_are_refused(picks: list[int], original: Originals) -> None:
    with pytest.raises(ValueError, match="picks must be frames from 0 to 49"):
        original("h264-mp4").copy(picks)


def test_joined_packets_are_refused_for_the_same_reasons_as_a_file(original: Originals, tmp_path: Path) -> None:
    media, record = original("h264-closed").apart
    needed = read_needed(media, record, [3])
    with pytest.raises(VideoDecodeError, match=r"size \(92, 52\), but its headers say \(90, 52\)"):
        remux_needed(needed, "a", replace(record, width=92), uncrop=False)
    with pytest.raises(VideoDecodeError, match="FFmpeg finds no headers of h264"):
        remux_needed(needed, "a", replace(record, extradata=None), uncrop=False)
    with pytest.raises(VideoDecodeError, match="does not begin with a key frame"):
        remux_needed(needed, "a", replace(record, key_frames=record.key_frames[1:]), uncrop=False)
    with pytest.raises(VideoDecodeError, match="cropping of vp9"):
        original("vp9").join([3], uncrop=True)
    path = tmp_path / "a.h264"
    path.write_bytes(b"".join([write_raw(path, "libx264", width) for width in (96, 80)]))
    with pytest.raises(VideoDecodeError, match="parameter sets change in packet 4"):
        Original(path).join([6])


def write_raw(path: Path, codec: str, width: int) -> bytes:
    """Write a video of four frames, and return its stream without a container."""
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    content = write_video(path, moving_square(4, 64, width), codec=codec, options=options).read_bytes()
    if codec != "mpeg4":
        return content
    with av.open(io.BytesIO(content)) as container:
        headers = container.streams.video[0].codec_context.extradata
    return (headers or b"") + b"".join(packets_of(content))


@pytest.mark.parametrize(("codec", "name"), [("libx264", "a.h264"), ("libx265", "a.hevc"), ("mpeg4", "a.avi")])
def test_a_stream_that_changes_its_parameter_sets_is_refused(codec: str, name: str, tmp_path: Path) -> None:
    first, second = (write_raw(tmp_path / name, codec, width) for width in (96, 80))
    order = np.arange(8, dtype=np.int32)
    with pytest.raises(VideoDecodeError, match="parameter sets change in packet 4"):
        remux_whole(first + second, name, order=order, uncrop=False)
    # The same parameter sets again are no change.
    assert len(packets_of(remux_whole(first * 2, name, order=order, uncrop=False))) == 8


def insert_flv_header(content: bytes, level: int) -> bytes:
    """Repeat the H.264 header of an FLV file before the last frame, with another level."""
    tags, at = [], 13
    while at < len(content):
        size = 15 + int.from_bytes(content[at + 1 : at + 4], "big")
        tags.append(content[at : at + size])
        at += size
    # A tag begins with 11 bytes. Then follow, for H.264: 0x17 or 0x27, 0 for headers, three bytes, the content.
    videos = [i for i, tag in enumerate(tags) if tag[0] == 9]
    header = next(tags[i] for i in videos if tags[i][12] == 0)
    frame = next(i for i in reversed(videos) if tags[i][12] == 1)
    changed = header[:4] + tags[frame][4:8] + header[8:19] + bytes([level]) + header[20:]
    return content[:13] + b"".join([*tags[:frame], changed, *tags[frame:]])


def test_a_flv_file_that_changes_its_header_is_refused(original: Originals) -> None:
    video = original("h264-flv")
    level = video.content[video.content.index(b"\x17\0\0\0\0\1") + 8]
    same = insert_flv_header(video.content, level)
    assert remux_whole(same, "a.flv", order=video.record.packets, uncrop=False) == video.copy_whole()
    with pytest.raises(VideoDecodeError, match="parameter sets change in packet 49"):
        remux_whole(insert_flv_header(video.content, level + 1), "a.flv", order=video.record.packets, uncrop=False)


def test_a_record_of_another_file_is_refused(original: Originals) -> None:
    video = original("h264-closed")
    other = original("h264-no-b-frames")
    short = original("h264-one-frame")
    with pytest.raises(VideoDecodeError, match="1 packets"):
        remux_picked(short.content, "short.mp4", video.record, [40], uncrop=False)
    with pytest.raises(VideoDecodeError, match="1 packets"):
        remux_whole(short.content, "short.mp4", order=video.record.packets, uncrop=False)
    with pytest.raises(VideoDecodeError, match="record is of matroska"):
        remux_picked(video.content, "a.mp4", original("h264-mkv").record, [40], uncrop=False)
    wider = replace(other.record, width=other.record.width + 2)
    with pytest.raises(VideoDecodeError, match=r"size \(92, 52\), but its headers say \(90, 52\)"):
        remux_picked(other.content, "a.mp4", wider, [40], uncrop=False)


@pytest.mark.parametrize("kind", ["h264-raw", "hevc-raw"])
def test_packets_without_times_need_an_order(kind: str, original: Originals) -> None:
    with pytest.raises(VideoDecodeError, match="times of its packets"):
        original(kind).copy_whole(times=True)


def test_a_stream_that_begins_in_the_middle_of_a_group_is_refused(original: Originals) -> None:
    video = original("h264-raw")
    # Without the first IDR frame; the parameter sets stay.
    start, _, rest = video.content.partition(b"\0\0\1\x65")
    content = start + rest[rest.index(b"\0\0\1") :]
    with pytest.raises(VideoDecodeError, match="does not begin with a key frame"):
        remux_whole(content, "a.h264", order=np.arange(49, dtype=np.int32), uncrop=False)


def test_an_order_that_dali_cannot_restore_is_refused(original: Originals) -> None:
    video = original("h264-no-b-frames")
    order = list(range(50))
    # Packet 17 is displayed 7 places before its own.
    order.insert(10, order.pop(17))
    copy = remux_whole(video.content, "a.mp4", order=np.array(order, np.int32), uncrop=False)
    assert assert_times(copy)[17] == 10
    order = list(range(50))
    order.insert(10, order.pop(18))
    with pytest.raises(VideoDecodeError, match="8 packets after its place"):
        remux_whole(video.content, "a.mp4", order=np.array(order, np.int32), uncrop=False)


def test_content_that_is_no_video_is_refused() -> None:
    for content in (b"", b"nothing", bytes(4096)):
        with pytest.raises(VideoDecodeError):
            remux_whole(content, "a.mp4", order=None, uncrop=False)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    damaged, _ = write_damaged(tmp_path, "cut")
    whole = Original(tmp_path / "whole.mp4")
    with pytest.raises(VideoDecodeError):
        remux_picked(damaged.read_bytes(), "a.mp4", whole.record, [39], uncrop=False)
    with pytest.raises(VideoDecodeError):
        remux_whole(damaged.read_bytes(), "a.mp4", order=whole.record.packets, uncrop=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["h264-mp4", "h264-flv", "hevc-ts", "hevc-mp4", "mpeg4-avi", "vp9", "av1"])
def test_damaged_content_gives_a_copy_or_an_error(kind: str, original: Originals) -> None:
    video = original(kind)
    rng = random.Random(11)
    uncrop = kind in UNCROPPED
    errors = 0
    for _ in range(150):
        content = bytearray(video.content)
        for _ in range(rng.choice([1, 4, 64])):
            content[rng.randrange(len(content) if rng.random() < 0.5 else 512)] = rng.randrange(256)
        damaged = bytes(content[: rng.choice([len(content), rng.randrange(len(content))])])
        try:
            copy = remux_picked(damaged, video.path, video.record, [30, 3], uncrop=uncrop)
            assert len(packets_of(copy.content)) == copy.num_frames
            remux_whole(damaged, video.path, order=video.record.packets, uncrop=uncrop)
        except VideoDecodeError:
            errors += 1
    assert 0 < errors < 150


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["h264-mp4", "hevc-ts", "vp9", "av1"])
def test_damaged_packets_give_a_copy_or_an_error(kind: str, original: Originals) -> None:
    media, record = original(kind).apart
    assert record.packet_offsets is not None
    rng = random.Random(11)
    for _ in range(60):
        content = bytearray(media.read())
        for _ in range(rng.choice([1, 4, 64])):
            near = int(record.packet_offsets[rng.randrange(record.num_frames)]) + rng.randrange(8)
            content[near if rng.random() < 0.5 else rng.randrange(len(content))] = rng.randrange(256)
        damaged = Media(media.path, content=bytes(content))
        try:
            needed = read_needed(damaged, record, [30, 3])
            facts = facts_of_packets(record, needed.decoded, media.path)
            copy = remux_needed(needed, media.path, record, uncrop=kind in UNCROPPED)
        except VideoDecodeError:
            continue
        assert copy.num_frames == len(needed.decoded)
        # FFmpeg joins or drops packets of VP9 and AV1 in which it finds no frame.
        if not facts.odd_packets and not facts.oddity:
            assert len(packets_of(copy.content)) == copy.num_frames


@pytest.mark.parametrize("kind", ["vp8", "vp9"])
def test_dali_decodes_a_copy_to_the_frames_of_the_original(kind: str, original: Originals) -> None:
    video = original(kind)
    picks = [40, 3, 17, 3, 49]
    copy = video.copy(picks)
    whole = video.copy_whole()
    contents = [np.frombuffer(content, np.uint8) for content in (video.content, whole, copy.content)]

    @pipeline_def(batch_size=3, num_threads=1, device_id=None)
    def decode() -> object:
        return fn.decoders.video(fn.external_source(lambda: contents), device="cpu")

    pipe = decode()
    pipe.build()
    frames, frames_of_whole, frames_of_copy = (np.asarray(sample) for sample in pipe.run()[0])
    assert len(frames) == video.record.num_frames
    assert len(frames_of_copy) == copy.num_frames
    np.testing.assert_array_equal(frames_of_whole, frames)
    np.testing.assert_array_equal(frames_of_copy[copy.picks], frames[picks])
    # DALI converts to RGB in another way than PyAV. Frames with other content differ by more than 5.
    rgb = [frame.to_ndarray(format="rgb24").astype(int) for frame in decoded(copy.content)]
    assert max(np.abs(frames_of_copy[t] - rgb[t]).mean() for t in copy.picks) < 2


def assert_copies(video: Original) -> None:
    """Compare copies of a real video with the original, without cropping where the codec allows it."""
    uncrop = video.record.codec in ("h264", "hevc")
    for picks in random_picks(video.record.num_frames, 3):
        video.assert_picks(picks, video.copy(picks, uncrop=uncrop))
    assert video.frames_of(video.copy_whole(uncrop=uncrop)) == video.frames


CLIPS = [*shared_folder().glob("clips/formats/*"), *sorted(shared_folder().glob("clips/labelled/*/*"))[:8]]


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(CLIPS), ids=lambda path: path.name)
def test_copies_of_real_videos_have_the_frames_of_the_original(path: Path) -> None:
    video = Original(path)
    if "xvid" in path.name:
        assert video.record.packets is None
        return
    assert_copies(video)
    if video.record.codec in BARE_CODECS:
        for picks in random_picks(video.record.num_frames, 3):
            video.assert_picks(picks, video.join(picks))


def peers() -> list[Path]:
    """Return the videos of other projects that can be decoded and whose codec can be copied, without long ones."""
    if not (shared_folder() / "peers.tsv").is_file():
        return []
    with (shared_folder() / "peers.tsv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table, delimiter="\t") if row["outcome"] == "decodes"]
    chosen = [row for row in rows if row["codec"] in CODECS and int(row["frames"]) <= 300]
    return [shared_folder() / "peers" / row["file"] for row in chosen]


# Part of the name, and the reason that the file is refused.
REFUSED_PEERS = {
    "res_change.h264": "parameter sets change in packet 49",
    "CABA3_TOSHIBA_E.264": "parameter sets change in packet 1",
    "MR4_TANDBERG_C.264": "packets after its place",
    "MR5_TANDBERG_C.264": "packets after its place",
}


@pytest.mark.slow
@pytest.mark.parametrize("path", peers(), ids=lambda path: path.name[-60:])
def test_copies_of_videos_of_other_projects_have_the_frames_of_the_original(path: Path) -> None:
    video = Original(path)
    reason = next((reason for part, reason in REFUSED_PEERS.items() if part in path.name), None)
    if video.record.packets is None:
        with pytest.raises(ValueError, match="not one to one"):
            video.copy([0])
    elif reason is None:
        assert_copies(video)
    else:
        with pytest.raises(VideoDecodeError, match=reason):
            assert_copies(video)
