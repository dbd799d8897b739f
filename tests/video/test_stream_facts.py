"""Facts about a stream, compared with what FFmpeg decodes, for files of each kind that decoders treat differently."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import av
import numpy as np
import pytest

from mgdali.errors import VideoDecodeError
from mgdali.video.bitstream.h264 import h264_header
from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from mgdali.video.packet_bytes import read_runs
from mgdali.video.packets import StreamLog
from mgdali.video.record import VideoRecord
from mgdali.video.stream_facts import StreamFacts, facts_of_packets, probe
from tests.support.coded_videos import CODED, X264, X265, Coded
from tests.support.copied_videos import Packet, copy_video, header_first, packets_of
from tests.support.videos import moving_square, rotate_by_metadata, write_sound, write_video
from tests.video.test_packet_bytes import without_container

# On busy cores, several threads of libvpx can wait for each other for minutes.
ONE_THREAD = {"threads": "1"}
INTERLACED = {"x264-params": "interlaced=1:keyint=12"}
OPEN_GROUPS = {"x265-params": "keyint=12:min-keyint=12:scenecut=0:open-gop=1:bframes=4:b-adapt=0:log-level=none"}


def facts_of(path: Path) -> StreamFacts:
    return probe(path.read_bytes(), str(path))


def test_facts_of_real_files_match_their_decoded_frames(real_videos: Path) -> None:
    for path in sorted((real_videos / "formats").iterdir()):
        facts = facts_of(path)
        log = StreamLog()
        frames = list(read_frames(path, log=log))
        assert (facts.width, facts.height, facts.num_packets) == (frames[0].width, frames[0].height, len(frames)), path
        assert facts.codec == path.name.split("_")[0]
        assert facts.container == log.container
        assert facts.bit_depth == (10 if "10bit" in path.name else 8)
        assert facts.chroma == ("4:4:4" if "yuv444" in path.name else "4:2:0")
        assert facts.num_bytes == path.stat().st_size
        assert facts.frame_bytes == 3 * facts.width * facts.height
        assert facts.coded_width >= facts.width or facts.codec == "mjpeg"
        if facts.order is not None and log.packets is not None and path.suffix != ".avi":
            assert np.array_equal(facts.order, log.packets), path


@pytest.mark.parametrize("name", CODED)
def test_packets_and_coded_frames_are_counted(tmp_path: Path, name: str) -> None:
    path = CODED[name].write(tmp_path)
    facts = facts_of(path)
    known = facts.codec in ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4")
    assert facts.progressive
    assert not facts.headers_change
    assert not facts.oddity
    assert facts.discarded == facts.corrupt == 0
    if name == "av1":
        assert facts.coded_frames > facts.num_packets == CODED[name].num_frames
        assert facts.odd_packets > 0
    elif known:
        assert facts.coded_frames == facts.num_packets == CODED[name].num_frames
        assert facts.odd_packets == 0


def test_frames_that_are_not_displayed_are_found(tmp_path: Path) -> None:
    vp8 = write_video(tmp_path / "vp8.webm", moving_square(10, 64, 96), codec="libvpx", options=ONE_THREAD)

    def hide(number: int, content: bytes) -> list[bytes]:
        return [bytes([content[0] & ~16]) + content[1:]] if number == 4 else [content]

    facts = facts_of(_rewritten(vp8, tmp_path / "hidden.webm", hide))
    assert (facts.num_packets, facts.coded_frames, facts.odd_packets) == (10, 10, 1)
    assert len(list(read_frames(tmp_path / "hidden.webm"))) == 9
    vp9 = write_video(tmp_path / "vp9.webm", moving_square(10, 64, 96), codec="libvpx-vp9", options=ONE_THREAD)
    packets = [bytes(packet) for packet in packets_of(vp9)]

    def join(number: int, content: bytes) -> list[bytes]:
        """Join frames 4 and 5 into a superframe, whose index has two bytes per size."""
        if number not in (4, 5):
            return [content]
        sizes = b"".join(len(packet).to_bytes(2, "little") for packet in packets[4:6])
        return [packets[4] + packets[5] + b"\xc9" + sizes + b"\xc9"] if number == 4 else []

    facts = facts_of(_rewritten(vp9, tmp_path / "super.webm", join))
    assert (facts.num_packets, facts.coded_frames, facts.odd_packets) == (9, 10, 1)
    # A packet that only displays a frame that was decoded before.
    facts = facts_of(_rewritten(vp9, tmp_path / "again.webm", lambda t, content: [content, b"\x88"][: 1 + (t == 4)]))
    assert (facts.num_packets, facts.odd_packets) == (11, 1)


def _rewritten(source: Path, target: Path, rewrite: Callable[[int, bytes], list[bytes]]) -> Path:
    """Write what ``rewrite`` returns for the number and the content of each packet, with a time every 40 ticks."""
    times = count(0, 40)

    def change(number: int, packet: Packet) -> Iterator[Packet]:
        for content in rewrite(number, bytes(packet)):
            written = av.Packet(content)
            written.is_keyframe = packet.is_keyframe
            written.pts = written.dts = next(times)
            yield written

    return copy_video(source, target, change=change)


@pytest.mark.parametrize(
    ("name", "reordering"), [("h264-mp4", 2), ("hevc-mp4", 2), ("h264-no-b-frames", 0), ("vp9", 0)]
)
def test_presentation_times_give_the_order_of_the_frames(tmp_path: Path, name: str, reordering: int) -> None:
    path = CODED[name].write(tmp_path)
    facts, log = facts_of(path), StreamLog()
    for _ in read_frames(path, log=log):
        pass
    assert facts.times == ""
    assert np.array_equal(facts.order, log.packets)
    assert facts.reordering == reordering


@pytest.mark.parametrize(
    ("codec", "with_b_frames", "without"),
    [
        ("libx264", X264, {"bf": "0"}),
        ("libx265", X265, {"x265-params": "bframes=0:b-intra=0:log-level=none"}),
        ("mpeg4", {"bf": "2"}, {"bf": "0"}),
    ],
)
def test_b_frames_are_found_whatever_the_times_say(
    tmp_path: Path, codec: str, with_b_frames: dict[str, str], without: dict[str, str]
) -> None:
    frames = moving_square(20, 64, 96)
    path = write_video(tmp_path / "b.mkv", frames, codec=codec, options=with_b_frames)
    assert facts_of(path).b_frames
    wrong = facts_of(_rewritten(path, tmp_path / "wrong.mkv", lambda _, content: [content]))
    assert (wrong.b_frames, wrong.times, wrong.reordering) == (True, "", 0)
    assert not facts_of(write_video(tmp_path / "p.mkv", frames, codec=codec, options=without)).b_frames


def test_missing_and_repeated_times_are_reported(tmp_path: Path) -> None:
    raw = write_video(tmp_path / "raw.h264", moving_square(10, 64, 96), options=X264)
    facts = facts_of(raw)
    assert facts.times == "10 of its 10 packets have no presentation time"
    assert facts.order is None
    frames = moving_square(4, 64, 96)
    path = write_video(tmp_path / "same.mkv", frames, codec="libvpx", options=ONE_THREAD, times=[0, 40, 41, 80])

    def repeat(_: int, packet: Packet) -> list[Packet]:
        packet.pts = packet.dts = {41: 40}.get(packet.pts, packet.pts)
        return [packet]

    copy_video(path, tmp_path / "repeated.mkv", change=repeat)
    words = "1 of its 4 packets have the presentation time of another packet"
    assert facts_of(tmp_path / "repeated.mkv").times == words


@pytest.mark.parametrize(("first", "words"), [(0, ""), ((1 << 31) - 1000, "exceed 32 bits")])
def test_times_that_dali_cannot_store_are_reported(tmp_path: Path, first: int, words: str) -> None:
    source = write_video(tmp_path / "clip.mkv", moving_square(40, 64, 96), codec="libvpx", options=ONE_THREAD)

    def move(_: int, packet: Packet) -> list[Packet]:
        packet.pts = packet.dts = packet.pts + first
        return [packet]

    copy_video(source, tmp_path / "moved.mkv", change=move, options={"avoid_negative_ts": "disabled"})
    found = facts_of(tmp_path / "moved.mkv").times
    assert words in found
    assert bool(words) == bool(found)


@pytest.mark.parametrize(
    ("pixel_format", "chroma", "depth"),
    [("yuv420p", "4:2:0", 8), ("yuv422p", "4:2:2", 8), ("yuv444p", "4:4:4", 8), ("yuv420p10le", "4:2:0", 10)],
)
def test_chroma_and_depth_match_the_pixel_format(tmp_path: Path, pixel_format: str, chroma: str, depth: int) -> None:
    facts = facts_of(write_video(tmp_path / "clip.mp4", moving_square(5, 48, 64), pixel_format=pixel_format))
    assert (facts.chroma, facts.bit_depth) == (chroma, depth)


def test_rgb_and_grey_formats_are_named(tmp_path: Path) -> None:
    frames = moving_square(3, 48, 64)
    rgb = facts_of(write_video(tmp_path / "rgb.mov", frames, codec="png", pixel_format="rgb24"))
    grey = facts_of(write_video(tmp_path / "grey.mkv", frames, codec="ffv1", pixel_format="gray"))
    assert (rgb.chroma, grey.chroma) == ("rgb24", "gray")


def test_rotation_is_found(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving_square(5, 48, 64))
    rotate_by_metadata(path, 1)
    assert facts_of(path).rotation == -90


@pytest.mark.parametrize(
    ("codec", "suffix", "coded"),
    [
        ("libx264", ".mp4", (112, 64)),
        ("libx265", ".mkv", (104, 56)),
        ("libvpx", ".webm", (112, 64)),
        ("libvpx-vp9", ".webm", (104, 56)),
        ("mpeg4", ".mp4", (112, 64)),
        ("libsvtav1", ".mp4", (104, 72)),
    ],
)
def test_the_coded_size_is_a_multiple_of_the_coding_block(
    tmp_path: Path, codec: str, suffix: str, coded: tuple[int, int]
) -> None:
    height = 66 if codec == "libsvtav1" else 50
    options = {"svtav1-params": "lookahead=0"} if codec == "libsvtav1" else ONE_THREAD
    path = write_video(tmp_path / f"clip{suffix}", moving_square(4, height, 98), codec=codec, options=options)
    facts = facts_of(path)
    assert (facts.width, facts.height) == (98, height)
    # FFmpeg ignores the size that MP4 declares for MPEG-4.
    declared = (0, 0) if codec == "mpeg4" else (98, height)
    assert (facts.declared_width, facts.declared_height) == declared
    assert (facts.coded_width, facts.coded_height) == coded
    assert (facts.left, facts.top) == (0, 0)


@pytest.mark.parametrize(("codec", "metadata"), [("libx264", "h264_metadata"), ("libx265", "hevc_metadata")])
def test_the_place_of_the_displayed_picture_is_found(tmp_path: Path, codec: str, metadata: str) -> None:
    options = X264 if codec == "libx264" else X265
    source = write_video(tmp_path / "clip.mp4", moving_square(4, 64, 160), codec=codec, options=options)
    crop = f"{metadata}=crop_left=64:crop_top=4:crop_right=2:crop_bottom=10"
    facts = facts_of(copy_video(source, tmp_path / "cropped.mp4", bitstream_filter=crop))
    frame = next(iter(read_frames(tmp_path / "cropped.mp4")))
    assert (facts.width, facts.height) == (frame.width, frame.height) == (94, 50)
    assert (facts.left, facts.top, facts.coded_width, facts.coded_height) == (64, 4, 160, 64)
    assert (facts.declared_width, facts.declared_height, facts.oddity) == (160, 64, "")
    # PyAV cuts off the left edge only where the memory of a row is aligned.
    facts = facts_of(copy_video(source, tmp_path / "cropped.mp4", bitstream_filter=f"{metadata}=crop_left=6"))
    assert facts.oddity == "PyAV returns 160x64 of the 154x64 pixels that are displayed"


def test_interlaced_coding_is_found(tmp_path: Path) -> None:
    frames = moving_square(6, 64, 96)
    h264 = facts_of(write_video(tmp_path / "h264.mp4", frames, options=INTERLACED))
    assert not h264.progressive
    assert (h264.coded_width, h264.coded_height) == (96, 64)
    mpeg4 = write_video(tmp_path / "mpeg4.mp4", frames, codec="mpeg4", options={"flags": "+ildct+ilme"})
    assert not facts_of(mpeg4).progressive


@pytest.mark.parametrize(
    ("matrix", "name"), [("bt709", "bt709"), ("bt470bg", "bt601"), ("bt2020nc", "bt2020"), ("smpte240m", "smpte240m")]
)
def test_the_matrix_of_the_colours_is_found(tmp_path: Path, matrix: str, name: str) -> None:
    path = write_video(
        tmp_path / "clip.mp4", moving_square(3, 64, 96), options={"x264-params": f"colormatrix={matrix}"}
    )
    assert facts_of(path).matrix == name


def test_untagged_colours_are_named_after_the_matrix_that_libswscale_applies(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving_square(3, 64, 96))
    frame = next(iter(read_frames(path)))
    assert facts_of(path).matrix == "bt601"
    untagged = frame.to_ndarray(format="rgb24")
    frame.colorspace = 5
    assert np.array_equal(frame.to_ndarray(format="rgb24"), untagged)
    frame.colorspace = 1
    assert not np.array_equal(frame.to_ndarray(format="rgb24"), untagged)


def test_frames_that_a_truncated_file_lacks_are_still_declared(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving_square(30, 64, 96), options=X264)
    content = header_first(path, tmp_path / "moved.mp4")
    facts = probe(content[: len(content) * 3 // 4], "cut.mp4")
    assert facts.declared_frames == 30
    assert facts.num_packets < 30 or facts.oddity == "a packet is damaged"


def test_edit_lists_mark_packets_to_be_discarded(tmp_path: Path) -> None:
    # Copying from within a group makes MP4 discard what precedes the first frame that is displayed.
    source = write_video(tmp_path / "clip.mp4", moving_square(30, 64, 96), options={"bf": "0", "g": "30"})
    content = bytearray(source.read_bytes())
    entry = content.index(b"elst") + 12
    # The media time at which the presentation begins, in ticks of the track, after the duration.
    content[entry + 4 : entry + 8] = (2000).to_bytes(4, "big")
    facts = probe(bytes(content), "edited.mp4")
    assert facts.discarded > 0


def test_a_change_of_the_size_is_found(tmp_path: Path) -> None:
    both = b"".join(
        write_video(tmp_path / f"{width}.h264", moving_square(4, 64, width), options={"bf": "0"}).read_bytes()
        for width in (96, 128)
    )
    assert probe(both, "both.h264").headers_change
    twice = write_video(tmp_path / "same.h264", moving_square(4, 64, 96), options={"bf": "0"}).read_bytes() * 2
    assert not probe(twice, "twice.h264").headers_change
    for codec in ("libvpx", "libvpx-vp9"):
        paths = [
            write_video(tmp_path / f"{width}.webm", moving_square(4, 64, width), codec=codec, options=ONE_THREAD)
            for width in (96, 128)
        ]
        assert facts_of(_joined(paths, tmp_path / "joined.webm")).headers_change
        assert not facts_of(_joined(paths[:1] * 2, tmp_path / "repeated.webm")).headers_change


def _joined(paths: list[Path], target: Path) -> Path:
    """Write the packets of videos one after the other into one stream."""
    with av.open(str(target), "w") as container:
        out, count = None, 0
        for path in paths:
            with av.open(str(path)) as source:
                out = out or container.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(source.streams.video[0]):
                    if packet.size:
                        packet.stream, packet.pts, packet.dts = out, 40 * count, 40 * count
                        container.mux(packet)
                        count += 1
    return target


def test_a_stream_that_does_not_begin_with_a_complete_frame_is_odd(tmp_path: Path) -> None:
    hevc = write_video(tmp_path / "hevc.mkv", moving_square(40, 64, 96), codec="libx265", options=OPEN_GROUPS)
    assert facts_of(hevc).oddity == ""
    keys = [number for number, packet in enumerate(packets_of(hevc)) if packet.is_keyframe]
    cut = copy_video(hevc, tmp_path / "cut.mkv", change=lambda number, packet: [packet] * (number >= keys[1]))
    assert facts_of(cut).oddity == "its first frames refer to missing frames"
    assert len(list(read_frames(cut))) < len(packets_of(cut))
    h264 = write_video(tmp_path / "h264.mkv", moving_square(40, 64, 96), options={"bf": "0", "g": "12"})
    cut = copy_video(h264, tmp_path / "no_idr.mkv", change=lambda number, packet: [packet] * (number > 0))
    assert facts_of(cut).oddity == "it does not begin with an IDR frame"


def test_damaged_lengths_of_units_are_found(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving_square(10, 64, 96), options=X264)
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        at = [packet.pos for packet in container.demux(container.streams.video[0]) if packet.size][5]
    for length in (b"\0\x7f\xff\xff", b"\0\0\0\0"):
        content[at : at + 4] = length
        assert probe(bytes(content), "clip.mp4").oddity == "a packet is damaged"


def test_several_video_streams_are_counted(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "two.mkv"), "w") as container:
        streams = [container.add_stream("libx264", rate=30) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for rgb in moving_square(5, 64, 96):
            for stream in streams:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode())
    facts = facts_of(tmp_path / "two.mkv")
    assert (facts.streams, facts.num_packets) == (2, 5)


def test_a_file_without_frames_is_a_decode_error_with_its_path(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", moving_square(5, 48, 64)).read_bytes()
    for content in (b"", b"garbage" * 99, video[: len(video) // 2]):
        with pytest.raises(VideoDecodeError, match=r"some\.mp4"):
            probe(content, "some.mp4")
    sound = write_sound(tmp_path / "sound.wav")
    with pytest.raises(VideoDecodeError, match=r"some\.wav.*no video stream"):
        probe(sound.read_bytes(), "some.wav")


def apart(source: Path, target: Path) -> tuple[VideoRecord, list[bytes]]:
    """Write the packets of a video without a container, and return their record and contents."""
    record = without_container(source, target)
    return record, list(read_runs(Media(str(target)), record, [(0, record.num_frames - 1)]).values())


@pytest.mark.parametrize(
    "kind", ["h264-mp4", "h264-closed", "h264-odd", "hevc-mp4", "hevc-cropped", "vp8", "vp9", "av1"]
)
def test_facts_from_packets_are_those_of_the_file(kind: str, tmp_path: Path) -> None:
    more = {
        "h264-closed": Coded("libx264", "closed.mp4", {"x264-params": "keyint=8:open-gop=0"}, height=52, width=90),
        "h264-odd": Coded("libx264", "odd.mp4", {"x264-params": "keyint=8"}, "yuv444p", height=51, width=90),
        "hevc-cropped": Coded("libx265", "cropped.mp4", X265, height=52, width=90),
    }
    path = (CODED | more)[kind].write(tmp_path)
    record, packets = apart(path, tmp_path / "packets")
    found, expected = facts_of_packets(record, packets, "a"), facts_of(path)
    for field in dataclasses.fields(StreamFacts):
        # The container's number of frames is not known without the container.
        if field.name != "declared_frames":
            assert np.array_equal(getattr(found, field.name), getattr(expected, field.name)), field.name


def test_packets_that_were_not_read_count_as_one_frame_each(tmp_path: Path) -> None:
    record, packets = apart(CODED["h264-mp4"].write(tmp_path), tmp_path / "packets")
    part = facts_of_packets(record, packets[:3], "a")
    assert (part.num_packets, part.coded_frames, part.odd_packets) == (50, 50, 0)
    # A packet that ends within its first unit contains no frame.
    part = facts_of_packets(record, [*packets[:3], packets[3][:5]], "a")
    assert (part.num_packets, part.coded_frames, part.odd_packets) == (50, 49, 1)


def test_a_header_that_ends_before_the_colours_is_odd(tmp_path: Path) -> None:
    record, packets = apart(CODED["h264-mp4"].write(tmp_path), tmp_path / "packets")
    assert record.extradata is not None
    # avcC: six bytes, the length of the sequence parameter set in two, and the set.
    length = int.from_bytes(record.extradata[6:8], "big")
    cut = next(
        record.extradata[:6] + end.to_bytes(2, "big") + record.extradata[8 : 8 + end] + record.extradata[8 + length :]
        for end in range(length, 0, -1)
        if h264_header(record.extradata[8 : 8 + end]).matrix is None
    )
    facts = facts_of_packets(dataclasses.replace(record, extradata=cut), packets, "a")
    assert facts.oddity == "its headers end before the description of its colours"


def test_extradata_that_is_no_header_gives_facts_that_are_odd(tmp_path: Path) -> None:
    record, packets = apart(CODED["h264-mp4"].write(tmp_path), tmp_path / "packets")
    facts = facts_of_packets(dataclasses.replace(record, extradata=b"\0\0\1\x67bad"), packets, "a")
    assert facts.oddity
